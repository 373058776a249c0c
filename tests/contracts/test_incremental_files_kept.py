"""What loads of files promise while more files come, runs are killed with -9, and targets are restored."""

from __future__ import annotations

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
from contracts.sinks import Sink, on_two
from forked import Forked

import datapipe
from datapipe.pipeline import Pipeline

SERVERS = pytest.mark.parametrize("sink", ["postgresql", "mysql", "sqlite"], indirect=True)
RUN = """
import datapipe
datapipe.read({pattern!r}, incremental=True).write("copy", to={url!r}).run()
"""
KILLED_BEFORE_COMMIT = """
import os, signal
from datapipe.persistence import ledger
record = ledger.record
ledger.record = lambda *given: (record(*given), os.kill(os.getpid(), signal.SIGKILL))
"""


def put(folder: Path, first: int, last: int) -> None:
    """A file for each of these numbers, with as many rows as its last digit says, each there when it is whole."""
    folder.mkdir(exist_ok=True)
    for number in range(first, last + 1):
        draft = folder / f"{number:04}.part"
        draft.write_text("number,place\n" + "".join(f"{number},{place}\n" for place in range(1 + number % 10)))
        draft.rename(draft.with_suffix(".csv"))


def expected(first: int, last: int) -> list[tuple[int, int]]:
    """The rows of those files."""
    return [(number, place) for number in range(first, last + 1) for place in range(1 + number % 10)]


def plan_of(folder: Path, target: Sink) -> Pipeline:
    return datapipe.read(str(folder / "*.csv"), incremental=True).write("copy", to=target.url)


def loaded(target: Sink) -> list[tuple[int, int]]:
    return sorted((int(number), int(place)) for number, place in target.sql("SELECT number, place FROM copy"))


@SERVERS
def test_a_run_that_is_killed_before_commit_has_loaded_no_file(sink: Sink, tmp_path: Path) -> None:
    put(tmp_path / "inbox", 1, 12)
    plan = plan_of(tmp_path / "inbox", sink)
    code = RUN.format(pattern=str(tmp_path / "inbox/*.csv"), url=sink.url)
    with Forked(["-c", KILLED_BEFORE_COMMIT + code]) as run:
        assert run.wait() == -9
    assert not plan.watermark.files
    assert plan.run().watermark == {"files": 12, "known": 12, "last": "0012.csv"}
    assert loaded(sink) == expected(1, 12)


@contextmanager
def coming(folder: Path) -> Iterator[list[int]]:
    """Files that come until the block ends; how many there were, at its end."""

    def come() -> None:
        while not ended.is_set():
            count[0] += 1
            put(folder, count[0], count[0])
            time.sleep(0.03)

    count, ended = [0], threading.Event()
    put(folder, 1, 0)
    thread = threading.Thread(target=come)
    thread.start()
    try:
        yield count
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("rounds", [6, pytest.param(60, marks=pytest.mark.soak)])
@on_two
def test_runs_that_are_killed_follow_an_inbox(sink: Sink, rounds: int, tmp_path: Path) -> None:
    code = RUN.format(pattern=str(tmp_path / "inbox/*.csv"), url=sink.url)
    chance, ends = random.Random(rounds), Counter[str]()
    with coming(tmp_path / "inbox") as count:
        while not count[0]:
            time.sleep(0.01)
        for number in range(rounds):
            with Forked(["-c", code]) as run:
                if number % 2:
                    time.sleep(chance.random() / 4)
                    run.kill()
                ends["killed" if run.wait() == -9 else "ended"] += 1
    with Forked(["-c", code]) as run:
        assert run.wait() == 0
    assert loaded(sink) == expected(1, count[0])
    assert ends["killed"] and ends["ended"], ends


def test_a_restored_file_gets_what_it_lost(tmp_path: Path) -> None:
    inbox, target = tmp_path / "inbox", Sink("sqlite", f"sqlite:///{tmp_path / 'target.db'}")
    put(inbox, 1, 5)
    plan_of(inbox, target).run()
    shutil.copy(target.path, tmp_path / "backup.db")
    put(inbox, 6, 8)
    assert plan_of(inbox, target).run().watermark == {"files": 3, "known": 8, "last": "0008.csv"}
    shutil.copy(tmp_path / "backup.db", target.path)
    put(inbox, 9, 9)
    assert plan_of(inbox, target).run().watermark == {"files": 4, "known": 9, "last": "0009.csv"}
    assert loaded(target) == expected(1, 9)


def test_a_restored_database_gets_what_it_lost(postgresql_sink: Sink, tmp_path: Path) -> None:
    dump, restore = shutil.which("pg_dump"), shutil.which("pg_restore")
    if dump is None or restore is None:
        pytest.skip("pg_dump is not on this machine")
    inbox, target, backup = tmp_path / "inbox", postgresql_sink, str(tmp_path / "backup")
    put(inbox, 1, 5)
    plan_of(inbox, target).run()
    subprocess.run([dump, "-Fc", "-f", backup, target.url], check=True)
    put(inbox, 6, 8)
    plan_of(inbox, target).run()
    subprocess.run([restore, "--clean", "--if-exists", "-d", target.url, backup], check=True)
    put(inbox, 9, 9)
    assert plan_of(inbox, target).run().watermark == {"files": 4, "known": 9, "last": "0009.csv"}
    assert loaded(target) == expected(1, 9)
