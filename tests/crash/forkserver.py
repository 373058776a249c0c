"""A process that has imported everything, and forks a run in milliseconds. ``runs`` talks to it."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from crash.child import Case, run_case
from crash.databases import KINDS

_MODULES = (
    "datapipe.engine.runner",
    *(f"datapipe.persistence.{kind}" for kind in KINDS),
    "datapipe.data.frames",
    "datapipe.display.terminal",
    "adbc_driver_postgresql.dbapi",
    "duckdb",
    "pandas",
    "pyarrow.compute",
    "pymysql",
)


def serve() -> None:
    """Fork a run for each line, and answer with its process id, until whoever sends the lines is gone."""
    import_all(_MODULES)
    tempfile.gettempdir()  # the first call tries the folder out with a file
    alive: set[int] = set()
    print("ready", flush=True)
    for line in sys.stdin:
        alive -= _ended()
        pid = os.fork()
        if pid == 0:
            _become(json.loads(line))
        alive.add(pid)
        print(pid, flush=True)
    for pid in alive - _ended():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def import_all(modules: Sequence[str]) -> None:
    """Import what a process will need, and make sure that it began no thread: a fork would not take it along."""
    sys.modules["polars"] = None  # type: ignore[assignment]  # its import begins threads, and no run here needs it
    for module in modules:
        importlib.import_module(module)
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    names = [name for name in names if name != "jemalloc_bg_thd"]  # jemalloc knows about forks
    assert len(names) == threading.active_count() == 1, (names, threading.enumerate())


def _ended() -> set[int]:
    """The runs that have ended since. They are kept till the next request, so that no process id is used twice."""
    found: set[int] = set()
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            found.add(pid)
    return found


def _become(request: dict[str, Any]) -> NoReturn:
    """The forked process: a run and nothing else."""
    try:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        run_case(Case(**request["case"]), request["marks"])
    finally:
        os._exit(0)


if __name__ == "__main__":
    serve()
