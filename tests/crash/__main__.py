"""The soak: ``python -m tests.crash --kills 1000 [--kind postgresql] [--strategy append] [--minutes 5]``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as conftest does for pytest

from crash.cells import STRATEGIES
from crash.databases import KINDS
from crash.soak import Soak, soak


def main() -> int:
    """Run what the command line asks for; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash")
    parser.add_argument("--kills", type=int, default=1000, help="for each cell")
    parser.add_argument("--minutes", type=float, default=600, help="at most, for each cell")
    parser.add_argument("--kind", choices=KINDS, action="append", help="several times, for several; or all")
    parser.add_argument("--strategy", choices=STRATEGIES, action="append", help="likewise")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    given = parser.parse_args()
    asked = Soak(given.kills, given.minutes, given.seed)
    return int(not soak(given.kind or KINDS, given.strategy or STRATEGIES, asked))


if __name__ == "__main__":
    sys.exit(main())
