"""Worker processes for tests: real ones, forked with everything imported already, ended by their process id."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from forked import Forked

ROOT = Path(__file__).parents[1]
_MODULE = ("-m", "datapipe.workers.run_worker")
PROGRAM = (sys.executable, *_MODULE)


@dataclass
class Worker:
    """A worker in a session of its own, so that a signal reaches it with its processes, or alone."""

    name: str
    environment: Mapping[str, str]
    folder: Path
    concurrency: int = 1
    queues: str | None = None
    command: Sequence[str] = ()  # what users start, instead of a fork
    process: subprocess.Popen[bytes] | Forked | None = field(default=None, repr=False)

    @property
    def log(self) -> str:
        path = self.folder / f"{self.name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, *, wait: bool = True) -> Worker:
        """Start it, and wait until it takes messages."""
        seen = self.log.count(" ready.")
        arguments = ["--name", self.name, "--concurrency", str(self.concurrency)]
        arguments += ["--queues", self.queues] if self.queues else []
        environment = {**os.environ, "PYTHONPATH": _path(), **self.environment}
        with (self.folder / f"{self.name}.log").open("ab") as log:
            if self.command:
                self.process = subprocess.Popen(
                    [*self.command, *arguments],
                    env=environment,
                    cwd=self.folder,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            else:
                self.process = Forked([*_MODULE, *arguments], env=environment, cwd=self.folder, output=log.fileno())
        until = time.monotonic() + 60
        while wait and self.log.count(" ready.") == seen:
            assert self.process.poll() is None, self.log[-3000:]
            assert time.monotonic() < until, self.log[-3000:]
            time.sleep(0.05)
        return self

    def children(self) -> list[int]:
        """Its pool's processes."""
        found = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.pid)], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in found.stdout.split()]

    def signal(self, number: int) -> None:
        """Signal the main process alone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9 of the main process and all others."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait(30)

    def stop(self, timeout: float = 60) -> int:
        """SIGTERM, as a deployment does; its exit code."""
        assert self.process is not None
        self.signal(signal.SIGTERM)
        return self.process.wait(timeout)


def _path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


@contextmanager
def running_worker(
    environment: Mapping[str, str], folder: Path, name: str = "w1", concurrency: int = 1, queues: str | None = None
) -> Iterator[Worker]:
    """A worker that takes messages; killed at the end if it has not been stopped."""
    worker = Worker(name, environment, folder, concurrency, queues)
    try:
        yield worker.start()
    finally:
        worker.kill()


def fresh_workers() -> None:
    """Have datapipe.workers read the environment again, as a new process would."""
    from datapipe.hosts import host

    for name in [name for name in sys.modules if name.startswith("datapipe.workers")]:
        del sys.modules[name]
    host.cache_clear()


@contextmanager
def workplace(
    patch: pytest.MonkeyPatch, broker: str, database: str, home: Path, **more: str
) -> Iterator[dict[str, str]]:
    """The environment that this process and its workers share: a broker, a database, a run store in a folder."""
    found = {
        "REDIS_URL": broker,
        "SOURCE_DB_URL": database,
        "DEST_DB_URL": database,
        "DATAPIPE_HOME": str(home),
        "DATAPIPE_SIGNING_KEY": "k" * 40,
        **more,
    }
    patch.delenv("DATAPIPE_METADATA_URL")
    for name, value in found.items():
        patch.setenv(name, value)
    fresh_workers()
    yield found
    fresh_workers()


def until(condition: object, seconds: float = 30, every: float = 0.05) -> float:
    """Wait until a call returns something true; how long that took."""
    assert callable(condition)
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(every)
    return time.monotonic() - began


def patient(seconds: float) -> float:
    """Seconds that are promised, times the processes that there are for each processor now, if it is not alone."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
