"""What a job costs on top of plain papermill: the same notebooks, in processes of their own, interleaved.

    python tests/benchmarks/notebooks.py --pairs 9

Without artifacts in papermill's case but the executed notebook; ours keeps HTML and the record of the run, too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from notebookfiles import write_notebook

NOTEBOOKS = {
    "one cell": ("print(1)",),
    "a hundred cells": tuple(f"print({number})" for number in range(100)),
    "much output": ("for number in range(2_000):\n    print('x' * 500)",) * 5,
}


def ours(path: Path) -> float:
    return _seconds("-m", "datapipe", "notebook", "run", str(path))


def plain(path: Path) -> float:
    return _seconds("-m", "papermill", str(path), str(path.with_suffix(".out.ipynb")), "--no-progress-bar")


def _seconds(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DATAPIPE_HOME"] = folder
        for name, cells in NOTEBOOKS.items():
            path = write_notebook(Path(folder, f"{name.replace(' ', '_')}.ipynb"), *cells)
            ours(path)  # warms the caches
            pairs = [(ours(path), plain(path)) for _ in range(given.pairs)]
            ratios = sorted(one / other for one, other in pairs)
            ours_median, plain_median = (statistics.median(times) for times in zip(*pairs, strict=True))
            quartiles = f"{ratios[len(ratios) // 4]:.2f} to {ratios[3 * len(ratios) // 4]:.2f}"
            print(
                f"{name}: {statistics.median(ratios):.2f} of papermill's time (quartiles {quartiles}); "
                f"medians {ours_median:.1f} s and {plain_median:.1f} s"
            )


if __name__ == "__main__":
    main()
