"""What the live card costs: python tests/benchmarks/display.py --pairs 7 --scale 1

1. TPC-H lineitem from PostgreSQL to PostgreSQL, in a Jupyter kernel, with the live card and without any, in turns.
2. The messages and bytes that eight runs at once send to the browser, in any second after their first.

A client reads all that the kernel sends, as a browser would. Starts a private PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
from jupyter_client.manager import start_new_kernel

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from lineitem import fresh, load  # noqa: E402  # found by the path above
from services import find_postgresql, postgresql_database, running_postgresql  # noqa: E402  # as well

SETUP = "import os, time, json, datapipe, pyarrow as pa"
COPY = """
os.environ["DATAPIPE_DISPLAY"] = {form!r}
began, cpu = time.perf_counter(), time.process_time()
result = datapipe.read("lineitem", source={url!r}).write("copied", to={url!r}).run()
print(json.dumps([time.perf_counter() - began, time.process_time() - cpu]))
"""
EIGHT = """
os.environ["DATAPIPE_DISPLAY"] = "widget"
def slow(frame):
    time.sleep(0.2)
    return frame
many = pa.table({{"id": range(1_250_000)}})
plans = [datapipe.read(many).apply(slow, per_batch=True).write(f"{folder}/{{n}}.parquet") for n in range(8)]
runs = [plan.run(background=True) for plan in plans]
"""


class Client:
    """A kernel, and somebody who reads what it sends."""

    def __init__(self) -> None:
        os.environ["JPY_SESSION_NAME"] = "benchmark.ipynb"
        self._manager, self._client = start_new_kernel()
        self.seen: list[tuple[float, int]] = []
        self._said: list[str] = []
        self._idle = threading.Event()
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def run(self, code: str) -> str:
        """What a cell prints."""
        self._said.clear()
        self._idle.clear()
        self._client.execute(code)
        if not self._idle.wait(600):
            raise TimeoutError(code)
        return "".join(self._said)

    def close(self) -> None:
        self._ended.set()
        self._reader.join()
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def _read(self) -> None:
        while not self._ended.is_set():
            try:
                message: dict[str, Any] = self._client.get_iopub_msg(timeout=0.5)
            except Empty:
                continue
            content = message["content"]
            self.seen.append((time.monotonic(), len(json.dumps(content))))
            if message["msg_type"] == "stream":
                self._said.append(content["text"])
            if message["msg_type"] == "error":
                print("\n".join(content["traceback"]), file=sys.stderr)
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                self._idle.set()


def copies(client: Client, url: str, pairs: int) -> None:
    measured: dict[str, list[tuple[float, float]]] = {"widget": [], "off": []}
    for number in range(pairs + 1):
        for form in ("widget", "off") if number % 2 else ("off", "widget"):
            fresh(url, "copied", like=True)
            seconds, cpu = json.loads(client.run(COPY.format(form=form, url=url)).splitlines()[-1])
            if number:  # the first is to warm up
                measured[form].append((seconds, cpu))
                print(f"{form}: {seconds:.2f} s, {cpu:.2f} s of CPU in the kernel", flush=True)
    for what, place in (("time", 0), ("CPU of the kernel", 1)):
        ratios = [one[place] / other[place] for one, other in zip(measured["widget"], measured["off"], strict=True)]
        low, high = np.quantile(ratios, [0.25, 0.75])
        print(f"{what} with the card to without: {statistics.median(ratios):.3f} (quartiles {low:.3f} to {high:.3f})")


def eight(client: Client, folder: Path) -> None:
    before = len(client.seen)
    client.run(EIGHT.format(folder=folder))
    began = time.monotonic()
    time.sleep(25)
    messages: Counter[int] = Counter()
    size: Counter[int] = Counter()
    for at, length in client.seen[before:]:
        messages[int(at - began)] += 1
        size[int(at - began)] += length
    whole = range(1, 24)
    print(
        f"messages a second: at most {max(messages[s] for s in whole)}, "
        f"median {statistics.median(messages[s] for s in whole)}; in the first second {messages[0]}"
    )
    print(f"kB a second: at most {max(size[s] for s in whole) / 1000:.0f}")
    client.run("[run.cancel() for run in runs]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args()
    service = find_postgresql()
    assert service is not None
    with tempfile.TemporaryDirectory() as name, running_postgresql(service) as server:
        os.environ["DATAPIPE_HOME"] = name
        client = Client()
        try:
            client.run(SETUP)
            eight(client, Path(name))
            with postgresql_database(server) as url:
                rows = load(url, given.scale, Path(name))
                print(f"{rows:,} rows")
                copies(client, url, given.pairs)
        finally:
            client.close()


if __name__ == "__main__":
    main()
