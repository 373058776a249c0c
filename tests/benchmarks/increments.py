"""An increment of 1,000 rows out of millions, beside the query that finds them by an index, in turns and in one process.

    python tests/benchmarks/increments.py
    python tests/benchmarks/increments.py --rows 6000000 --rounds 9

Starts a private PostgreSQL.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import psycopg

import datapipe

sys.path.insert(0, str(Path(__file__).parents[1]))

from services import find_postgresql, postgresql_database, running_postgresql

ROW = "i, i % 997, i * 0.01, 'order ' || i, timestamptz '2024-01-01' + i * interval '1 millisecond'"
QUERY = "SELECT * FROM orders WHERE updated_at >= %s"


def prepare(conn: psycopg.Connection[Any], rows: int) -> None:
    """The orders and an index of their cursor."""
    columns = "id bigint, customer bigint, amount numeric(12,2), note text, updated_at timestamptz NOT NULL"
    conn.execute(f"CREATE TABLE orders ({columns})")
    conn.execute(f"INSERT INTO orders SELECT {ROW} FROM generate_series(1, {rows}) AS i")
    conn.execute("CREATE INDEX ON orders (updated_at)")
    conn.execute("VACUUM ANALYZE orders")


def measure(url: str, rows: int, count: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of the query, fetched, and of the runs, each round with new rows."""
    found: dict[str, list[float]] = {"query": [], "append": [], "upsert": []}
    read = datapipe.read("orders", source=url, incremental="updated_at")
    plans = {
        "append": read.write("appended", to=url),
        "upsert": read.write("merged", to=url, strategy="upsert", keys=["id"]),
    }
    with psycopg.connect(url, autocommit=True) as conn:
        prepare(conn, rows)
        top = conn.execute("SELECT max(updated_at) FROM orders").fetchone()
        for plan in plans.values():
            plan.watermark.set(top[0] if top else None)
            plan.run()
        for number in range(rounds):
            first = rows + number * count + 1
            conn.execute(f"INSERT INTO orders SELECT {ROW} FROM generate_series({first}, {first + count - 1}) AS i")
            mark = (plans["append"].watermark.values or (None,))[0]
            began = time.perf_counter()
            fetched = conn.execute(QUERY, (mark,)).fetchall()
            found["query"].append(time.perf_counter() - began)
            for name, plan in plans.items():
                began = time.perf_counter()
                result = plan.run()
                found[name].append(time.perf_counter() - began)
                if result.rows_written != count or len(fetched) != count + 1:
                    raise SystemExit(f"{result.rows_written} rows were loaded, {len(fetched)} fetched, not {count}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=6_000_000)
    parser.add_argument("--increment", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    service = find_postgresql()
    if service is None:
        raise SystemExit("there is no PostgreSQL")
    with running_postgresql(service) as server, postgresql_database(server) as url:
        found = measure(url, options.rows, options.increment, options.rounds)
    medians = {name: statistics.median(seconds) * 1000 for name, seconds in found.items()}
    told = ", ".join(f"{name} {median:.1f} ms" for name, median in medians.items())
    print(f"{options.increment:,} of {options.rows:,} rows: {told}")
    print(f"the goal is twice the query and 60 ms: {2 * medians['query'] + 60:.1f} ms")


if __name__ == "__main__":
    main()
