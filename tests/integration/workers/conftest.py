"""A Redis of the tests' own, and worker processes on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import redis

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty Redis server, started for these tests."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("no redis-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([program, *options], stdout=log, stderr=log)
    url = f"redis://127.0.0.1:{port}/0"
    try:
        until(lambda: _answers(url))
        yield url
    finally:
        server.kill()
        server.wait()


def _answers(url: str) -> bool:
    with contextlib.suppress(redis.exceptions.RedisError), redis.Redis.from_url(url) as client:
        return bool(client.ping())
    return False


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until a call returns something true."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.05)


def fresh_tasks() -> ModuleType:
    """The tasks as a new process has them, which reads the environment."""
    for name in [name for name in sys.modules if name.startswith("datapipe.workers")]:
        del sys.modules[name]
    from datapipe.workers import tasks

    return tasks


def closed(tasks: ModuleType) -> None:
    """Close what a client has opened."""
    app: Any = tasks.app
    if app.backend.result_consumer._pubsub is not None:
        app.backend.result_consumer.stop()
    app.backend.client.connection_pool.disconnect()
    app.close()


@dataclass(frozen=True)
class StageWorker:
    """A worker process in a session of its own."""

    process: subprocess.Popen[bytes]
    path: Path

    @property
    def log(self) -> str:
        return self.path.read_text(encoding="utf-8", errors="replace")

    def children(self) -> list[int]:
        """The processes of its pool."""
        asked = ["ps", "-o", "pid=", "--ppid", str(self.process.pid)]
        found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
        return [int(pid) for pid in found.split()]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


@contextmanager
def stage_worker(folder: Path, environment: Mapping[str, str] | None = None, name: str = "w1") -> Iterator[StageWorker]:
    """A worker that takes messages, killed at the end."""
    path = folder / f"{name}.log"
    command = [sys.executable, "-m", "datapipe.workers.run_worker", "--concurrency", "1", "--name", name]
    variables = {**os.environ, "PYTHONPATH": f"{ROOT}:{folder}", **(environment or {})}
    with path.open("ab") as log:
        process = subprocess.Popen(command, env=variables, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    worker = StageWorker(process, path)
    seen = worker.log.count(" ready.")
    try:
        until(lambda: worker.log.count(" ready.") > seen or process.poll() is not None)
        assert process.poll() is None, worker.log[-3000:]
        yield worker
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
