"""``Idempotency-Key``: one request begins one run, however often it is sent."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from fastapi import Request
from restside import Site

from datapipe.errors import IdempotencyConflict, InProgress, TransientError
from datapipe.rest.callers import Caller
from datapipe.rest.once import accepted, receipt
from datapipe.rest.problems import Refused
from datapipe.store import requests as kept


def asked(key: str | None, *, owner: str = "ann", path: str = "/pipelines", digest: str = "d") -> Request:
    headers = [] if key is None else [(b"idempotency-key", key.encode("latin-1"))]
    state = {"caller": Caller(owner, "run"), "digest": digest}
    return Request(
        {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b"", "state": state}
    )


class Begins:
    """What begins runs, and counts them."""

    def __init__(self, site: Site, error: Exception | None = None, *, record: bool = True) -> None:
        self.ids: list[str] = []
        self._store, self._error, self._record = site.store, error, record

    def __call__(self, run_id: str) -> Mapping[str, Any]:
        self.ids.append(run_id)
        if self._record:
            self._store.add(run_id, state="queued", message={"plan": {}})
        if self._error:
            raise self._error
        return receipt(run_id, run_id)


def run_of(response: Any) -> str:
    return str(json.loads(bytes(response.body))["run_id"])


def test_without_a_key_each_request_begins_a_run(site: Site) -> None:
    begin = Begins(site)
    first, second = accepted(asked(None), begin), accepted(asked(None), begin)
    assert run_of(first) != run_of(second) and len(begin.ids) == 2
    assert "idempotent-replayed" not in first.headers


def test_a_repetition_gets_the_first_answer(site: Site) -> None:
    begin = Begins(site)
    first, second = accepted(asked("same"), begin), accepted(asked("same"), begin)
    assert first.body == second.body and first.status_code == second.status_code == 202
    assert first.headers["location"] == second.headers["location"] == f"/runs/{run_of(first)}"
    assert (first.headers.get("idempotent-replayed"), second.headers["idempotent-replayed"]) == (None, "true")
    assert len(begin.ids) == 1


@pytest.mark.parametrize("other", [{"digest": "e"}, {"path": "/tasks/ingest"}])
def test_another_request_under_the_key_is_a_conflict(other: dict[str, str], site: Site) -> None:
    key = f"conflict-{other}".replace(" ", "")
    accepted(asked(key), Begins(site))
    begin = Begins(site)
    with pytest.raises(IdempotencyConflict, match="was used for another request"):
        accepted(asked(key, **other), begin)
    assert begin.ids == []


def test_owners_do_not_share_keys(site: Site) -> None:
    begin = Begins(site)
    runs = {run_of(accepted(asked("shared", owner=owner), begin)) for owner in ("ann", "bob")}
    assert len(runs) == 2


def test_while_it_is_answered_a_repetition_is_told_so(site: Site) -> None:
    def begin(run_id: str) -> Mapping[str, Any]:
        with pytest.raises(InProgress):
            accepted(asked("nested"), Begins(site))
        return receipt(run_id, run_id)

    accepted(asked("nested"), begin)


def test_what_came_to_nothing_may_be_asked_again(site: Site) -> None:
    with pytest.raises(TransientError):
        accepted(asked("failed"), Begins(site, TransientError("no broker"), record=False))
    begin = Begins(site)
    assert run_of(accepted(asked("failed", digest="corrected"), begin)) == begin.ids[0]


def died(site: Site, key: str, monkeypatch: pytest.MonkeyPatch, *, record: bool, **values: Any) -> str:
    """Somebody began to answer, and died; the run's id."""
    begin = Begins(site, KeyboardInterrupt(), record=False)  # type: ignore[arg-type]  # as abrupt as a kill
    with pytest.raises(KeyboardInterrupt):
        accepted(asked(key), begin)
    if record:
        site.store.add(begin.ids[0], state="queued", **values)
    monkeypatch.setattr(kept, "_ABANDONED", 0.0)
    time.sleep(0.01)
    return begin.ids[0]


def test_who_died_after_it_was_queued_is_answered_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = died(site, "d1", monkeypatch, record=True, message={"plan": {}}, pipeline_id="daily")
    begin = Begins(site)
    answer = accepted(asked("d1"), begin)
    assert json.loads(bytes(answer.body)) == receipt(run_id, "daily") and begin.ids == []


def test_who_died_before_it_was_recorded_leaves_it_to_the_next(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = died(site, "d2", monkeypatch, record=False)
    begin = Begins(site)
    assert run_of(accepted(asked("d2"), begin)) == run_id and begin.ids == [run_id]


def test_who_died_before_a_stage_was_queued_leaves_it_to_the_next(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = died(site, "d3", monkeypatch, record=True)  # a stage is recorded without its message
    begin = Begins(site, record=False)
    assert run_of(accepted(asked("d3"), begin)) == run_id and begin.ids == [run_id]


def test_a_stage_that_was_begun_is_not_queued_twice(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = died(site, "d4", monkeypatch, record=True)
    site.store.change(run_id, state="running")
    begin = Begins(site)
    assert run_of(accepted(asked("d4"), begin)) == run_id and begin.ids == []


@pytest.mark.parametrize("key", ["", " ", "a b", "ü", "a" * 256, "a\x7f"])
def test_what_is_no_key_is_refused(key: str, site: Site) -> None:
    with pytest.raises(Refused) as caught:
        accepted(asked(key), Begins(site))
    assert caught.value.status == 400


def test_two_keys_are_none(site: Site) -> None:
    request = asked("a")
    request.scope["headers"].append((b"idempotency-key", b"b"))
    with pytest.raises(Refused):
        accepted(request, Begins(site))


def test_the_draft_of_the_ietf_quotes_keys(site: Site) -> None:
    begin = Begins(site)
    assert run_of(accepted(asked('"q1"'), begin)) == run_of(accepted(asked("q1"), begin))
