"""A broker, a run store and a worker that belong to one test."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from services import PrivateRedis, private_redis, redis_program
from workerside import Worker, running_worker

import datapipe

ROOT = Path(__file__).parents[3]
FUNCTIONS = """
import time

def slow(df):
    time.sleep(60)
    return df

def wrong(df):
    raise ValueError("no such user")
"""


@pytest.fixture(params=["redis", "valkey"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PrivateRedis]:
    """A Redis and a Valkey, with a password."""
    with private_redis(redis_program(request.param)) as server:
        yield server


@pytest.fixture
def site(tmp_path: Path, forked_cli: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Everything that runs on workers need, and the environment that says so."""
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    with sqlite3.connect(tmp_path / "users.db") as conn:
        conn.execute("CREATE TABLE users (id INTEGER)")
        conn.executemany("INSERT INTO users VALUES (?)", [(number,) for number in range(100)])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATAPIPE_METADATA_URL")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("DATAPIPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATAPIPE_FUNCTION_MODULES", "functions")
    monkeypatch.setenv("SOURCE_DB_URL", f"sqlite:///{tmp_path / 'users.db'}")
    monkeypatch.setenv("DEST_DB_URL", f"sqlite:///{tmp_path / 'mart.db'}")
    with private_redis(redis_program()) as server:
        monkeypatch.setenv("REDIS_URL", server.url)
        with ExitStack() as ends:
            yield Site(tmp_path, server, ends, forked_cli)


@dataclass(frozen=True)
class Site:
    """A broker and its workers."""

    folder: Path
    broker: PrivateRedis
    ends: ExitStack
    datapipe: Path

    def start_worker(self, name: str) -> Worker:
        """A worker for one run at a time, once it answers."""
        return self.ends.enter_context(running_worker({}, self.folder, name))

    def submit(self, function: str | None = None) -> str:
        """Queue a run in a process of its own, which has its own Celery application; its id."""
        plan = {"ingestion": {"table": "users"}, "persistence": {"table_name": "copy"}}
        if function:
            plan["transformation"] = {"type": "code", "config": {"function": f"functions:{function}"}}
        (self.folder / "plan.json").write_text(json.dumps(plan))
        return self.cli("submit", "plan.json").stdout.strip()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return _run([sys.executable, *arguments])

    def cli(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return _run([str(self.datapipe), *arguments], **variables)


def _run(command: Sequence[str], **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **variables})


def wait_until(condition: Callable[[], Any], seconds: float = 40) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it does not come to pass"
        time.sleep(0.2)


@pytest.fixture
def wait() -> Callable[..., None]:
    """Wait for a condition."""
    return wait_until


@pytest.fixture
def state_of() -> Callable[[str], str]:
    """The state of a run."""
    return lambda run_id: datapipe.attach(run_id).status
