"""kill -9 at named points and at random times, with duplicate runners of one key: every load takes effect once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

ROWS = 30_000
KILLS = int(os.environ.get("DATAPIPE_TEST_KILLS", "15"))
STRATEGIES = ("append", "insert", "upsert", "replace")
POINTS = ("begun", "first batch sent", "all batches sent", "copied", "before COMMIT", "after COMMIT")
QUERIES = {
    "postgresql": "SELECT CAST(:run AS int) AS run, g AS id, md5(g::text) AS text FROM generate_series(1, 30000) g",
    "sqlite": """WITH RECURSIVE g(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM g WHERE id < 30000)
                 SELECT CAST(:run AS int) AS run, id, hex(id) AS text FROM g""",
}
KEYS = {"append": [], "insert": ["run", "id"], "upsert": ["id"], "replace": []}
COUNTS = "SELECT run, count(*), count(DISTINCT id), sum(id) FROM t GROUP BY run ORDER BY run"


@dataclass
class Lab:
    """One database, one strategy, and processes to run plans in."""

    kind: str
    url: str
    strategy: str
    folder: Path
    server: subprocess.Popen[str]
    number: int = 0
    landed: list[str] = field(default_factory=list)

    @property
    def marks(self) -> Path:
        return self.folder / f"marks-{self.number}"

    def start(self, kill_at: str | None = None) -> int:
        case = {
            "marks": str(self.marks),
            "url": self.url,
            "source": self.url if self.kind == "postgresql" else f"sqlite:///{self.folder / 'source.db'}",
            "query": QUERIES[self.kind],
            "params": {"run": self.number},
            "target": {"table": "t", "strategy": self.strategy, "keys": KEYS[self.strategy]},
            "key": f"run {self.number}",
            "kill_at": kill_at,
        }
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(case) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def seen(self, pid: int) -> list[str]:
        lines = self.marks.read_text().splitlines() if self.marks.exists() else []
        return [line.partition(" ")[2] for line in lines if line.startswith(f"{pid} ")]

    def wait(self, pid: int, until: Callable[[], bool] = lambda: False, seconds: float = 60) -> None:
        limit = time.monotonic() + seconds
        while Path(f"/proc/{pid}").exists() and not until():
            assert time.monotonic() < limit, f"process {pid} hangs after {self.seen(pid)}"
            time.sleep(0.002)

    def wait_for(self, mark: str, pids: list[int]) -> None:
        """Until one of them has come that far, or the first has ended."""
        self.wait(pids[0], lambda: any(mark in self.seen(pid) for pid in pids))

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        if self.kind == "postgresql":
            with psycopg.connect(self.url) as conn:
                return conn.execute(sql.encode()).fetchall()
        with contextlib.closing(sqlite3.connect(self.folder / "target.db")) as conn:
            return conn.execute(sql).fetchall()

    def finish(self) -> str:
        """Run the key until it succeeds, as a queue would; then everything is there once."""
        pid = self.start()
        self.wait(pid)
        last = self.seen(pid)[-1]
        assert last.startswith("done succeeded"), last
        whole = (ROWS, ROWS, ROWS * (ROWS + 1) // 2)
        kept = self.strategy in {"append", "insert"}
        expected = [(run, *whole) for run in (range(1, self.number + 1) if kept else (self.number,))]
        assert self.query(COUNTS) == expected
        ledger = "_datapipe.loads" if self.kind == "postgresql" else "_datapipe_loads"
        assert self.query(f"SELECT count(*), count(DISTINCT key) FROM {ledger}") == [(self.number, self.number)]
        self.check_nothing_left()
        return last

    def check_nothing_left(self) -> None:
        if self.kind == "sqlite":
            assert sorted(self.query("SELECT name FROM sqlite_master WHERE type = 'table'")) == [
                ("_datapipe_loads",),
                ("t",),
            ]
            return
        stages = "SELECT count(*) FROM pg_class WHERE relname LIKE '%datapipe_stage%'"
        busy = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'datapipe %'"
        limit = time.monotonic() + 2
        while self.query(stages) != [(0,)] or self.query(busy) != [(0,)]:
            assert time.monotonic() < limit, "something of a dead run is left after 2 s"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    script = Path(__file__).parents[1] / "forkserver.py"
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(params=[(kind, strategy) for kind in QUERIES for strategy in STRATEGIES], ids="-".join)
def lab(request: pytest.FixtureRequest, server: subprocess.Popen[str], tmp_path: Path) -> Lab:
    kind, strategy = request.param
    url = request.getfixturevalue("postgresql_url") if kind == "postgresql" else f"sqlite:///{tmp_path / 'target.db'}"
    if kind == "sqlite":
        with contextlib.closing(sqlite3.connect(tmp_path / "source.db")) as conn:
            conn.execute("CREATE TABLE empty (id)")
    return Lab(kind, url, strategy, tmp_path, server)


def test_killed_at_every_named_point(lab: Lab) -> None:
    for point in POINTS:
        lab.number += 1
        pid = lab.start(kill_at=point)
        lab.wait(pid)
        assert lab.seen(pid)[-1] == point
        replayed = lab.finish().endswith("True")
        assert replayed == (point == "after COMMIT")


def test_killed_at_random_times_with_duplicate_runners(lab: Lab) -> None:
    chance = random.Random(lab.kind + lab.strategy)
    lab.number = 1
    began = time.monotonic()
    lab.finish()
    usual = time.monotonic() - began
    inside = 0
    for number in range(KILLS):
        lab.number += 1
        pids = [lab.start() for _ in range(chance.choice((1, 2)))]
        if number % 4:  # most kills are aimed at the time between the first batch and COMMIT
            lab.wait_for("first batch sent", pids)
            time.sleep(chance.uniform(0, 0.012))
        else:
            time.sleep(chance.uniform(0, usual))
        for pid in pids if chance.random() < 0.7 else pids[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in pids:
            lab.wait(pid)
        killed = [lab.seen(pid) for pid in pids]
        inside += any("first batch sent" in marks and "after COMMIT" not in marks for marks in killed)
        lab.finish()
    print(f"{lab.kind} {lab.strategy}: {KILLS} cases, {inside} killed between the first batch and COMMIT, 0 wrong")
