"""How a notebook's run is told while it lasts and when it has ended: views, sentences, errors."""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import Any

import pytest

from datapipe.display import RunView, StepView
from datapipe.engine import NotebookResult
from datapipe.errors import (
    DataError,
    DatapipeError,
    FatalError,
    InProgress,
    Interrupted,
    NotebookError,
    PlanError,
    RunCancelled,
    TransientError,
)
from datapipe.notebooks.cells import Notebook, notebook_of
from datapipe.notebooks.failures import failure, may_pass, problem, sentence
from datapipe.notebooks.following import begun_again, ended, first_view, followed, noted
from datapipe.notebooks.order import Outcome


def failed(kind: str = "ValueError", **values: Any) -> Outcome:
    return Outcome("failed", values.pop("reason", None), {"type": kind, "message": "no rows", "cell": 5, **values})


# --- what may pass --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [TransientError, ConnectionError, ConnectionResetError, BrokenPipeError, TimeoutError],
)
def test_errors_that_may_pass(kind: type[BaseException]) -> None:
    assert may_pass(failed(kind.__name__))


@pytest.mark.parametrize(
    "kind", [ValueError, KeyboardInterrupt, OSError, InProgress, FatalError, NotebookError, SystemExit]
)
def test_errors_that_do_not(kind: type[BaseException]) -> None:
    assert not may_pass(failed(kind.__name__))


def test_a_dead_kernel_may_live_again_and_what_was_stopped_may_not() -> None:
    assert may_pass(Outcome("failed", "kernel_died", {"type": "KernelDied"}))
    for outcome in (
        Outcome("failed", "timed_out", {"type": "TimedOut"}),
        Outcome("failed", "out_of_memory", {"type": "KernelDied"}),
        Outcome("cancelled", "kernel_died"),
        Outcome("succeeded"),
        Outcome("lost"),
    ):
        assert not may_pass(outcome)


def test_names_of_errors_are_those_python_prints() -> None:
    assert asyncio.TimeoutError.__name__ == concurrent.futures.TimeoutError.__name__ == "TimeoutError"


# --- sentences and errors -------------------------------------------------------------------------------------------


def test_a_sentence_names_the_cell_its_title_and_the_error() -> None:
    assert sentence(failed(), "Load") == "cell 5 (Load): ValueError: no rows"
    assert sentence(failed()) == "cell 5: ValueError: no rows"
    assert sentence(failed("KernelDied", cell=None)) == "no rows", "ours say it all"
    assert sentence(failed("TimedOut")) == "cell 5: no rows"
    assert sentence(Outcome("cancelled")) == "cancelled"


def test_the_error_of_a_run_that_did_not_fail_is_none() -> None:
    assert (
        problem(Outcome("succeeded")) is None and problem(Outcome("cancelled", None, {"type": "x", "cell": 1})) is None
    )
    assert problem(failed("TimedOut")) == {"type": "", "message": "no rows", "cell": 5, "step": "cell 5"}
    assert (problem(failed(cell=None)) or {})["step"] is None


def test_what_is_raised() -> None:
    assert failure(Outcome("succeeded"), "") is None
    assert type(failure(Outcome("cancelled"), "")) is RunCancelled
    assert type(failure(Outcome("cancelled", "interrupted"), "")) is Interrupted
    assert "stays loaded" in str(failure(Outcome("cancelled"), "")) and "stays loaded" in str(
        failure(Outcome("cancelled", "interrupted"), "")
    )
    for reason in ("timed_out", "kernel_died", "out_of_memory", None):
        assert type(failure(failed(reason=reason), "said")) is NotebookError


@pytest.mark.parametrize("kind", [PlanError, DataError, TransientError, FatalError])
def test_an_error_of_ours_that_a_cell_raises_keeps_its_hint_and_one_of_the_run_its_class(
    kind: type[DatapipeError],
) -> None:
    inner = kind("table t does not exist", hint="Check the name", column="a", row=3)
    found = failure(failed(**inner.to_dict() | {"type": kind.__name__}), "cell 5: said")
    assert type(found) is NotebookError and str(found) == "cell 5: said. Check the name"
    assert (found.column, found.row) == ("a", 3)
    whole = failure(failed(**inner.to_dict() | {"type": kind.__name__, "cell": None}), "said")
    assert type(whole) is kind and str(whole) == str(inner)


def test_a_cell_that_says_it_was_cancelled_has_failed() -> None:
    """The run of a plan within it was cancelled by somebody, or its author raises what he likes."""
    found = failure(failed("RunCancelled"), "cell 5: RunCancelled: the run was cancelled")
    assert isinstance(found, NotebookError)


