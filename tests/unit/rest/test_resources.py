"""Runs as JSON: what the models promise, and nothing that was not meant for others."""

from __future__ import annotations

import json

import pytest
from restside import Site

from datapipe.rest.callers import Caller
from datapipe.rest.models import RunDetail, RunSummary
from datapipe.rest.problems import Refused
from datapipe.rest.resources import detail, found_run, links, summary
from datapipe.store import RunStore, StepRow
from datapipe.store.search import search

ERROR = {"type": "DataError", "message": "wrong", "step": "s", "hint": "h", "traceback": "File /home/ann/x.py"}


@pytest.fixture(scope="module")
def store(site: Site) -> RunStore:
    site.store.add("r1", state="running", owner="ann", error=ERROR, document='{"a": 1}', message={"plan": {}})
    site.store.beat("r1", [StepRow(0, "users", rows_out=5, total=10)])
    return site.store


def test_a_run_is_what_the_models_say(store: RunStore) -> None:
    RunDetail.model_validate(detail(store.run("r1")), strict=True)
    (row,) = search(store).rows
    RunSummary.model_validate(summary(row), strict=True)
    assert set(summary(row)) == set(RunSummary.model_fields)
    assert set(detail(store.run("r1"))) == set(RunDetail.model_fields)


def test_tracebacks_documents_and_leases_stay_here(store: RunStore) -> None:
    told = json.dumps([detail(store.run("r1")), summary(search(store).rows[0])])
    assert "/home/ann" not in told and "lease" not in told and "document" not in told and "fingerprint" not in told


def test_links_lead_to_the_run_whatever_its_id() -> None:
    assert links("a/b?c")["cancel"] == "/runs/a%2Fb%3Fc/cancel"


def test_there_is_no_telling_of_others_runs_from_none(store: RunStore) -> None:
    said = set()
    for run_id in ("r1", "r2"):
        with pytest.raises(Refused) as caught:
            found_run(store, run_id, Caller("bob", "run"))
        said.add((caught.value.status, caught.value.detail, caught.value.hint))
    assert len(said) == 1


def test_a_password_in_a_record_is_hidden(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_CONNECTION_OLD", "postgresql://u:hunter2hunter3@db/x")
    text = "no server at postgresql://u:hunter2hunter3@db/x"
    error = {"type": "X", "message": text, "step": None, "hint": None}
    site.store.add("r3", state="failed", owner="ann", error=error, reason=text)
    assert "hunter2hunter3" not in json.dumps(detail(site.store.run("r3")))
    assert "hunter2hunter3" not in site.client().get("/runs").text
