"""What the ledger costs: a run of one row, and a copy of TPC-H lineitem, with and without it, interleaved.

    python tests/benchmarks/ledger.py --pairs 41 --scale 1 --copies 7

Starts a private PostgreSQL unless DATAPIPE_TEST_POSTGRESQL_URL names one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa

import datapipe

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import lineitem
from services import find_postgresql, running_postgresql


def copied(url: str, ledger: str) -> float:
    """A copy in a process of its own."""
    os.environ["DATAPIPE_LEDGER"] = ledger
    return lineitem.datapipe(url, "copy")["seconds"]


def seconds(url: str, ledger: str) -> float:
    os.environ["DATAPIPE_LEDGER"] = ledger
    plan = datapipe.read(pa.table({"id": [1], "text": ["one"]})).write("one_row", to=url)
    began = time.perf_counter()
    plan.run()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=41)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--copies", type=int, default=0)
    given = parser.parse_args()
    service = find_postgresql()
    if service is None:
        sys.exit("no PostgreSQL")
    with running_postgresql(service) as url:
        for ledger in ("on", "off"):
            seconds(url, ledger)
        report("one row", [(seconds(url, "on"), seconds(url, "off")) for _ in range(given.pairs)])
        if given.copies:
            with tempfile.TemporaryDirectory() as folder:
                rows = lineitem.load(url, given.scale, Path(folder))
            copied(url, "on")  # warms the caches
            report(f"{rows:,} rows", [pair(url, number) for number in range(given.copies)])


def pair(url: str, number: int) -> tuple[float, float]:
    """With and without; which comes first changes from pair to pair."""
    order = ("on", "off") if number % 2 else ("off", "on")
    found = {ledger: copied(url, ledger) for ledger in order}
    print(f"  with {found['on']:.2f} s, without {found['off']:.2f} s", flush=True)
    return found["on"], found["off"]


def report(what: str, found: list[tuple[float, float]]) -> None:
    """Medians of the pairs, and the spread of their differences."""
    quarter = len(found) // 4
    differences = sorted(1000 * (on - off) for on, off in found)
    shares = sorted(100 * (on / off - 1) for on, off in found)
    print(f"{what}: with {1000 * statistics.median(on for on, _ in found):.1f} ms, ", end="")
    print(f"without {1000 * statistics.median(off for _, off in found):.1f} ms, {len(found)} pairs")
    for values, unit in ((differences, "ms"), (shares, "%")):
        spread = f"quartiles {values[quarter]:.1f} to {values[-quarter - 1]:.1f}"
        print(f"  cost {statistics.median(values):.1f} {unit} ({spread}, all {values[0]:.1f} to {values[-1]:.1f})")


if __name__ == "__main__":
    main()