def test_an_error_brings_the_users_line_and_the_traceback() -> None:
    excerpt = {"file": "In[2]", "line": 3, "function": "f", "lines": [[3, "return 1 / 0"]]}
    found = failure(failed(excerpt=excerpt, traceback="Traceback …"), "said")
    assert isinstance(found, NotebookError) and found.excerpt is not None
    assert found.excerpt.place == "In[2]:3 in f" and found.__notes__ == ["\nIn the notebook:\nTraceback …"]


# --- views ----------------------------------------------------------------------------------------------------------


def notebook(*sources: str) -> Notebook:
    cells = [
        {"cell_type": "markdown" if source.startswith("#") else "code", "source": source, "metadata": {}}
        for source in sources
    ]
    return notebook_of({"nbformat": 4, "cells": cells}, "daily.ipynb")


@pytest.fixture
def view() -> RunView:
    return first_view("daily", "daily.ipynb", "r", notebook("# Load", "x = 1", "y = 2", "", "# Check", "z = 3"))


def event(kind: str, cell: int | None = None, **found: Any) -> dict[str, Any]:
    return {"event": kind, "time": 0.0, **({} if cell is None else {"cell": cell}), **found}


def test_its_steps_are_the_cells_that_are_executed(view: RunView) -> None:
    assert [(step.name, step.what) for step in view.steps] == [
        ("cell 1", "Load"),
        ("cell 2", "y = 2"),
        ("cell 3", "Check"),
    ]
    assert (view.kind, view.state, view.name, view.source) == ("notebook", "running", "daily", "daily.ipynb")


def test_a_cell_from_its_beginning_to_its_end(view: RunView) -> None:
    began = followed(view, event("cell_began", 2), 1.0)
    assert began.steps[1] == StepView("cell 2", "cell 2", "y = 2", state="running", begun=1.0) and began.elapsed == 1.0
    done = followed(
        followed(began, event("cell_replied", 2, count=4), 2.0), event("cell_ended", 2, state="done", seconds=1.5), 2.5
    )
    assert done.steps[1] == StepView("cell 2", "cell 2", "y = 2", "In[4]", "done", begun=1.0, seconds=1.5, busy=1.5)
    assert done.steps[0] == view.steps[0]


def test_outputs_and_notes_are_shown(view: RunView) -> None:
    for value in ("1", "2"):
        view = followed(view, event("output", output={"name": "rows", "shown": value}), 1.0)
    assert view.outputs == (("rows", "2"),)
    view = followed(view, event("note", text="a thread"), 1.0)
    assert view.notes[-1].text == "a thread"
    for number in range(600):
        view = noted(view, str(number), 0.0)
    assert len(view.notes) == 500 and view.notes[-1].text == "599"


def test_whoever_cancels_sees_that_it_is_heard(view: RunView) -> None:
    assert followed(view, event("stopping", reason=None), 1.0).state == "cancelling"
    assert followed(view, event("stopping", reason="timed_out"), 1.0).state == "running"
    assert (
        followed(view, event("nothing"), 3.0).elapsed == 3.0 and followed(view, event("news"), 1.0).steps == view.steps
    )


def test_another_attempt_begins_with_nothing(view: RunView) -> None:
    view = followed(
        followed(view, event("cell_began", 1), 1.0), event("output", output={"name": "x", "shown": "1"}), 1.0
    )
    again = begun_again(view, 2)
    assert {step.state for step in again.steps} == {"waiting"} and again.attempts == 2
    assert again.outputs == (), "what the failed attempt gave"


def test_the_end_is_shown(view: RunView) -> None:
    view = followed(view, event("cell_began", 1), 1.0)
    result = NotebookResult(
        "r", "r", "failed", "n", "d", outputs={"x": 5}, artifacts="/kept", notices=("one",), seconds=9.0
    )
    found = ended(noted(view, "one", 0.0), result, failed("KernelDied", cell=1, reason="kernel_died"))
    assert (found.state, found.reason, found.elapsed, found.artifacts) == ("failed", "kernel_died", 9.0, "/kept")
    assert found.steps[0].state == "failed" and found.outputs == (("x", "5"),)
    assert found.error is not None and (found.error.kind, found.error.message) == ("", "no rows")
    assert [note.text for note in found.notes] == ["one"], "told once"


def test_the_end_of_one_that_an_earlier_run_had_done(view: RunView) -> None:
    result = NotebookResult("before", "r", "succeeded", "n", "d", replayed=True, seconds=100.0)
    found = ended(view, result, Outcome("succeeded"))
    assert found.replay_of == "before" and found.elapsed == view.elapsed


def test_the_end_of_one_that_nobody_awaited(view: RunView) -> None:
    found = ended(view, None, Outcome("cancelled", "its end was not awaited"))
    assert (found.state, found.reason, found.error) == ("cancelled", "its end was not awaited", None)
