"""Exactly once, the same on every database: keys, turns, stale runs, failed runs."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from contracts.sinks import KINDS, Sink

import datapipe
from datapipe.data.stream import Stream, Workspace, scratch_directory
from datapipe.errors import IdempotencyConflict, InProgress, PlanError, StaleRun
from datapipe.persistence import Delivery, begin_write, write
from datapipe.persistence.session import CommitLost
from datapipe.persistence.sessions import open_session
from datapipe.plan import TableTarget, build

ROWS = pa.table({"id": [1, 2, 3]})


@pytest.fixture(params=KINDS)
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sink]:
    kind = request.param
    url = (
        request.getfixturevalue(f"{kind}_url")
        if kind in {"postgresql", "mysql"}
        else f"{kind}:///{tmp_path / 'ledger.db'}"
    )
    yield Sink(kind, url)


def plan(sink: Sink, rows: pa.Table = ROWS, **options: Any) -> datapipe.Pipeline:
    return datapipe.read(rows).write("t", to=sink.url, **options)


def ledger(sink: Sink, columns: str) -> list[tuple[Any, ...]]:
    name = "_datapipe_loads" if sink.kind in {"sqlite", "mysql"} else "_datapipe.loads"
    return sink.sql(f"SELECT {columns} FROM {name} ORDER BY generation")


def target(sink: Sink, **options: Any) -> TableTarget:
    found: TableTarget = build(TableTarget, {"table_name": "t", "dest_db_url": sink.url, **options})
    return found


def deliver(sink: Sink, delivery: Delivery, **options: Any) -> None:
    with scratch_directory() as scratch:
        write(
            target(sink, **options), Stream(ROWS.schema, iter(ROWS.to_batches())), Workspace(scratch=scratch), delivery
        )


def begun(sink: Sink, run_id: str, **options: Any) -> Delivery:
    with begin_write(target(sink, **options), Delivery(run_id, fingerprint="f"), Workspace()) as claim:
        return claim.delivery


def test_a_run_is_recorded_with_its_rows(sink: Sink) -> None:
    result = plan(sink).run()
    recorded = ledger(sink, "run_id, rows_read, rows_written, generation, strategy")
    assert recorded == [(result.run_id, 3, 3, 1, "append")]


def test_a_key_takes_effect_once_and_returns_the_first_result(sink: Sink) -> None:
    first = plan(sink).run(idempotency_key="day 1")
    second = plan(sink).run(idempotency_key="day 1")
    assert not first.replayed
    measured: dict[str, Any] = {"seconds": 0, "peak_memory": None, "steps": (), "notices": ()}
    assert dataclasses.replace(second, replayed=False, **measured) == dataclasses.replace(first, **measured)
    assert sink.rows() == [(1,), (2,), (3,)]


def test_a_replay_does_not_read_the_source(sink: Sink) -> None:
    calls: list[int] = []

    def count(frame):  # a user's function
        calls.append(len(frame))
        return frame

    counted = datapipe.read(ROWS).apply(count).write("t", to=sink.url)
    counted.run(idempotency_key="k")
    assert counted.run(idempotency_key="k").replayed
    assert calls == [3]


def test_a_key_of_another_plan_is_refused(sink: Sink) -> None:
    first = plan(sink).run(idempotency_key="day 1")
    with pytest.raises(IdempotencyConflict, match=first.run_id):
        plan(sink, pa.table({"id": [4]})).run(idempotency_key="day 1")
    assert len(sink.rows()) == 3


def test_an_append_of_the_same_again_runs_and_says_so(sink: Sink) -> None:
    plan(sink).run()
    result = plan(sink).run()
    assert any(note.startswith("the same plan loaded 3 rows at ") for note in result.notices)
    assert len(sink.rows()) == 6
    assert not any("the same plan" in note for note in plan(sink, pa.table({"id": [9]})).run().notices)


def test_a_failed_run_leaves_no_row(sink: Sink) -> None:
    plan(sink, strategy="insert", keys=["id"]).run()
    with pytest.raises(datapipe.DatapipeError):
        plan(sink, strategy="insert", keys=["id"]).run(idempotency_key="again")
    assert len(ledger(sink, "run_id")) == 1


def test_of_two_replacing_runs_the_older_never_wins(sink: Sink) -> None:
    plan(sink, strategy="replace").run()
    older = begun(sink, "older", strategy="replace")
    result = plan(sink, pa.table({"id": [7]}), strategy="replace").run()
    with pytest.raises(StaleRun, match=result.run_id):
        deliver(sink, older, strategy="replace")
    assert sink.rows() == [(7,)]


def test_writers_take_turns_and_name_each_other(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    plan(sink).run()
    monkeypatch.setenv("DATAPIPE_LOCK_TIMEOUT", "0.2")
    with open_session(target(sink), Workspace()) as session:
        from datapipe.persistence.tables import Table

        assert session.lock(session.turn(session.place(Table("t"))), "run-one") is None
        with pytest.raises(InProgress, match=r"run run-one since 20\d\d-"):
            plan(sink).run()
    assert len(sink.rows()) == 3


@pytest.mark.parametrize("if_running", ["fail", "skip", "wait"])
def test_a_key_in_flight(sink: Sink, if_running: Any) -> None:
    plan(sink).run()
    started, release = threading.Event(), threading.Event()

    def hold(frame):  # a user's function
        started.set()
        release.wait(30)
        return frame

    slow = datapipe.read(ROWS).apply(hold).write("t", to=sink.url)
    results: list[Any] = []
    runner = threading.Thread(target=lambda: results.append(slow.run(idempotency_key="k")))
    runner.start()
    assert started.wait(30)
    try:
        if if_running == "fail":
            with pytest.raises(InProgress, match="run "):
                slow.run(idempotency_key="k", if_running="fail")
        elif if_running == "skip":
            assert slow.run(idempotency_key="k", if_running="skip").state == "skipped"
        else:
            threading.Timer(0.5, release.set).start()
            assert slow.run(idempotency_key="k").replayed
    finally:
        release.set()
        runner.join()
    assert len(results) == 1
    assert len(sink.rows()) == 6


def test_a_replace_that_waited_for_its_key_is_no_older_than_what_it_reads(sink: Sink) -> None:
    plan(sink).run()
    started, release, calls = threading.Event(), threading.Event(), []

    def first_fails(frame):  # a user's function
        calls.append(1)
        if len(calls) == 1:
            started.set()
            release.wait(30)
            raise ValueError("the first one fails")
        return frame

    keyed = datapipe.read(ROWS).apply(first_fails).write("t", to=sink.url, strategy="replace")
    with ThreadPoolExecutor(2) as pool:
        failing = pool.submit(lambda: keyed.run(idempotency_key="k"))
        assert started.wait(30)
        waiting = pool.submit(lambda: keyed.run(idempotency_key="k"))
        time.sleep(0.5)
        plan(sink, pa.table({"id": [7]}), strategy="replace").run()
        release.set()
        assert isinstance(failing.exception(), datapipe.DatapipeError)
        assert waiting.result().rows_written == 3
    assert len(sink.rows()) == 3


@pytest.mark.parametrize("happened", [True, False])
def test_a_lost_commit_is_resolved_from_the_ledger(sink: Sink, monkeypatch: pytest.MonkeyPatch, happened: bool) -> None:
    plan(sink).run()
    with open_session(target(sink), Workspace()) as session:
        kind = type(session)
    commit, lost = kind.commit, []

    def losing(self: Any) -> None:
        if lost:
            commit(self)
            return
        lost.append(1)
        if happened:
            commit(self)
        raise CommitLost

    monkeypatch.setattr(kind, "commit", losing)
    monkeypatch.setenv("MAX_RETRIES", "1")
    monkeypatch.setenv("RETRY_BACKOFF_BASE", "0.1")
    result = plan(sink, pa.table({"id": [4]})).run()
    assert result.attempts == (1 if happened else 2)
    assert len(sink.rows()) == 4
    assert len(ledger(sink, "run_id")) == 2


def test_without_a_ledger_the_result_says_so_and_a_key_is_refused(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_LEDGER", "off")
    result = plan(sink).run()
    assert result.notices == ("DATAPIPE_LEDGER=off: the load is atomic, not deduplicated",)
    assert sink.tables() == ["t"]
    with pytest.raises(PlanError, match="DATAPIPE_LEDGER"):
        plan(sink).run(idempotency_key="k")
