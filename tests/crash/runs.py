"""Starts runs by the fork server, and watches them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import datapipe
from crash.child import Case

END = 60.0  # seconds within which any run ends
_POLL = 0.001


class Run:
    """A forked run."""

    def __init__(self, pid: int, marks: Path) -> None:
        self.began = time.monotonic()
        self.killed = False
        self._marks = marks
        self._process = os.pidfd_open(pid)

    def close(self) -> None:
        """Stop watching it; it is killed, if it lives."""
        self.send(signal.SIGKILL)
        os.close(self._process)
        self._marks.unlink(missing_ok=True)

    def wait(self, seconds: float = END) -> bool:
        """Wait for its end; whether it came."""
        return bool(select.select([self._process], [], [], seconds)[0])

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return not self.wait(0)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        self.killed = self.killed or number == signal.SIGKILL
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._process, number)

    @property
    def marks(self) -> list[dict[str, Any]]:
        """What it has marked so far."""
        text = self._marks.read_text(encoding="utf-8") if self._marks.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    @property
    def places(self) -> list[str]:
        """The names of its marks."""
        return [mark["mark"] for mark in self.marks]

    @property
    def outcome(self) -> dict[str, Any] | None:
        """How it ended; None if it did not come to its end."""
        return next((mark for mark in self.marks if mark["mark"] == "done"), None)

    def reach(self, place: str) -> None:
        """Wait until it has passed a mark."""
        wait_until(lambda: place in self.places or not self.alive)
        assert place in self.places, f"ended before {place!r}: {self.marks}"


def wait_until(happened: Callable[[], bool], seconds: float = END) -> None:
    """Wait until something is the case, which must be soon."""
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, f"waited {seconds:g} s in vain"
        time.sleep(_POLL)


class ForkServer:
    """Starts runs whose temporary files are all in one folder."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self._folder = process, folder
        self._count = 0

    def start(self, case: Case) -> Run:
        """Fork a run."""
        self._count += 1
        marks = self._folder / f"{self._count}.marks"
        request = {"case": dataclasses.asdict(case), "marks": str(marks)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Run(int(self._process.stdout.readline()), marks)

    def sweep(self, killed: int) -> list[str]:
        """Remove what so many killed runs may leave, an empty scratch directory each; what else is left of runs.

        SQLite deletes a temporary file as soon as it has opened it, and leaves it if it is killed between the two.
        """
        left = [path for path in _temporary(self._folder).iterdir() if not path.name.startswith("datapipe-locks")]
        scratch = [path for path in left if path.is_dir() and not any(path.iterdir())]
        opened = [path for path in left if path.name.startswith("etilqs_") and not path.stat().st_size]
        odd = [path.name for path in left if path not in scratch + opened]
        for paths in (scratch, opened):
            odd += [path.name for path in paths[killed:]]
        for path in left:
            _remove(path)
        return [f"left: {name}" for name in odd]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _temporary(folder: Path) -> Path:
    return folder / "temporary"


@contextmanager
def fork_server(folder: Path) -> Iterator[ForkServer]:
    """A fork server, which ends with whoever started it, and its runs with it."""
    roots = (Path(datapipe.__file__).parents[1], Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots)), "MAX_RETRIES": "0"}
    environment |= {"TMPDIR": str(_temporary(folder)), "OPENBLAS_NUM_THREADS": "1", "DATAPIPE_METADATA_URL": "off"}
    _temporary(folder).mkdir()
    command = [sys.executable, "-m", "crash.forkserver"]
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(command, text=True, env=environment, cwd=folder, stdin=pipe, stdout=pipe)
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield ForkServer(process, folder)
