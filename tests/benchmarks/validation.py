"""What contracts cost: python tests/benchmarks/validation.py --pairs 7 --scale 1

1. Five checks over TPC-H lineitem on its way from PostgreSQL to PostgreSQL, beside the same copy without them.
2. A quarantine of 1,234 of 1,000,000 rows, beside the same load of good rows without a contract.
3. A unique check and a mean over 1,000,000 rows in batches of 1,000 rows and in one, with the peak memory of each.

Each pair runs in turns, in processes of their own. Starts a private PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from lineitem import fresh, load  # noqa: E402  # found by the path above
from services import find_postgresql, postgresql_database, running_postgresql  # noqa: E402  # as well

ROWS, BAD = 1_000_000, 1_234
HEAD = """
import json, resource, sys, time
import datapipe
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
"""
COPY = """
url, checked = sys.argv[1], sys.argv[2] == "checked"
contract = {"columns": {
    "l_orderkey": {"type": "int", "checks": {"ge": 1}},
    "l_quantity": {"type": "decimal", "checks": {"in_range": [1, 50]}},
    "l_returnflag": {"type": "str", "checks": {"isin": ["A", "N", "R"]}},
    "l_shipdate": {"type": "date", "checks": {"ge": "1992-01-01"}},
    "l_comment": {"type": "str", "checks": {"str_length": {"max_value": 44}}},
}}
plan = datapipe.read("lineitem", source=url)
plan = (plan.validate(contract) if checked else plan).write("copied", to=url)
began = time.perf_counter()
result = plan.run()
print(json.dumps({"seconds": time.perf_counter() - began, "rows": result.rows_written, "peak_mb": peak()}))
"""
QUARANTINE = """
url, file, checked = sys.argv[1], sys.argv[2], sys.argv[3] == "checked"
contract = {"columns": {"id": {"type": "int", "checks": {"ge": 0}}, "price": {"type": "float", "checks": {"ge": 0}}}}
plan = datapipe.read(file)
plan = (plan.validate(contract, on_error="quarantine") if checked else plan).write("prices", to=url)
began = time.perf_counter()
result = plan.run()
print(json.dumps({"seconds": time.perf_counter() - began, "rows": result.rows_written, "rejected": result.rejected,
                  "run_id": result.run_id, "peak_mb": peak()}))
"""
VERDICT = """
import pyarrow as pa, pyarrow.parquet as pq
from datapipe.data.stream import Stream, Workspace, scratch_directory
from datapipe.errors import DataError
from datapipe.plan import ValidateConfig
from datapipe.schemas import run_validate
file, rows = sys.argv[1], int(sys.argv[2])
source = pq.ParquetFile(file)
config = ValidateConfig(schema={"columns": {"id": {"type": "int", "unique": True}}}, checks=["AVG(price) < 10"])
whole = source.read().to_batches(rows) if rows == 1_000_000 else source.iter_batches(rows)
began, said = time.perf_counter(), "kept"
with scratch_directory() as scratch:
    with run_validate(config, Stream(source.schema_arrow, iter(whole)), Workspace(scratch=scratch)) as made:
        try:
            for batch in made.batches:
                pass
        except DataError as error:
            said = str(error)
print(json.dumps({"seconds": time.perf_counter() - began, "said": said, "peak_mb": peak()}))
"""


def child(code: str, *arguments: object) -> dict[str, object]:
    """Run a program with the arguments; what it has to say."""
    command = [sys.executable, "-c", HEAD + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"MAX_RETRIES": "0"})
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def ratio(pairs: list[tuple[float, float]]) -> str:
    """The median of first to second of each pair, with the middle half."""
    found = sorted(one / other for one, other in pairs)
    low, high = np.quantile(found, [0.25, 0.75])
    return f"{statistics.median(found):.2f} (quartiles {low:.2f} to {high:.2f})"


def copies(url: str, pairs: int) -> None:
    measured = []
    for _ in range(pairs):
        seconds = []
        for kind in ("checked", "plain"):
            fresh(url, "copied", like=True)
            seconds.append(float(str(child(COPY, url, kind)["seconds"])))
        measured.append((seconds[0], seconds[1]))
        print(f"five checks {seconds[0]:.1f} s, plain copy {seconds[1]:.1f} s", flush=True)
    print(f"copy with five checks to plain copy: {ratio(measured)}")


def prices(folder: Path) -> tuple[Path, Path]:
    """A million rows with some that are bad, and as many good ones."""
    random = np.random.default_rng(7)
    good = random.uniform(0.01, 999.0, ROWS)
    bad = good.copy()
    bad[random.choice(ROWS, BAD, replace=False)] *= -1
    files = []
    for name, values in (("bad", bad), ("good", good)):
        names = pa.array([f"article {number % 977}" for number in range(ROWS)])
        table = pa.table({"id": np.arange(ROWS), "price": values, "name": names})
        pq.write_table(table, folder / f"{name}.parquet")
        files.append(folder / f"{name}.parquet")
    return files[0], files[1]


def quarantines(url: str, folder: Path, pairs: int) -> None:
    bad, good = prices(folder)
    measured = []
    for _ in range(pairs):
        drop(url)
        checked = child(QUARANTINE, url, bad, "checked")
        drop(url)
        plain = child(QUARANTINE, url, good, "plain")
        assert (checked["rows"], checked["rejected"]) == (ROWS - BAD, BAD), checked
        measured.append((float(str(checked["seconds"])), float(str(plain["seconds"]))))
        print(f"quarantine {checked['seconds']:.2f} s, plain {plain['seconds']:.2f} s", flush=True)
    print(f"{BAD:,} of {ROWS:,} rows in quarantine to a plain load: {ratio(measured)}")


def drop(url: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("DROP TABLE IF EXISTS prices")
        conn.execute("CHECKPOINT")


def verdicts(folder: Path) -> None:
    ids = np.arange(ROWS)
    ids[-1] = 17  # repeats
    pq.write_table(pa.table({"id": ids, "price": np.full(ROWS, 12.5)}), folder / "ids.parquet")
    found = [child(VERDICT, folder / "ids.parquet", rows) for rows in (1_000, ROWS)]
    for rows, verdict in zip((1_000, ROWS), found, strict=True):
        print(f"batches of {rows:,}: {verdict['seconds']:.2f} s, peak {verdict['peak_mb']:.0f} MB: {verdict['said']}")
    assert found[0]["said"] == found[1]["said"]


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--pairs", type=int, default=7)
    asked.add_argument("--scale", type=float, default=1)
    given = asked.parse_args()
    service = find_postgresql()
    assert service is not None
    with (
        tempfile.TemporaryDirectory() as name,
        running_postgresql(service) as server,
        postgresql_database(server) as url,
    ):
        folder = Path(name)
        verdicts(folder)
        quarantines(url, folder, given.pairs)
        print(f"lineitem: {load(url, given.scale, folder):,} rows")
        copies(url, given.pairs)


if __name__ == "__main__":
    main()
