"""Rows that validations have refused: looking at them, and running them through the plan again."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from datapipe.data import compute as pc
from datapipe.data.analysis import gathers
from datapipe.data.jsonrows import from_json
from datapipe.data.stream import Workspace, scratch_directory
from datapipe.engine import RunOptions, RunResult, run_recorded
from datapipe.errors import PlanError, did_you_mean
from datapipe.persistence import Replay, fields_of, find_rejects
from datapipe.plan import ConfigStep, FrameSource, Plan, SqlStep, TableTarget, ValidateStep, WriteStrategy
from datapipe.plan.sqltext import check_one_query

if TYPE_CHECKING:
    import pandas as pd

_STEP = re.compile(r"transformation step (\d+) \(validate\)\Z")
_SHOWN = ("step", "row_number", "column_name", "check_name", "reason", "data", "replayed")


def rejects(plan: Plan, run_id: str) -> pd.DataFrame:
    """The rows that a run of a plan has refused, with the reasons.

    Returns
    -------
    pandas.DataFrame
        One row each: ``step``, ``row_number`` (of the step's input), ``column_name`` and ``check_name`` (of the first
        check that it did not keep), ``reason`` (all of them), ``data`` (the row as JSON), ``replayed`` (the run that
        has loaded it since).
    """
    from datapipe.data.frames import to_pandas  # loads pandas

    return to_pandas(_found(plan, run_id).select(_SHOWN))


def replay(plan: Plan, run_id: str, step: str | None = None) -> RunResult:
    """Run refused rows from the step that refused them to the target, as that run's child.

    Each row is brought in once: the load marks them in its own transaction. Rows that still break the contract are
    rejects of the new run.

    Parameters
    ----------
    plan : Plan
        The run's own, or a corrected one with the same steps up to that one.
    step : str, optional
        Which validation's rows; needed if several have refused some.

    Raises
    ------
    PlanError
        If there are none, the plan has no such step, or a later one looks at more than one row.
    StaleRun
        If another run has brought them in meanwhile, or has replaced the table.
    """
    found = _found(plan, run_id)
    waiting = found.filter(pc.is_null(found.column("replayed")))
    steps = sorted(set(waiting.column("step").to_pylist()))
    if not steps:
        hint = "attach(run_id).rejects() shows those there were; a plan that writes to another table finds none"
        raise PlanError(f"run {run_id} has no rejected rows that wait for this target", hint=hint)
    if step is None and len(steps) > 1:
        raise PlanError("several steps have rejected rows", hint=f"Name one, step=…: {', '.join(steps)}")
    chosen = step or steps[0]
    if chosen not in steps:
        raise PlanError(f"no rejected rows of {chosen!r} wait", hint=did_you_mean(chosen, steps, what="steps"))
    rows = waiting.filter(pc.equal(waiting.column("step"), chosen))
    number = _number(plan, chosen)
    _check_rest(plan, number)
    fields = fields_of(found.filter(pc.equal(found.column("step"), chosen)))
    frame = pa.Table.from_batches([from_json(rows.column("data").combine_chunks(), fields)], schema=fields)
    rest = plan.model_copy(
        update={
            "ingestion": FrameSource(frame=frame),
            "transformation": plan.transformation[number - 1 :],
            "persistence": _adding(plan.persistence),
        }
    )
    into = plan.persistence.strategy if isinstance(plan.persistence, TableTarget) else None
    taken = Replay(run_id, chosen, rows.num_rows, number, replaced=into is WriteStrategy.REPLACE)
    return run_recorded(rest, replace(RunOptions(), replay=taken, parent_run_id=run_id))


def _found(plan: Plan, run_id: str) -> pa.Table:
    target = plan.persistence
    if not isinstance(target, TableTarget):
        raise PlanError("the plan writes to no table, so there is no quarantine", hint="Use .write(table, to=…)")
    with scratch_directory() as scratch:
        return find_rejects(target, run_id, Workspace(scratch=scratch))


def _number(plan: Plan, step: str) -> int:
    match = _STEP.match(step)
    number = int(match[1]) if match else 0
    if not 0 < number <= len(plan.transformation) or not isinstance(plan.transformation[number - 1], ValidateStep):
        hint = "Give the plan that the run ran, or one that differs only in what its steps do"
        raise PlanError(f"the plan has no {step}", hint=hint)
    return number


def _check_rest(plan: Plan, number: int) -> None:
    """Refuse a step that would make something of the rejected rows alone which was made of all rows."""
    for index, step in enumerate(plan.transformation[number:], number + 1):
        what = gathers(check_one_query(step.config.sql_query)) if isinstance(step, SqlStep) else None
        if isinstance(step, ConfigStep):
            fields = ("group_by", "aggregations", "distinct", "limit")
            what = next((field for field in fields if getattr(step.config, field)), None)
        if what is not None:
            raise PlanError(
                f"transformation step {index} ({step.type}) has {what}, and would see the rejected rows alone",
                hint="Put validations that quarantine after such steps; load these rows with read(run.rejects())",
            )


def _adding(target: object) -> object:
    """The target, for rows that come to those of the run: what it has replaced stays."""
    if isinstance(target, TableTarget) and target.strategy is WriteStrategy.REPLACE:
        return target.model_copy(update={"strategy": WriteStrategy.APPEND})
    return target
