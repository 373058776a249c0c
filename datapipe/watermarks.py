"""The watermark of a plan: how far its loads have come, looked at and set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datapipe.data.stream import Workspace, scratch_directory
from datapipe.data.watermark import Position, Watermark
from datapipe.engine import RunOptions, outline_plan, stream_of
from datapipe.errors import PlanError
from datapipe.ingestion import mark_values
from datapipe.persistence import move_watermark, position_at
from datapipe.plan import Incremental, Plan, QuerySource, TableSource, TableTarget, incremental_of


@dataclass(frozen=True)
class PlanWatermark:
    """How far the loads of a plan have come, as the ledger beside its target says. It shows itself as text.

    Parameters
    ----------
    plan : Plan
    position : Position
        As it was when it was looked at.
    """

    plan: Plan
    position: Position

    @property
    def values(self) -> tuple[Any, ...] | None:
        """The greatest values of the cursor that were loaded; None before the first load."""
        return self.position.watermark.values if self.position.watermark else None

    @property
    def run_id(self) -> str:
        """The run that left it; empty before the first."""
        return self.position.run_id

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; times and decimals are text."""
        how = _how(self.plan)
        found = self.position.watermark
        values, begin = (_plain(found.values), _plain(found.begin)) if found else (None, None)
        left = {"run_id": self.run_id or None, "committed": self.position.committed or None}
        return {"cursor": list(how.cursor), "values": values, "begin": begin, **left}

    def set(self, value: Any) -> PlanWatermark:
        """Have the next run begin at a value of the cursor, itself included; no row before it is looked at.

        Parameters
        ----------
        value : value or sequence of values
            One for each column of the cursor. Texts are read as the column's type.

        Raises
        ------
        PlanError
            If the value is none of the cursor's.
        """
        schema = outline_plan(self.plan.model_copy(update={"persistence": None, "transformation": ()}), RunOptions())
        listed = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
        names, values = mark_values(_how(self.plan).cursor, listed, schema.schemas[0][1])
        return self._moved(Watermark(names, begin=values))

    def reset(self) -> PlanWatermark:
        """Have the next run begin as the first did: at ``start``, or with all rows."""
        return self._moved(Watermark(_how(self.plan).cursor))

    def _moved(self, watermark: Watermark) -> PlanWatermark:
        target, stream = _target_and_stream(self.plan)
        with scratch_directory() as scratch:
            return PlanWatermark(self.plan, move_watermark(target, stream, watermark, Workspace(scratch=scratch)))

    def __str__(self) -> str:
        found = self.position.watermark
        if found is None or (found.values is None and found.begin is None):
            return f"{', '.join(_how(self.plan).cursor)}: nothing loaded yet; the next run begins at the start"
        moment = f"{self.position.committed[:19].replace('T', ' ')} UTC"
        return (
            f"{found}, at {moment}" if found.values is None else f"{found}, left by run {self.run_id[:8]} at {moment}"
        )

    __repr__ = __str__


def watermark_of(plan: Plan) -> PlanWatermark:
    """The watermark of a plan.

    Raises
    ------
    PlanError
        If its source is not incremental, or it writes to no table.
    """
    target, stream = _target_and_stream(plan)
    with scratch_directory() as scratch:
        return PlanWatermark(plan, position_at(target, stream, Workspace(scratch=scratch)))


def _plain(values: tuple[Any, ...] | None) -> list[Any] | None:
    return None if values is None else [value if isinstance(value, int) else str(value) for value in values]


def _how(plan: Plan) -> Incremental:
    found = incremental_of(plan.ingestion)
    if found is None or not found.watermark:
        raise PlanError("the plan has no watermark", hint="Name the column whose values grow: incremental='updated_at'")
    return found


def _target_and_stream(plan: Plan) -> tuple[TableTarget, str]:
    _how(plan)
    if not isinstance(plan.persistence, TableTarget) or not isinstance(plan.ingestion, QuerySource | TableSource):
        raise PlanError("a watermark is kept beside a table", hint="Add .write(table, to=…)")
    return plan.persistence, stream_of(plan.ingestion)
