"""A run's place in a notebook, without a notebook."""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

pytest.importorskip("IPython")

import datapipe
from datapipe.display import RunView
from datapipe.errors import PlanError, TransientError
from datapipe.jupyter import output
from datapipe.jupyter.panel import panel
from datapipe.pipeline import Pipeline
from datapipe.store import RunRow

VIEW = RunView("r1", "running", "a", "b")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What a front end gets."""
    found: list[dict[str, str]] = []

    def take(bundle: dict[str, str], **_: Any) -> None:
        found.append(bundle)

    monkeypatch.setattr(output.ipython, "display", take)
    monkeypatch.setattr(output.ipython, "update_display", take)
    return found


@pytest.fixture
def plan(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    shell = SimpleNamespace(kernel=object(), user_ns={}, execution_count=1)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setenv("DATAPIPE_DISPLAY", "html")
    return datapipe.read(pa.table({"id": [1]})).write(tmp_path / "a.parquet")


def test_what_no_message_can_hold_is_not_sent(sent: list[dict[str, str]]) -> None:
    with panel(VIEW, None, live=False) as show:
        show(RunView("r1", "succeeded", "a\ud800", "b\udc80"))
    assert "a� → b�" in sent[-1]["text/html"]
    assert all(text.encode() for bundle in sent for text in bundle.values())


@pytest.mark.parametrize("name", ["put", "replace"])
def test_a_front_end_that_is_gone_costs_no_run(
    plan: Pipeline, sent: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("gone")

    monkeypatch.setattr(output, name, fail)
    assert plan.run().rows_written == 1


def test_an_interrupt_at_the_very_end_leaves_no_card_that_goes_on(
    sent: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: threading.Thread, timeout: float | None = None) -> None:
        raise KeyboardInterrupt

    found = panel(VIEW, None, live=False)
    show = found.__enter__()
    show(RunView("r1", "succeeded"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(threading.Thread, "join", interrupted)
        found.__exit__(None, None, None)
    assert "SUCCEEDED" in sent[-1]["text/plain"]


def test_nothing_runs_in_the_background_that_nobody_could_find(
    plan: Pipeline, sent: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAPIPE_METADATA_URL", "off")
    with pytest.raises(PlanError, match="is off"):
        plan.run(background=True)
    assert not sent, "nor without anybody before it, where it would be waited for"


def test_a_run_that_cannot_be_recorded_has_a_card_that_says_so(
    plan: Pipeline, sent: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    def fail(*_: Any) -> None:
        raise TransientError("the store is away")

    monkeypatch.setenv("JPY_SESSION_NAME", "a.ipynb")
    monkeypatch.setenv("DATAPIPE_METADATA_URL", f"sqlite:///{tmp_path}/runs.db")
    monkeypatch.setattr("datapipe.engine.begin_recorded", fail)
    with pytest.raises(TransientError):
        plan.run(background=True)
    assert "FAILED" in sent[-1]["text/plain"]


def test_a_card_outlives_a_store_that_is_away_for_a_moment(
    plan: Pipeline, sent: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "a.ipynb")
    monkeypatch.setenv("DATAPIPE_METADATA_URL", f"sqlite:///{tmp_path}/runs.db")
    run = datapipe.attach(plan.run().run_id)
    ended = run.row
    begun = dataclasses.replace(ended, state="running", result=None, ended=None)
    answers = iter((begun, begun, None, begun))

    def look(_: str) -> RunRow:
        found = next(answers, ended)
        if found is None:
            raise TransientError("the store is away")
        return found

    monkeypatch.setattr(run.store, "run", look)
    sent.clear()
    run.watch_behind()
    end = time.monotonic() + 10
    while time.monotonic() < end and "SUCCEEDED" not in (sent[-1]["text/plain"] if sent else ""):
        time.sleep(0.05)
    assert "SUCCEEDED" in sent[-1]["text/plain"]
