"""TPC-H lineitem, PostgreSQL to PostgreSQL: datapipe beside a raw psql binary COPY pipe, interleaved, in one run.

    python tests/benchmarks/lineitem.py --pairs 5 --scale 1

Needs psql on PATH. Starts a private PostgreSQL unless DATAPIPE_TEST_POSTGRESQL_URL names one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

sys.path.insert(0, str(Path(__file__).parents[1]))

from services import find_postgresql, postgresql_database, running_postgresql

SCHEMA = """
CREATE TABLE lineitem (
  l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL, l_linenumber integer NOT NULL,
  l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL,
  l_tax numeric(15,2) NOT NULL, l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL,
  l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL,
  l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, l_comment varchar(44) NOT NULL)"""
COMPUTE = "SELECT *, l_extendedprice * (1 - l_discount) AS net FROM input_data WHERE l_quantity > 5"
CHILD = """
import json, sys, time
started = time.perf_counter()
import datapipe
plan = datapipe.read("lineitem", source=sys.argv[1])
if sys.argv[2] == "compute":
    plan = plan.sql(sys.argv[3])
result = plan.write(sys.argv[2], to=sys.argv[1]).run()
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
print(json.dumps({"seconds": time.perf_counter() - started, "peak_mb": peak, "rows": result.rows_written}))
"""


def load(url: str, scale: float, folder: Path) -> int:
    """Generate lineitem and load it; the number of rows."""
    generate = ["tpchgen-cli", "csv", "-s", str(scale), "--tables=lineitem", f"--output-dir={folder}"]
    subprocess.run(generate, check=True, capture_output=True)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("DROP TABLE IF EXISTS lineitem")
        conn.execute(SCHEMA)
        copy_in = "COPY lineitem FROM STDIN (FORMAT csv, HEADER)"
        with (folder / "lineitem.csv").open("rb") as rows, conn.cursor() as cursor, cursor.copy(copy_in) as copy:
            while chunk := rows.read(1 << 20):
                copy.write(chunk)
        conn.execute("VACUUM ANALYZE lineitem")
        row = conn.execute("SELECT count(*) FROM lineitem").fetchone()
    (folder / "lineitem.csv").unlink()
    return row[0] if row else 0


def fresh(url: str, table: str, *, like: bool) -> None:
    """An empty target; the checkpoint keeps one run's writes out of the next one's time."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(table)))
        if like:
            conn.execute(sql.SQL("CREATE TABLE {} (LIKE lineitem)").format(sql.Identifier(table)))
        conn.execute("CHECKPOINT")


def pipe(url: str) -> dict[str, float]:
    """The raw pipe: two psql processes and a binary COPY between them."""
    fresh(url, "copy", like=True)
    started = time.perf_counter()
    source = subprocess.Popen(
        ["psql", "-qX", url, "-c", "COPY (SELECT * FROM lineitem) TO STDOUT (FORMAT binary)"],
        stdout=subprocess.PIPE,
    )
    target = ["psql", "-qX", url, "-c", 'COPY "copy" FROM STDIN (FORMAT binary)']
    subprocess.run(target, stdin=source.stdout, check=True)
    if source.wait():
        raise SystemExit("the raw pipe failed")
    return {"seconds": time.perf_counter() - started}


def datapipe(url: str, kind: str) -> dict[str, float]:
    """One run in a process of its own, imports included."""
    fresh(url, kind, like=kind == "copy")
    done = subprocess.run([sys.executable, "-c", CHILD, url, kind, COMPUTE], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def sums(url: str) -> bool:
    """Whether the copy's decimals are those of the source, with their type."""
    check = "SELECT sum(l_quantity), sum(l_extendedprice), sum(l_discount), sum(l_tax), count(*) FROM {}"
    types = "SELECT string_agg(format_type(atttypid, atttypmod), ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
    with psycopg.connect(url) as conn:
        tables = ("lineitem", "copy")
        totals = [conn.execute(sql.SQL(check).format(sql.Identifier(name))).fetchone() for name in tables]
        kinds = [conn.execute(types, (name,)).fetchone() for name in tables]
    return totals[0] == totals[1] and kinds[0] == kinds[1]


def measure(url: str, pairs: int) -> dict[str, list[dict[str, float]]]:
    """Interleaved rounds of the pipe, the copy and the computing copy."""
    found: dict[str, list[dict[str, float]]] = {"pipe": [], "copy": [], "compute": []}
    for number in range(pairs):
        found["pipe"].append(pipe(url))
        found["copy"].append(datapipe(url, "copy"))
        if not number and not sums(url):
            raise SystemExit("the copy differs from the source")
        found["compute"].append(datapipe(url, "compute"))
        line = ", ".join(f"{name} {rounds[-1]['seconds']:.2f} s" for name, rounds in found.items())
        print(f"round {number + 1}: {line}", flush=True)
    return found


def report(found: dict[str, list[dict[str, float]]], rows: int) -> dict[str, float]:
    """Medians and ratios, printed and returned."""
    pipes = [run["seconds"] for run in found["pipe"]]
    summary = {"rows": float(rows), "pipe_seconds": statistics.median(pipes)}
    for kind in ("copy", "compute"):
        runs = found[kind]
        summary[f"{kind}_seconds"] = statistics.median(run["seconds"] for run in runs)
        ratios = [run["seconds"] / base for run, base in zip(runs, pipes, strict=True)]
        summary[f"{kind}_ratio"] = statistics.median(ratios)
        summary[f"{kind}_peak_mb"] = max(run["peak_mb"] for run in runs)
        print(f"{kind}: ratios {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    print(json.dumps({key: round(value, 2) for key, value in summary.items()}, indent=2))
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--url", default=os.environ.get("DATAPIPE_TEST_POSTGRESQL_URL"))
    options = parser.parse_args()
    with ExitStack() as stack:
        url = options.url or stack.enter_context(_private())
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        rows = load(url, options.scale, Path(folder))
        print(f"lineitem at scale {options.scale}: {rows:,} rows", flush=True)
        report(measure(url, options.pairs), rows)


@contextmanager
def _private() -> Iterator[str]:
    service = find_postgresql()
    if service is None:
        raise SystemExit("there is no PostgreSQL on this machine")
    with running_postgresql(service) as server, postgresql_database(server) as url:
        yield url


if __name__ == "__main__":
    main()
