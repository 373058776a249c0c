"""Runs that stand still for a while, as when a machine sleeps: others wait for them or pass them, and nobody is wrong."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from signal import SIGCONT, SIGSTOP
from urllib.parse import urlsplit

import pytest
from crash.cells import Cell, Load
from crash.databases import KINDS
from crash.runs import ForkServer, Run
from faults import proxied

LOAD = Load("key", "t", existed=False)


def ended(run: Run) -> dict[str, object]:
    assert run.wait()
    assert run.outcome is not None
    return run.outcome


@pytest.mark.parametrize("cell", [(kind, "replace") for kind in KINDS], indirect=True, ids="-".join)
def test_a_run_does_not_replace_what_a_later_one_wrote(cell: Cell, forks: ForkServer) -> None:
    stale = "SELECT id, 'stale' AS name, amount FROM given"
    older = cell.case(Load("older", "t", existed=False), query=stale, at="reading", signal=SIGSTOP)
    with closing(forks.start(older)) as paused:
        paused.reach("reading")
        with closing(forks.start(cell.case(LOAD))) as later:
            winner = ended(later)
        paused.send(SIGCONT)
        loser = ended(paused)
    assert winner["state"] == "succeeded"
    assert loser["error"] == "StaleRun"
    assert str(winner["run_id"]) in str(loser["message"])
    assert cell.wrong(LOAD) == []


@pytest.mark.parametrize("cell", [(kind, "append") for kind in KINDS], indirect=True, ids="-".join)
def test_a_run_waits_for_a_paused_one_of_its_key_only_so_long(cell: Cell, forks: ForkServer) -> None:
    with closing(forks.start(cell.case(LOAD, at="copying", signal=SIGSTOP))) as owner:
        owner.reach("copying")
        impatient = cell.case(LOAD, environment={"DATAPIPE_LOCK_TIMEOUT": "0.5"})
        with closing(forks.start(impatient)) as waiting:
            waited = ended(waiting)
            assert "reading" not in waiting.places
        owner.send(SIGCONT)
        loaded = ended(owner)
    assert waited["error"] == "InProgress"
    assert f"run {loaded['run_id']} since" in str(waited["message"])
    assert (loaded["state"], loaded["replayed"]) == ("succeeded", False)
    with closing(forks.start(cell.case(LOAD))) as again:
        assert ended(again)["replayed"]
    assert cell.wrong(LOAD) == []


@pytest.mark.parametrize("cell", [("postgresql", "append")], indirect=True, ids="-".join)
def test_a_paused_run_whose_transaction_the_server_ended_loses_its_key(cell: Cell, forks: ForkServer) -> None:
    name = urlsplit(cell.database.url).path[1:]
    cell.database.query(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '1500ms'")
    patient = {"MAX_RETRIES": "1", "RETRY_BACKOFF_BASE": "0.1"}
    with closing(forks.start(cell.case(LOAD, at="recorded", signal=SIGSTOP, environment=patient))) as paused:
        paused.reach("recorded")
        with closing(forks.start(cell.case(LOAD))) as heir:
            loaded = ended(heir)
        paused.send(SIGCONT)
        late = ended(paused)
    assert (loaded["state"], loaded["replayed"]) == ("succeeded", False)
    assert (late["state"], late["replayed"], late["run_id"]) == ("succeeded", True, loaded["run_id"])
    assert cell.wrong(LOAD) == []


@pytest.mark.parametrize("cell", [("postgresql", "append")], indirect=True, ids="-".join)
def test_a_paused_run_that_was_cut_off_reports_the_load_of_its_heir(cell: Cell, forks: ForkServer) -> None:
    with proxied(cell.database.url) as (proxy, url):
        case = dataclasses.replace(cell.case(LOAD), target=url)
        with closing(forks.start(dataclasses.replace(case, at="recorded", signal=SIGSTOP))) as paused:
            paused.reach("recorded")
            proxy.cut()
            with closing(forks.start(case)) as heir:
                loaded = ended(heir)
            paused.send(SIGCONT)
            late = ended(paused)
    assert (loaded["state"], loaded["replayed"]) == ("succeeded", False)
    assert (late["state"], late["replayed"], late["run_id"]) == ("succeeded", True, loaded["run_id"])
    assert cell.wrong(LOAD) == []
