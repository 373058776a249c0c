"""What a load needs to tell which rows its source no longer has: all keys, handed on by the steps as they are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from datapipe.data.stream import Stream, Workspace, scratch_directory
from datapipe.engine.chain import step_name
from datapipe.errors import PlanError
from datapipe.ingestion import open_keys
from datapipe.plan import (
    ConfigStep,
    FrameSource,
    Plan,
    QuerySource,
    SqlStep,
    Step,
    TableSource,
    TableTarget,
    ValidateStep,
)
from datapipe.plan.sqltext import check_one_query

_HINT = "Compute keys at the source, in its query or a view; or leave deletes out"


def compared_keys(plan: Plan) -> tuple[str, ...]:
    """The keys that a plan's target is compared by; none if it is not compared.

    Raises
    ------
    PlanError
        If a step may hand on other keys than the source has: all rows would seem to be deleted.
    """
    target = plan.persistence
    if not isinstance(target, TableTarget) or target.deletes is None:
        return ()
    if isinstance(plan.ingestion, FrameSource):  # rejected rows that are brought in
        return ()
    if not isinstance(plan.ingestion, QuerySource | TableSource):
        raise PlanError("deletes needs the keys of a table or a query", step="persistence", hint="Leave it out")
    for number, step in enumerate(plan.transformation, 1):
        changed = _changed(step, target.upsert_keys)
        if changed is not None:
            problem = f"with deletes={target.deletes!r}, the key {changed!r} must reach the target as the source has it"
            raise PlanError(f"{problem}, which this step does not promise", step=step_name(number, step), hint=_HINT)
    return target.upsert_keys


def keys_opener(plan: Plan) -> Callable[[Workspace], AbstractContextManager[Stream]] | None:
    """What opens all keys that a plan's source has at that moment; None if its target is not compared with them."""
    keys, source = compared_keys(plan), plan.ingestion
    if not keys or not isinstance(source, QuerySource | TableSource):
        return None
    return lambda work: open_keys(source, keys, work)


def keys_told(plan: Plan) -> str:
    """How all keys are read after the rows, and what for, as the end of a line; empty if they are not."""
    opened, target = keys_opener(plan), plan.persistence
    if opened is None or not isinstance(target, TableTarget):
        return ""
    with scratch_directory() as scratch, opened(Workspace(limit=0, scratch=scratch)) as stream:
        sql = stream.asked.sql if stream.asked else None
    shown = " ".join(sql.split()) if sql else "all rows, for their keys"
    done = "removed" if target.deletes == "remove" else "marked"
    return f"; then all keys are read: {shown}; rows of the target without one are {done}"


def _changed(step: Step, keys: Sequence[str]) -> str | None:
    """The first key that rows may not have any more as they were given to a step; None if they keep all."""
    if isinstance(step, SqlStep):
        from datapipe.data.analysis import first_changed  # loads DuckDB

        return first_changed(check_one_query(step.config.sql_query), keys)
    if isinstance(step, ConfigStep):
        config = step.config
        named = {*config.rename, *config.rename.values(), *config.cast, *config.add_columns, *config.aggregations}
        touched = {name.casefold() for name in named}
        return next((key for key in keys if key.casefold() in touched), None)
    if isinstance(step, ValidateStep):
        return next((key for key in keys if not _only_looks(step, key)), None)
    return next(iter(keys), None)


def _only_looks(step: ValidateStep, key: str) -> bool:
    """Whether a contract neither converts a key nor fills it in."""
    from datapipe.schemas.pandera_form import held_to  # loads what contracts need

    contract = held_to(step.config)
    for name, rule in contract.columns.items():
        is_meant = rule.regex or name.casefold() == key.casefold()
        if is_meant and (contract.coerce or rule.coerce or rule.default is not None):
            return False
    return True
