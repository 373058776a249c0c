"""What an incremental load promises while others write, runs are killed with -9, and targets are restored."""

from __future__ import annotations

import datetime as dt
import random
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from contracts.sinks import Sink
from forked import Forked

import datapipe
from datapipe.pipeline import Pipeline

SERVERS = pytest.mark.parametrize("sink", ["postgresql", "mysql", "sqlite"], indirect=True)
WRITES = {
    "append": {},
    "upsert": {"strategy": "upsert", "keys": ["id"]},
    "deletes": {"strategy": "upsert", "keys": ["id"], "deletes": "remove"},
}
RUN = """
import datapipe
read = datapipe.read("events", source={url!r}, incremental="moment")
read.write("copy", to={target!r}, **{how!r}).run()
"""


class Writer:
    """Inserts, updates and deletes at random, each in a transaction of its own; many rows get the time of another one.

    What is deleted may come back.
    """

    def __init__(self, sink: Sink, *, updates: bool, deletes: bool, seed: int) -> None:
        self._sink, self._updates, self._deletes, self._random = sink, updates, deletes, random.Random(seed)
        self._clock, self._count, self._stopped = dt.datetime(2024, 1, 1), 0, threading.Event()
        self.gone: set[int] = set()
        text = sink.declared("VARCHAR")
        sink.sql(
            f"CREATE TABLE events (id INTEGER PRIMARY KEY, moment {sink.declared('TIMESTAMP')} NOT NULL, v {text})"
        )
        sink.sql("CREATE INDEX events_moment ON events (moment)")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write until the block ends."""
        thread = threading.Thread(target=self._write)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()

    def _write(self) -> None:
        while not self._stopped.is_set():
            self._clock += dt.timedelta(microseconds=self._random.choice([0, 0, 1, 1, 999, 1_000_000]))
            moment, text = self._clock.isoformat(" ", "microseconds"), self._random.choice("abc")
            if self._deletes and self._count and self._random.random() < 0.3:
                self._delete_or_bring_back(moment, text)
            elif self._updates and self._count and self._random.random() < 0.4:
                row = self._random.randint(1, self._count)
                self._sink.sql(f"UPDATE events SET moment = '{moment}', v = '{text}' WHERE id = {row}")
            else:
                self._count += 1
                self._sink.sql(f"INSERT INTO events VALUES ({self._count}, '{moment}', '{text}')")
            time.sleep(self._random.random() / 200)

    def _delete_or_bring_back(self, moment: str, text: str) -> None:
        row = self._random.randint(1, self._count)
        if row in self.gone:
            self._sink.sql(f"INSERT INTO events VALUES ({row}, '{moment}', '{text}')")
        else:
            self._sink.sql(f"DELETE FROM events WHERE id = {row}")
        self.gone ^= {row}


@pytest.mark.parametrize("rounds", [12, pytest.param(200, marks=pytest.mark.soak)])
@pytest.mark.parametrize("how", WRITES)
@SERVERS
def test_runs_that_are_killed_follow_a_writer(sink: Sink, how: str, rounds: int, tmp_path: Path) -> None:
    target = Sink("sqlite", f"sqlite:///{tmp_path / 'target.db'}") if sink.kind == "sqlite" else sink
    code = RUN.format(url=sink.url, target=target.url, how=WRITES[how])
    chance, ends = random.Random(rounds), Counter[str]()
    writer = Writer(sink, updates=how != "append", deletes=how == "deletes", seed=rounds)
    with writer.writing():
        for _ in range(rounds):
            with Forked(["-c", code]) as run:
                if chance.random() < 0.5:
                    time.sleep(chance.random() / 3)
                    run.kill()
                ends["killed" if run.wait() == -9 else "ended"] += 1
    with Forked(["-c", code]) as run:
        assert run.wait() == 0
    assert target.rows("copy") == sink.rows("events")
    assert ends["killed"] and ends["ended"], ends
    assert bool(writer.gone) == (how == "deletes")


def plan_of(source: Sink, target: Sink) -> Pipeline:
    read = datapipe.read("events", source=source.url, incremental="moment", lag="1 minute")
    return read.write("copy", to=target.url)


def test_a_restored_file_gets_what_it_lost(tmp_path: Path) -> None:
    source, target = (Sink("sqlite", f"sqlite:///{tmp_path / name}.db") for name in ("source", "target"))
    _grow(source, 1, 50)
    plan_of(source, target).run()
    shutil.copy(target.path, tmp_path / "backup.db")
    _grow(source, 51, 80)
    assert plan_of(source, target).run().rows_read == 30
    shutil.copy(tmp_path / "backup.db", target.path)
    _grow(source, 81, 90)
    assert plan_of(source, target).run().rows_read == 40
    assert [row[0] for row in target.rows("copy")] == [row[0] for row in source.rows("events")]


def test_a_restored_database_gets_what_it_lost(postgresql_sink: Sink, tmp_path: Path) -> None:
    dump, restore = shutil.which("pg_dump"), shutil.which("pg_restore")
    if dump is None or restore is None:
        pytest.skip("pg_dump is not on this machine")
    source, target = Sink("sqlite", f"sqlite:///{tmp_path / 'source.db'}"), postgresql_sink
    _grow(source, 1, 50)
    plan_of(source, target).run()
    backup = str(tmp_path / "backup")
    subprocess.run([dump, "-Fc", "-f", backup, target.url], check=True)
    _grow(source, 51, 80)
    assert plan_of(source, target).run().rows_read == 30
    subprocess.run([restore, "--clean", "--if-exists", "-d", target.url, backup], check=True)
    _grow(source, 81, 90)
    assert plan_of(source, target).run().rows_read == 40
    assert [row[0] for row in target.rows("copy")] == [row[0] for row in source.rows("events")]


def _grow(source: Sink, first: int, last: int) -> None:
    """Rows with these ids, three of which share each second."""
    source.sql("CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, moment TIMESTAMP NOT NULL)")
    start = dt.datetime(2024, 1, 1)
    rows = ", ".join(f"({i}, '{start + dt.timedelta(seconds=i // 3)}')" for i in range(first, last + 1))
    source.sql(f"INSERT INTO events VALUES {rows}")
