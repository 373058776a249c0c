"""One run of a notebook, with executions that are made up: attempts, and what they leave."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest
from jobside import latest, succeeding

import datapipe
from datapipe.errors import DatapipeError, NotebookError, RunCancelled
from datapipe.notebooks.order import Outcome

PASSES = {"type": "TransientError", "message": "away", "cell": 1}


def test_it_is_tried_again_while_it_may_pass(job: Any, executing: Any) -> None:
    died = Outcome("failed", "kernel_died", {"type": "KernelDied", "message": "it died"})
    orders = executing(Outcome("failed", None, PASSES), died, succeeding())
    result = job.run()
    assert (result.attempts, len(orders)) == (3, 3) and result.artifacts.endswith("/3")
    assert [order.about["attempt"] for order in orders] == [1, 2, 3]
    assert (
        len({order.scratch for order in orders}) == 3 and len({order.place.rpartition("/")[0] for order in orders}) == 1
    )
    said = [line.message for line in latest().logs()]
    assert said[0].startswith("cell 1 (parameters): TransientError: away; trying again in ") and said[1].startswith(
        "it died; trying"
    )
    assert latest().row.attempts == 3


def test_it_is_not_tried_for_ever(job: Any, executing: Any) -> None:
    orders = executing(Outcome("failed", None, PASSES))
    with pytest.raises(NotebookError, match=r"cell 1 \(parameters\): TransientError: away") as raised:
        job.run()
    assert len(orders) == 4 and raised.value.result.attempts == 4


def test_the_budget_of_retries_is_of_statements_and_not_of_notebooks(
    job: Any, executing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAPIPE_RETRY_BUDGET", "0")
    orders = executing(Outcome("failed", None, PASSES))
    with pytest.raises(NotebookError):
        job.run()
    assert len(orders) == 4


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome("failed", None, {"type": "ValueError", "message": "no", "cell": 2}),
        Outcome("failed", "timed_out", {"type": "TimedOut", "message": "slow", "cell": 2}),
        Outcome("failed", "out_of_memory", {"type": "KernelDied", "message": "big", "cell": 2}),
    ],
)
def test_what_does_not_pass_fails_at_once(outcome: Outcome, job: Any, executing: Any) -> None:
    orders = executing(outcome)
    with pytest.raises(NotebookError) as raised:
        job.run()
    row = latest().row
    assert len(orders) == 1 and (row.state, row.reason) == ("failed", outcome.reason)
    assert row.error is not None and (row.error["step"], row.error["message"]) == (
        "cell 2",
        outcome.error and outcome.error["message"],
    )
    assert raised.value.result.error == (row.result or {})["error"] and raised.value.result.error in str(raised.value)
    with pytest.raises(NotebookError) as again:
        latest().result()
    assert str(again.value) == str(raised.value) and again.value.result == dataclasses.replace(
        raised.value.result, view=None
    )


def test_an_attempt_leaves_nothing_to_the_next(job: Any, executing: Any) -> None:
    def gives(hear: Any, **_: Any) -> Outcome:
        hear({"event": "cell_began", "cell": 1, "time": 0.0})
        hear({"event": "output", "output": {"name": "early", "value": 1, "shown": "1"}, "time": 0.0})
        return Outcome("failed", None, PASSES)

    executing(gives, succeeding())
    result = job.run()
    assert result.outputs == {} and {cell.state for cell in result.cells} == {"done"}


def test_a_cell_that_its_process_died_in_has_failed(job: Any, executing: Any) -> None:
    def dies(hear: Any, **_: Any) -> Outcome:
        hear({"event": "cell_began", "cell": 2, "time": 0.0})
        return Outcome("failed", "kernel_died", {"type": "KernelDied", "message": "died", "cell": 2})

    executing(dies)
    with pytest.raises(NotebookError) as raised:
        datapipe.notebook(job.plan.notebook.path, retries=0).run()
    assert [cell.state for cell in raised.value.result.cells] == ["waiting", "failed", "waiting"]


def test_it_is_cancelled_between_two_attempts(job: Any, executing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRY_BACKOFF_BASE", "30")
    orders = executing(Outcome("failed", None, PASSES))
    run = job.run(background=True)
    time.sleep(0.3)
    began = time.monotonic()
    run.cancel()
    with pytest.raises(RunCancelled, match="stays loaded"):
        run.result(20)
    assert len(orders) == 1 and time.monotonic() - began < 10


def test_the_whole_time_counts_every_attempt(job: Any, executing: Any) -> None:
    seen = []

    def way(limits: Any, **_: Any) -> Outcome:
        seen.append(limits)
        return Outcome("failed", None, PASSES)

    executing(way)
    job = datapipe.notebook(job.plan.notebook.path, timeout=100, cell_timeout=5, retries=1)
    with pytest.raises(NotebookError):
        job.run()
    assert len({limits.until for limits in seen}) == 1 and {(limits.cell, limits.whole) for limits in seen} == {
        (5.0, 100.0)
    }
    assert 0 < seen[0].until - time.monotonic() <= 100


def test_no_attempt_begins_when_the_time_is_up(job: Any, executing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRY_BACKOFF_BASE", "60")
    orders = executing(Outcome("failed", None, PASSES))
    began = time.monotonic()
    with pytest.raises(DatapipeError):
        datapipe.notebook(job.plan.notebook.path, timeout=0.5, retries=2).run()
    assert time.monotonic() - began < 10 and len(orders) <= 2


def test_a_folder_with_the_files_of_another_process_is_not_used(
    job: Any, executing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that died had begun some attempts of this run."""
    names = iter([["notebook.ipynb"], ["notebook.ipynb"], []])
    monkeypatch.setattr("datapipe.notebooks.artifacts.Artifacts.names", lambda _: next(names))
    executing(succeeding())
    result = job.run()
    assert result.artifacts.endswith("/3") and result.attempts == 1


def test_a_result_that_cannot_be_read_costs_no_run(job: Any, executing: Any) -> None:
    executing(succeeding({"name": "x", "value": {"type": "bar", "value": 3}, "shown": ""}))
    assert job.run().outputs == {"x": {"type": "bar", "value": 3}}
    assert latest().row.state == "succeeded"
