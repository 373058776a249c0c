"""The run store, the same on SQLite and PostgreSQL: runs, steps, logs, states, lost runs, many openers at once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa
from contracts.sinks import errors_at_once

from datapipe.errors import FatalError, PlanError
from datapipe.store import RunStore, StepRow, open_store
from datapipe.store.opening import engine_of


def test_a_run_from_its_beginning_to_its_end(store: RunStore) -> None:
    store.add("r", state="queued", source="users", target="members", pipeline_id="nightly")
    row = store.run("r")
    assert (row.state, row.pipeline_id, row.correlation_id, row.started, row.silence) == (
        "queued",
        "nightly",
        "r",
        None,
        None,
    )
    assert store.change("r", when=("queued",), state="running", attempts=1)
    assert not store.change("r", when=("queued",), state="running")
    assert not store.beat("r", [StepRow(0, "ingestion", rows_out=10, total=20), StepRow(1, "persistence", "v1", 10)])
    row = store.run("r")
    assert row.steps == (StepRow(0, "ingestion", rows_out=10, total=20), StepRow(1, "persistence", "v1", 10))
    assert row.silence is not None
    assert row.silence < 5
    store.change("r", state="succeeded", rows_written=10, result={"rows": 10})
    row = store.run("r")
    assert (row.state, row.rows_written, row.result, row.ended_for_good) == ("succeeded", 10, {"rows": 10}, True)
    assert row.seconds is not None
    assert row.ended is not None


def test_the_latest_runs_come_first_and_may_be_of_one_state(store: RunStore) -> None:
    for number in range(5):
        store.add(f"r{number}", state="running" if number % 2 else "queued")
        time.sleep(0.002)
    assert [row.id for row in store.runs(limit=3)] == ["r4", "r3", "r2"]
    assert [row.id for row in store.runs(state="running")] == ["r3", "r1"]


def test_a_log_is_read_on_from_where_one_was(store: RunStore) -> None:
    store.say("r", "notice", "first")
    store.say("other", "notice", "not mine")
    store.say("r", "attempt_failed", "second", "ingestion")
    first, second = store.logs("r")
    assert (first.message, second.message, second.step) == ("first", "second", "ingestion")
    assert store.logs("r", after=first.id) == [second]


def test_cancelling(store: RunStore) -> None:
    store.add("waiting", state="queued")
    store.add("working", state="running")
    store.add("done", state="running")
    store.change("done", state="succeeded")
    assert [store.cancel(name) for name in ("waiting", "working", "done")] == [True, True, False]
    assert store.run("waiting").state == "cancelled"
    assert store.run("working").state == "running"
    assert store.beat("working")  # it hears so here


def test_a_run_whose_process_is_gone_is_lost_at_once(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    here = socket.gethostname()
    store.add("gone", state="running", host=here, process=gone.pid)
    store.add("alive", state="running", host=here, process=os.getpid())
    store.add("elsewhere", state="running", host="another", process=gone.pid)
    store.add("worker", state="running", host=here, process=gone.pid, worker="w")
    assert store.find_lost() == 0, "it may just have begun"
    monkeypatch.setattr("datapipe.store.store._QUIET", 0.0)
    time.sleep(0.01)
    assert store.find_lost() == 1
    assert (store.run("gone").state, store.run("gone").reason) == ("lost", "its process has ended")
    assert [store.run(run_id).state for run_id in ("alive", "elsewhere", "worker")] == ["running"] * 3
    before = store.run("gone").seconds
    time.sleep(0.05)
    assert store.run("gone").seconds == before, "a run that is lost takes no longer"


def test_a_silent_run_is_lost_until_it_is_heard_of(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add("r", state="running")
    assert store.find_lost() == 0
    monkeypatch.setattr("datapipe.store.store.SILENT", 0.05)
    time.sleep(0.1)
    assert store.find_lost() == 1
    assert (store.run("r").state, store.run("r").reason) == ("lost", "no sign of life for 0 s")
    store.beat("r")
    assert (store.run("r").state, store.run("r").reason) == ("running", None)


def test_a_run_that_nobody_knows(store: RunStore) -> None:
    with pytest.raises(PlanError, match="no run has the id 'nope'"):
        store.run("nope")


def test_many_open_a_new_store_at_once(store_url: str) -> None:
    ids: list[str] = []
    errors = errors_at_once(lambda: ids.append(RunStore(engine_of(store_url)).id), threads=8)
    assert errors == []
    assert len(ids) == 8
    assert len(set(ids)) == 1


def test_a_store_of_a_newer_library_is_left_alone(store_url: str, store: RunStore) -> None:
    engine = engine_of(store_url)
    with engine.begin() as conn:
        conn.execute(sa.text("UPDATE datapipe_meta SET value = '99' WHERE name = 'version'"))
    with pytest.raises(FatalError, match="version 99"):
        RunStore(engine)


def test_another_kind_of_database_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_METADATA_URL", "mysql://nobody@127.0.0.1:1/x")
    with pytest.raises(PlanError, match="runs cannot be recorded in mysql"):
        open_store()


def test_a_lost_run_that_nobody_takes_up_is_cancelled_at_once(store: RunStore) -> None:
    store.add("here", state="lost", reason="its process has ended")
    store.add("worker", state="lost", queue="datapipe")
    assert (store.cancel("here"), store.run("here").state, store.run("here").reason) == (
        True,
        "cancelled",
        "its process has ended",
    )
    assert not store.cancel("here")
    assert (store.cancel("worker"), store.run("worker").state) == (True, "lost")
