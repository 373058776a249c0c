"""What the ledger and the locks cost: a run of one row with and without them, interleaved.

    python tests/benchmarks/ledger.py --pairs 41

Starts a private PostgreSQL unless DATAPIPE_TEST_POSTGRESQL_URL names one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

import pyarrow as pa

import datapipe

sys.path.insert(0, str(Path(__file__).parents[1]))

from services import find_postgresql, running_postgresql


def seconds(url: str, ledger: str) -> float:
    os.environ["DATAPIPE_LEDGER"] = ledger
    plan = datapipe.read(pa.table({"id": [1], "text": ["one"]})).write("one_row", to=url)
    began = time.perf_counter()
    plan.run()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=41)
    pairs = parser.parse_args().pairs
    service = find_postgresql()
    if service is None:
        sys.exit("no PostgreSQL")
    with running_postgresql(service) as url:
        for ledger in ("on", "off"):
            seconds(url, ledger)
        found = [(seconds(url, "on"), seconds(url, "off")) for _ in range(pairs)]
    differences = sorted(1000 * (on - off) for on, off in found)
    quarter = len(differences) // 4
    print(f"with    {1000 * statistics.median(on for on, _ in found):6.1f} ms")
    print(f"without {1000 * statistics.median(off for _, off in found):6.1f} ms")
    print(
        f"cost    {statistics.median(differences):6.1f} ms "
        f"(quartiles {differences[quarter]:.1f} to {differences[-quarter - 1]:.1f}), {pairs} pairs"
    )


if __name__ == "__main__":
    main()
