"""Keys of notebook runs, the same on SQLite and PostgreSQL: one run has a key, and only who has failed gives it up."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from datapipe.data.cancel import CancelToken
from datapipe.engine import NotebookResult
from datapipe.errors import IdempotencyConflict, InProgress, PlanError, RunCancelled
from datapipe.notebooks import keys
from datapipe.notebooks.keys import claimed
from datapipe.store import RunStore, take_key

KEY = "sales of 2013-05-01 ü" * 20  # as long as users like


def options(run_id: str, if_running: str = "wait", key: str | None = KEY) -> Any:
    return SimpleNamespace(
        run_id=run_id, correlation_id=None, idempotency_key=key, if_running=if_running, cancel=CancelToken()
    )


def added(store: RunStore, *run_ids: str, **values: Any) -> None:
    for run_id in run_ids:
        store.add(run_id, **{"state": "running", "kind": "notebook", "fingerprint": "f", **values})


def result_of(run_id: str) -> NotebookResult:
    return NotebookResult(run_id, run_id, "succeeded", "a.ipynb", "a", outputs={"x": 1})


def test_the_first_has_the_key_and_keeps_it(store: RunStore) -> None:
    added(store, "a", "b")
    assert take_key(store, KEY, "a") is None
    assert take_key(store, KEY, "a") is None, "it has it already"
    holder = take_key(store, KEY, "b")
    assert holder is not None and (holder.id, holder.state) == ("a", "running")
    assert take_key(store, KEY + "!", "b") is None, "another key"


@pytest.mark.parametrize("state", ["failed", "cancelled", "lost", "skipped"])
def test_who_has_not_done_it_leaves_the_key(state: str, store: RunStore) -> None:
    added(store, "a", "b", "c")
    take_key(store, KEY, "a")
    store.change("a", state=state)
    assert take_key(store, KEY, "b") is None
    holder = take_key(store, KEY, "c")
    assert holder is not None and holder.id == "b"
    again = take_key(store, KEY, "a")
    assert again is not None and again.id == "b", "who has lost it is a stranger"


@pytest.mark.parametrize("state", ["queued", "running", "succeeded"])
def test_who_may_do_it_or_has_done_it_keeps_it(state: str, store: RunStore) -> None:
    added(store, "a", "b")
    take_key(store, KEY, "a")
    store.change("a", state=state)
    holder = take_key(store, KEY, "b")
    assert holder is not None and (holder.id, holder.state) == ("a", state)


def test_a_run_whose_record_is_gone_has_no_key(store: RunStore) -> None:
    added(store, "a", state="queued")
    added(store, "b")
    take_key(store, KEY, "a")
    store.remove("a")
    assert take_key(store, KEY, "b") is None


@pytest.mark.parametrize("freed", [False, True])
def test_of_many_at_once_one_gets_it(freed: bool, store: RunStore) -> None:
    names = [f"r{number}" for number in range(12)]
    added(store, "before", *names)
    if freed:
        take_key(store, KEY, "before")
        store.change("before", state="failed")
    barrier, holders = threading.Barrier(len(names)), {}

    def take(name: str) -> None:
        barrier.wait()
        holders[name] = take_key(store, KEY, name)

    threads = [threading.Thread(target=take, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [name for name, holder in holders.items() if holder is None]
    assert {holder.id for holder in holders.values() if holder is not None} == {winner}


# --- what a run makes of it ----------------------------------------------------------------------------------------


def test_without_a_key_nothing_is_asked() -> None:
    with claimed(None, "f", options("a", key=None)) as earlier:
        assert earlier is None


def test_a_key_needs_the_record() -> None:
    with (
        pytest.raises(PlanError, match="kept in the record of runs, which there is none of"),
        claimed(None, "f", options("a")),
    ):
        pass


def test_what_was_done_is_given_back(store: RunStore) -> None:
    added(store, "a", "b")
    with claimed(store, "f", options("a")) as earlier:
        assert earlier is None
        store.change("a", state="succeeded", result=result_of("a").to_dict())
    with claimed(store, "f", options("b")) as earlier:
        assert earlier is not None and (earlier.run_id, earlier.replayed, earlier.outputs) == ("a", True, {"x": 1})


def test_what_was_done_by_another_notebook_is_a_conflict(store: RunStore) -> None:
    added(store, "a", "b")
    take_key(store, KEY, "a")
    store.change("a", state="succeeded", result=result_of("a").to_dict())
    said = "run a has done something else under this idempotency key. The notebook or its parameters are others"
    with pytest.raises(IdempotencyConflict, match=said), claimed(store, "other", options("b")):
        pass


def test_while_another_run_has_it(store: RunStore) -> None:
    added(store, "a", "b")
    take_key(store, KEY, "a")
    with (
        pytest.raises(InProgress, match="run a has the idempotency key and is running"),
        claimed(store, "f", options("b", "fail")),
    ):
        pass
    with claimed(store, "f", options("b", "skip")) as earlier:
        assert earlier is not None and (earlier.state, earlier.run_id, earlier.replayed) == ("skipped", "b", False)
        assert earlier.notices == ("run a has the idempotency key; this run left it to that one",)


@pytest.mark.parametrize("if_running", ["fail", "skip", "wait"])
def test_a_run_that_is_dead_is_found_out(if_running: str, store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    added(store, "a", "b")
    take_key(store, KEY, "a")
    monkeypatch.setattr("datapipe.store.store.SILENT", 0.05)
    monkeypatch.setattr(keys, "_LOOK", 0.01)
    time.sleep(0.1)
    with claimed(store, "f", options("b", if_running)) as earlier:
        assert earlier is None
    assert store.run("a").state == "lost" and take_key(store, KEY, "b") is None


def test_waiting_ends_with_the_other_run(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_LOOK", 0.02)
    added(store, "a", "b")
    take_key(store, KEY, "a")
    threading.Timer(0.2, lambda: store.change("a", state="failed")).start()
    with claimed(store, "f", options("b")) as earlier:
        assert earlier is None
    assert store.run("a").state == "failed"


def test_waiting_has_an_end(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_LOCK_TIMEOUT", "0.1")
    monkeypatch.setattr(keys, "_LOOK", 0.05)
    added(store, "a", "b")
    take_key(store, KEY, "a")
    with (
        pytest.raises(InProgress, match="Wait for it, or use if_running='wait' or 'skip'"),
        claimed(store, "f", options("b")),
    ):
        pass


def test_waiting_is_cancelled(store: RunStore) -> None:
    added(store, "a", "b")
    take_key(store, KEY, "a")
    found = options("b")
    threading.Timer(0.1, found.cancel.cancel).start()
    began = time.monotonic()
    with pytest.raises(RunCancelled), claimed(store, "f", found):
        pass
    assert time.monotonic() - began < 5
