"""Runs as the run store has them, on their way to cards."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from datapipe.display.problems import error_of
from datapipe.display.view import LogLine, RunView, StepState, StepView, view_of_plan
from datapipe.errors import DatapipeError
from datapipe.plan import document
from datapipe.store import FINAL, LogRow, RunRow, StepRow


def view_of_row(row: RunRow, logs: Sequence[LogRow] = (), ahead: int | None = None) -> RunView:
    """A recorded run as a card shows it.

    Parameters
    ----------
    logs : sequence of LogRow
    ahead : int, optional
        How many runs wait before it.
    """
    result = row.result or {}
    asked = row.state == "running" and row.cancel_requested is not None
    view = RunView(
        row.id,
        "cancelling" if asked else row.state,
        row.source or "",
        row.target or "nowhere",
        row.name,
        row.reason,
        _steps(row),
        elapsed=(row.seconds if row.state != "queued" else row.waiting) or 0.0,
        notes=tuple(LogLine(log.time[11:19], log.message) for log in logs),
        error=error_of(row.error) if row.error and row.state == "failed" else None,
        rows_written=row.rows_written,
        deduplicated=int(result.get("deduplicated", 0)),
        rejected=int(result.get("rejected", 0)),
        replayed=bool(result.get("replayed")),
        schema_version=row.schema_version,
        attempts=row.attempts,
        place=row.worker or row.host or "",
        silence=row.silence,
        ahead=ahead,
    )
    return view if view.error is None else dataclasses.replace(view, steps=_blamed(view.steps, view.error.step))


def _steps(row: RunRow) -> tuple[StepView, ...]:
    """The steps of its plan, as far as each is."""
    found = {step.name: step for step in row.steps}
    planned = _planned(row)
    if not planned or not found.keys() <= {step.name for step in planned}:
        planned = tuple(StepView(step.name, step.name) for step in row.steps)
    last = row.state in FINAL
    return tuple(_moved(step, found[step.name], last) if step.name in found else step for step in planned)


def _planned(row: RunRow) -> tuple[StepView, ...]:
    try:
        return view_of_plan(document.loads(row.document), row.id, row.places).steps if row.document else ()
    except DatapipeError:  # of another version of datapipe
        return ()


def _moved(step: StepView, row: StepRow, final: bool) -> StepView:
    values: dict[str, Any] = {
        name: getattr(row, name) for name in ("rows_in", "rows_out", "rejected", "total", "seconds")
    }
    begun = row.rows_in or row.rows_out
    state: StepState = "done" if row.seconds is not None and final else "running" if begun else "waiting"
    return dataclasses.replace(step, **values, state=state)


def _blamed(steps: tuple[StepView, ...], name: str | None) -> tuple[StepView, ...]:
    return tuple(dataclasses.replace(step, state="failed") if step.name == name else step for step in steps)
