"""A run of a notebook as a card shows it, and as its record has it: what its process tells makes the next one."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Any

from datapipe.display import LogLine, RunView, StepView, error_of
from datapipe.engine import NotebookResult
from datapipe.notebooks.cells import Notebook
from datapipe.notebooks.failures import problem
from datapipe.notebooks.order import Outcome

_NOTES = 500


def first_view(title: str, path: str, run_id: str, executed: Notebook) -> RunView:
    """A run that has not begun."""
    names = ((f"cell {cell.number}", cell.title) for cell in executed.code)
    steps = tuple(StepView(name, name, title) for name, title in names)
    return RunView(run_id, "running", path, "", title, steps=steps, kind="notebook")


def begun_again(view: RunView, attempt: int) -> RunView:
    """The view at the beginning of an attempt."""
    steps = tuple(StepView(step.name, step.verb, step.what) for step in view.steps)
    return dataclasses.replace(view, steps=steps, attempts=attempt, outputs=())


def followed(view: RunView, event: Mapping[str, Any], elapsed: float) -> RunView:
    """The view after an event, so many seconds after the run began.

    Examples
    --------
    >>> view = RunView("r", "running", steps=(StepView("cell 1", "cell 1"),), kind="notebook")
    >>> followed(view, {"event": "cell_began", "cell": 1, "time": 0.0}, 1.5).steps[0].state
    'running'
    """
    view = dataclasses.replace(view, elapsed=elapsed)
    match event["event"]:
        case "cell_began":
            return _step(view, event, state="running", begun=elapsed)
        case "cell_replied" if event.get("count") is not None:
            return _step(view, event, where=f"In[{event['count']}]")
        case "cell_ended":
            seconds = float(event["seconds"])
            return _step(view, event, state=str(event["state"]), seconds=seconds, busy=seconds)
        case "output":
            shown = {**dict(view.outputs), str(event["output"]["name"]): str(event["output"]["shown"])}
            return dataclasses.replace(view, outputs=tuple(shown.items()))
        case "note":
            return noted(view, str(event["text"]), float(event["time"]))
        case "stopping":
            return dataclasses.replace(view, state="cancelling") if event.get("reason") is None else view
    return view


def noted(view: RunView, text: str, time: float) -> RunView:
    """The view with a line more in its log."""
    clock = dt.datetime.fromtimestamp(time).strftime("%H:%M:%S")  # the user's own
    return dataclasses.replace(view, notes=(*view.notes, LogLine(clock, text))[-_NOTES:])


def ended(view: RunView, result: NotebookResult | None, outcome: Outcome) -> RunView:
    """The view of the run that has ended."""
    found = problem(outcome)
    steps = tuple(
        dataclasses.replace(s, state="failed") if found and s.name == found["step"] else s for s in view.steps
    )
    view = dataclasses.replace(
        view,
        state=outcome.state,
        reason=outcome.reason,
        steps=steps,
        error=error_of(found) if found is not None else None,
    )
    if result is None:
        return view
    view = dataclasses.replace(
        view,
        outputs=tuple((name, str(value)) for name, value in result.outputs.items()),
        artifacts=result.artifacts,
        replay_of=result.run_id if result.replayed else None,
    )
    known = {note.text for note in view.notes}
    told = tuple(LogLine("", note) for note in result.notices if note not in known)
    view = dataclasses.replace(view, notes=(*view.notes, *told))
    return view if result.replayed else dataclasses.replace(view, elapsed=result.seconds)


def _step(view: RunView, event: Mapping[str, Any], **values: Any) -> RunView:
    name = f"cell {event['cell']}"
    steps = tuple(dataclasses.replace(step, **values) if step.name == name else step for step in view.steps)
    return dataclasses.replace(view, steps=steps)
