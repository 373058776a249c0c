"""A run of this process as a card shows it: its events, one after the other, make the next view of it."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from typing import Any

from datapipe.display import ErrorView, LogLine, RunView, StepState, StepView, error_view, paced
from datapipe.engine.events import Event
from datapipe.engine.result import RunResult, StepResult
from datapipe.errors import DatapipeError, Interrupted

_NOTES = 500  # lines that are kept


class Follower:
    """A listener that keeps the latest view of a run, and shows it.

    Parameters
    ----------
    view : RunView
        The run before it has begun.
    show : callable
        Gets each view; it must be quick.
    """

    def __init__(self, view: RunView, show: Callable[[RunView], None]) -> None:
        self.view = view
        self._show = show
        self._began = 0.0

    def __call__(self, event: Event) -> None:
        """Take an event."""
        self._began = self._began or event.time
        self.view = followed(self.view, event, event.time - self._began)
        self._show(self.view)

    def end(self, result: RunResult | None, error: BaseException | None = None) -> RunView:
        """The view of the run that has ended, shown for the last time."""
        self.view = ended(self.view, result, error)
        self._show(self.view)
        return self.view


def followed(view: RunView, event: Event, elapsed: float) -> RunView:
    """The view after an event, so many seconds after the run began.

    Examples
    --------
    >>> view = RunView("r", "running", steps=(StepView("ingestion", "read"),))
    >>> followed(view, Event("progress", "r", "r", 1, 0.0, step="ingestion", rows_out=10), 0.5).rows_read
    10
    """
    view = dataclasses.replace(view, elapsed=elapsed)
    if event.kind in {"notice", "attempt_failed"} and event.message:
        time = dt.datetime.fromtimestamp(event.time).strftime("%H:%M:%S")  # the user's own clock
        view = dataclasses.replace(view, notes=(*view.notes, LogLine(time, event.message))[-_NOTES:])
    if event.kind == "attempt_failed":  # the next one begins at the source
        steps = tuple(StepView(s.name, s.verb, s.what, s.where) for s in view.steps)
        return dataclasses.replace(view, steps=steps, pace=((elapsed, 0),), attempts=view.attempts + 1)
    if event.step is None:
        return view
    steps = tuple(_moved(step, event, elapsed) if step.name == event.step else step for step in view.steps)
    view = dataclasses.replace(view, steps=steps, rejected=sum(step.rejected for step in steps))
    return dataclasses.replace(view, pace=paced(view.pace, elapsed, view.rows_read))


def _moved(step: StepView, event: Event, elapsed: float) -> StepView:
    begun = elapsed if step.begun is None else step.begun
    found: dict[str, Any] = {"rows_in": event.rows_in, "rows_out": event.rows_out, "rejected": event.rejected}
    found |= {"total": event.total, "begun": begun, "state": "running"}
    if event.kind == "step_finished":
        found |= {"state": "done", "seconds": elapsed - begun}
    return dataclasses.replace(step, **found)


def ended(view: RunView, result: RunResult | None, error: BaseException | None = None) -> RunView:
    """The view of a run that has ended with a result, or an error, or both."""
    if isinstance(error, Interrupted):
        error = error.unknown or error
    if result is None:
        state = "cancelled" if isinstance(error, KeyboardInterrupt) else "failed"
        # An interrupt may come when all is done but the telling.
        unsure = not isinstance(error, DatapipeError)
        return dataclasses.replace(view, state=state, error=_problem(error, state), unsure=unsure)
    steps = tuple(_done(step, found) for step, found in zip(view.steps, result.steps, strict=False))
    found_error = _problem(error, result.state)
    if found_error is not None and found_error.step:
        steps = tuple(dataclasses.replace(s, state="failed") if s.name == found_error.step else s for s in steps)
    known = {line.text for line in view.notes}
    full = len(view.notes) >= _NOTES  # then what is not known was told earlier, and is not kept
    told = tuple(LogLine("", note) for note in result.notices if note not in known and not full)
    is_told = result.replayed or not view.pace or view.pace[-1][1] == result.rows_read
    last = () if is_told else ((result.seconds, result.rows_read),)
    return dataclasses.replace(
        view,
        state=result.state,
        pace=(*view.pace, *last),
        steps=steps if not result.replayed else view.steps,
        elapsed=view.elapsed if result.replayed else result.seconds,  # an earlier run's
        notes=(*view.notes, *told),
        error=found_error,
        rows_written=result.rows_written,
        deduplicated=result.deduplicated,
        deleted=result.deleted,
        rejected=result.rejected,
        replay_of=result.run_id if result.replayed else None,
        attempts=view.attempts if result.replayed else result.attempts,
    )


def view_of_result(result: RunResult) -> RunView:
    """A run of which only the result is known."""
    steps = tuple(StepView(s.name, s.name) for s in result.steps)
    view = RunView(result.run_id, result.state, result.source, result.target, result.name, steps=steps)
    view = dataclasses.replace(view, elapsed=result.seconds)
    view = ended(view, result)
    return view if result.error is None else dataclasses.replace(view, error=ErrorView("", result.error))


def _done(step: StepView, result: StepResult) -> StepView:
    state: StepState = "done" if result.done else step.state
    counts: dict[str, Any] = {"rows_in": result.rows_in, "rows_out": result.rows_out, "rejected": result.rejected}
    begun = result.done or result.rows_in or result.rows_out
    counts |= {"seconds": result.seconds or step.seconds, "busy": result.busy if begun else None}
    counts |= {"peak": result.peak_bytes}
    return dataclasses.replace(step, **counts, state=state)


def _problem(error: BaseException | None, state: str) -> ErrorView | None:
    return error_view(error) if error is not None and state == "failed" else None
