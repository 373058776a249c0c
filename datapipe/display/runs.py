"""Runs as the run store has them, on their way to cards."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from datapipe.display.problems import error_of
from datapipe.display.view import NOWHERE, LogLine, RunView, StepState, StepView
from datapipe.store import NOT_AWAITED, LogRow, RunRow, StepRow


def view_of_row(
    row: RunRow, logs: Sequence[LogRow] = (), ahead: int | None = None, children: Sequence[RunRow] = ()
) -> RunView:
    """A recorded run as a card shows it.

    Parameters
    ----------
    logs : sequence of LogRow
    ahead : int, optional
        How many runs wait before it.
    children : sequence of RunRow
        The runs of plans that a notebook's run has begun.
    """
    result = row.result or {}
    is_notebook = is_of_notebook(row)
    asked = row.state == "running" and row.cancel_requested is not None
    view = RunView(
        row.id,
        "cancelling" if asked else row.state,
        row.source or "",
        row.target or ("" if is_notebook else NOWHERE),
        row.name,
        row.reason,
        _cells(row) if is_notebook else _steps(row),
        elapsed=(row.seconds if row.state != "queued" else row.waiting) or 0.0,
        notes=tuple(LogLine(log.time[11:19], log.message) for log in logs),
        error=error_of(row.error) if row.error and row.state == "failed" else None,
        rows_written=int(result.get("rows_written", row.rows_written)),
        deduplicated=int(result.get("deduplicated", 0)),
        deleted=int(result.get("deleted", 0)),
        rejected=int(result.get("rejected", 0)),
        replay_of=str(result["run_id"]) if result.get("replayed") else None,
        schema_version=row.schema_version,
        attempts=row.attempts,
        place=row.worker or row.host or "",
        silence=row.silence,
        ahead=ahead,
        unsure=_is_unsure(row),
        kind="notebook" if is_notebook else "plan",
        children=tuple(map(view_of_row, sorted(children, key=lambda child: child.created))),
        outputs=tuple((str(name), str(text)) for name, text in result.get("outputs_shown") or ()),
        artifacts=str(result.get("artifacts") or ""),
    )
    return view if view.error is None else dataclasses.replace(view, steps=_blamed(view.steps, view.error.step))


def is_of_notebook(row: RunRow) -> bool:
    """Whether a run is that of a notebook."""
    return row.kind == "notebook"


def _is_unsure(row: RunRow) -> bool:
    """Whether nobody has seen how an attempt of a run ended that has not succeeded."""
    unseen = row.result is None and row.reason == NOT_AWAITED
    return unseen or (row.losses > 0 and (row.state == "cancelled" or row.result is None))


def _steps(row: RunRow) -> tuple[StepView, ...]:
    """The steps of its plan, as far as each is."""
    known = row.steps or _source(row)
    outline = row.outline if len(row.outline) >= len(known) else tuple((s.name, "", "") for s in known)
    found = dict(enumerate(known))
    peaks = {number: int(step.get("peak_bytes", 0)) for number, step in enumerate((row.result or {}).get("steps", ()))}
    return tuple(
        _moved(StepView("", verb, what, where, peak=peaks.get(number, 0)), found.get(number))
        for number, (verb, what, where) in enumerate(outline)
    )


def _source(row: RunRow) -> tuple[StepRow, ...]:
    """What is known of the steps of a run that was read without them: the rows that its source has given."""
    ended = row.seconds if row.ended_for_good else None
    return (StepRow(0, "ingestion", rows_out=row.rows_read, seconds=ended),) if row.rows_read else ()


def _cells(row: RunRow) -> tuple[StepView, ...]:
    """The code cells of its notebook; those that have begun are on record."""
    found = {step.name: step for step in row.steps}
    return tuple(_begun(StepView(name, name, title, where), found.get(name)) for name, title, where in row.outline)


def _begun(cell: StepView, row: StepRow | None) -> StepView:
    if row is None or not row.rows_in:  # it tells that it has begun
        return cell
    state: StepState = "running" if row.seconds is None else "done"
    return dataclasses.replace(cell, state=state, seconds=row.seconds, busy=row.busy)


def _moved(step: StepView, row: StepRow | None) -> StepView:
    if row is None or not (row.rows_in or row.rows_out):
        return dataclasses.replace(step, name=row.name if row else "")
    names = ("name", "rows_in", "rows_out", "rejected", "total", "seconds", "busy")
    values: dict[str, Any] = {name: getattr(row, name) for name in names}
    state: StepState = "done" if row.seconds is not None else "running"
    return dataclasses.replace(step, **values, state=state)


def _blamed(steps: tuple[StepView, ...], name: str | None) -> tuple[StepView, ...]:
    return tuple(dataclasses.replace(step, state="failed") if step.name == name else step for step in steps)
