"""TPC-H lineitem as one and in partitions, inline and on workers: python -m tests.benchmarks.partitions --scale 1

Source and target are two servers, so that the processor time of reading and of writing can be told apart from each
other and from ours. Every run is a process of its own, or goes to workers that wait; the rows are compared at the end.
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
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.lineitem import load
from services import find_postgresql, postgresql_database, private_redis, redis_program, running_postgresql
from workerside import running_worker

CHILD = """
import sys
import datapipe
count = int(sys.argv[1])
how = {"partition_on": "l_orderkey", "partitions": count} if count > 1 else {}
plan = datapipe.read("lineitem", **how).write(sys.argv[2])
result = plan.run() if sys.argv[3] == "inline" else plan.submit().result(600)
print(result.rows_written)
"""
# Name, partitions, workers (0: inline).
CASES = (("inline, as one", 1, 0), ("inline, 4", 4, 0), ("1 worker, 4", 4, 1), ("2 workers, 4", 4, 2))


@dataclass(frozen=True)
class Spent:
    """Seconds of a run: by the clock, and of processors for reading, for us, and for writing."""

    clock: float
    source: float
    ours: float
    target: float


def spent_by(process: psutil.Process) -> float:
    """The processor seconds of a process and all it has had."""
    found = 0.0
    for each in [process, *process.children(recursive=True)]:
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        found += times.user + times.system + (times.children_user + times.children_system)
    return found


def server(url: str) -> psutil.Process:
    with psycopg.connect(url) as conn:
        pid = conn.execute("SELECT pg_read_file('postmaster.pid')").fetchone()[0].splitlines()[0]
    return psutil.Process(int(pid))


def run(count: int, table: str, how: str, servers: list[psutil.Process], workers: list[psutil.Process]) -> Spent:
    """One run; the rows it wrote are checked by number."""
    before = [sum(map(spent_by, each)) for each in ([servers[0]], workers, [servers[1]])]
    own, began = os.times(), time.perf_counter()
    command = [sys.executable, "-c", CHILD, str(count), table, how]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    clock, after = time.perf_counter() - began, os.times()
    children = after.children_user - own.children_user + after.children_system - own.children_system
    found = [sum(map(spent_by, each)) for each in ([servers[0]], workers, [servers[1]])]
    source, ours, target = (now - then for now, then in zip(found, before, strict=True))
    return Spent(clock, source, ours + children, target)


def same(source: str, target: str, table: str) -> bool:
    """Whether all rows are there, by the sum of a hash over each."""
    query = "SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM {} AS t"
    totals = []
    for url, name in ((source, "lineitem"), (target, table)):
        with psycopg.connect(url) as conn:
            totals.append(conn.execute(query.format(name).encode()).fetchone())
    return totals[0] == totals[1]


def measure(scale: float, rounds: int, folder: Path, stack: ExitStack) -> None:
    urls = []
    for _ in range(2):
        admin = stack.enter_context(running_postgresql(find_postgresql()))
        urls.append(stack.enter_context(postgresql_database(admin)))
    rows = load(urls[0], scale, folder)
    with psycopg.connect(urls[0], autocommit=True) as conn:
        conn.execute("CREATE INDEX ON lineitem (l_orderkey)")
        conn.execute("VACUUM ANALYZE lineitem")
    broker = stack.enter_context(private_redis(redis_program()))
    environment = {"REDIS_URL": broker.url, "SOURCE_DB_URL": urls[0], "DEST_DB_URL": urls[1]}
    os.environ.update({**environment, "DATAPIPE_HOME": str(folder / "home"), "MAX_RETRIES": "0"})
    servers, found = [server(url) for url in urls], {name: [] for name, *_ in CASES}
    for number in range(rounds):
        for name, count, many in CASES:
            with psycopg.connect(urls[1], autocommit=True) as conn:
                conn.execute("DROP TABLE IF EXISTS copied")
                conn.execute("CHECKPOINT")
            with ExitStack() as ends:
                started = [ends.enter_context(running_worker({}, folder, f"w{n}")) for n in range(many)]
                workers = [psutil.Process(worker.pid) for worker in started]
                found[name].append(run(count, "copied", "workers" if many else "inline", servers, workers))
            print(f"round {number + 1}: {name}: {found[name][-1]}", flush=True)
            if not number and not same(*urls, "copied"):
                raise SystemExit(f"{name}: the rows differ")
    print(f"\n{rows:,} rows; medians of {rounds}, in seconds\n")
    print(f"{'':16}{'clock':>8}{'reading':>9}{'ours':>7}{'writing':>9}")
    for name, runs in found.items():
        median = [statistics.median(getattr(each, field) for each in runs) for field in Spent.__annotations__]
        print(f"{name:16}{median[0]:8.1f}{median[1]:9.1f}{median[2]:7.1f}{median[3]:9.1f}")
    print(json.dumps({name: [vars(each) for each in runs] for name, runs in found.items()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        measure(options.scale, options.rounds, Path(folder), stack)


if __name__ == "__main__":
    main()
