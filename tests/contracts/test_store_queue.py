"""What the run store knows of runs on workers, the same on SQLite and PostgreSQL: leases, losses, waiting, migration."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from datapipe.store import Note, RunStore, StepRow, open_store
from datapipe.store import store as module
from datapipe.store.opening import engine_of


@pytest.fixture
def queued(store: RunStore) -> Callable[[str], None]:
    def add(run_id: str) -> None:
        store.add(run_id, state="queued", queue="q", message={"run": run_id}, pipeline_id="p")

    return add


def test_a_run_is_taken_once(store: RunStore, queued: Callable[[str], None]) -> None:
    queued("r")
    taken: list[Any] = []

    def take(lease: str) -> None:
        taken.append(store.claim("r", lease, worker=lease, process=1))

    threads = [threading.Thread(target=take, args=(f"lease {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (claim,) = [found for found in taken if found is not None]
    assert (claim.pipeline_id, claim.message) == ("p", {"run": "r"})
    row = store.run("r")
    assert (row.state, row.lease) == ("running", row.worker)
    assert row.started is not None
    assert store.claim("nobody", "lease") is None


def test_only_the_lease_s_owner_writes(store: RunStore, queued: Callable[[str], None]) -> None:
    queued("r")
    store.claim("r", "mine")
    assert store.beat("r", [StepRow(0, "ingestion", rows_out=1)], "another's"), "it is told to stop"
    assert store.run("r").steps == ()
    assert not store.end("r", "another's", (), state="failed")
    assert not store.give_back("r", "another's")
    assert not store.beat("r", [StepRow(0, "ingestion", rows_out=1)], "mine", [Note("notice", "so far")])
    assert store.end("r", "mine", [StepRow(0, "ingestion", rows_out=2)], [Note("notice", "done")], state="succeeded")
    assert [step.rows_out for step in store.run("r").steps] == [2]
    assert [row.message for row in store.logs("r")] == ["so far", "done"]


def test_a_run_given_back_is_as_if_it_had_never_begun(store: RunStore, queued: Callable[[str], None]) -> None:
    queued("r")
    store.claim("r", "mine", worker="w", process=7)
    assert store.give_back("r", "mine")
    row = store.run("r")
    assert (row.state, row.lease, row.worker, row.process, row.started, row.losses) == ("queued", *[None] * 4, 0)
    assert store.beat("r", (), "mine"), "who had it is told to stop"
    assert store.claim("r", "next") is not None


def test_a_run_that_costs_too_many_workers_is_given_up(store: RunStore, queued: Callable[[str], None]) -> None:
    queued("r")
    for number in range(2):
        store.claim("r", f"lease {number}")
        after = store.lose("r", f"lease {number}", 3)
        assert after is not None
        assert (after.state, after.losses) == ("queued", number + 1)
    assert store.lose("r", "lease 1", 3) is None, "each loss counts once"
    after = store.lose("r", None, 3)  # before the worker took it
    assert after is not None
    assert (after.state, after.reason, after.losses) == ("failed", "worker_lost_3x", 3)
    assert after.error is not None
    assert "3 workers died with it" in after.error["message"]


def test_what_waits_and_what_is_silent(
    store: RunStore, queued: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_QUIET", 0.05)
    for run_id in ("a", "b", "c"):
        queued(run_id)
    store.add("inline", state="running")
    store.claim("c", "mine", worker="w", process=7)
    time.sleep(0.3)
    assert [row.id for row in store.waiting(0.2)] == ["a", "b"]
    assert store.waiting(60) == []
    assert [row.id for row in store.silent(0.2)] == ["c"], "an inline run has no worker to lose"
    store.vouch("w", {"c": 8})
    assert [row.id for row in store.silent(0.2)] == ["c"]
    store.vouch("w", {"another": 7})
    assert [row.id for row in store.silent(0.2)] == ["c"]
    store.vouch("w", {"c": 7})
    assert store.silent(0.2) == []
    at = store.queued_at(["a", "nobody"])["a"]
    assert store.queued_again("a", at)
    assert not store.queued_again("a", at), "once for all workers"
    assert [row.id for row in store.waiting(0.2)] == ["b"]
    assert (store.run("b").waiting or 0) >= 0.2


def test_the_latest_run_of_a_pipeline(store: RunStore, queued: Callable[[str], None]) -> None:
    queued("a")
    time.sleep(0.005)
    queued("b")
    found = store.of_pipeline("p")
    assert found is not None
    assert found.id == "b"
    assert store.of_pipeline("other") is None


def test_a_run_that_could_not_be_queued_is_forgotten(store: RunStore, queued: Callable[[str], None]) -> None:
    queued("a")
    queued("b")
    store.claim("b", "mine")
    for run_id in ("a", "b"):
        store.remove(run_id)
    assert [row.id for row in store.runs()] == ["b"], "what has begun stays"


def test_an_older_store_gets_the_new_columns(store_url: str) -> None:
    store = open_store()
    assert store is not None
    store.add("old", state="succeeded")
    with engine_of(store_url).begin() as conn:
        for column in ("lease", "queue", "queued", "message", "worker", "losses"):
            conn.execute(sa.text(f"ALTER TABLE datapipe_runs DROP COLUMN {column}"))
        conn.execute(sa.text("UPDATE datapipe_meta SET value = '1' WHERE name = 'version'"))
    again = RunStore(engine_of(store_url))
    assert again.id == store.id
    assert (again.run("old").losses, again.run("old").queue) == (0, None)


def test_a_run_that_was_told_to_stop_is_not_queued_again(store: RunStore, queued: Callable[[str], None]) -> None:
    for run_id, end in (("a", store.give_back), ("b", lambda run_id, lease: store.lose(run_id, lease, 3))):
        queued(run_id)
        store.claim(run_id, "mine")
        assert store.cancel(run_id)
        assert end(run_id, "mine")
        row = store.run(run_id)
        assert row.state == "cancelled"
        assert row.ended is not None
    assert not store.cancel("a"), "it had ended"


def test_a_sign_of_life_in_the_meantime_saves_a_run(store: RunStore, queued: Callable[[str], None]) -> None:
    queued("r")
    store.claim("r", "mine")
    assert store.lose("r", "mine", 3, silent=60) is None
    assert store.run("r").losses == 0


def test_a_message_that_is_no_text_for_databases_is_recorded_all_the_same(
    store: RunStore, queued: Callable[[str], None]
) -> None:
    queued("r")
    store.claim("r", "mine")
    assert store.end("r", "mine", (), [Note("notice", "caf\ud800 \0 end")], state="succeeded")
    assert [row.message for row in store.logs("r")] == ["caf?  end"]
