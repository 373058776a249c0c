"""The watermark of a plan: how far its loads have come, looked at and set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datapipe.data.filemarks import FileMark, Files
from datapipe.data.stream import Workspace, scratch_directory
from datapipe.data.watermark import Position, Watermark
from datapipe.engine import RunOptions, outline_plan, stream_of
from datapipe.errors import PlanError
from datapipe.ingestion import mark_values
from datapipe.persistence import move_watermark, position_at
from datapipe.plan import (
    FileSource,
    FrameSource,
    Incremental,
    Plan,
    TableTarget,
    incremental_of,
    is_incremental,
)

_LAST = 5  # files that are shown


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
        """The greatest values of the cursor that were loaded; None before the first load, and of files."""
        found = self.position.watermark
        return found.values if isinstance(found, Watermark) else None

    @property
    def files(self) -> Mapping[str, FileMark]:
        """The files that were loaded, by their paths within their folder, the last at the end; none of a cursor."""
        found = self.position.watermark
        return found.marks if isinstance(found, Files) else {}

    @property
    def run_id(self) -> str:
        """The run that left it; empty before the first."""
        return self.position.run_id

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; times and decimals are text."""
        left = {"run_id": self.run_id or None, "committed": self.position.committed or None}
        if isinstance(self.plan.ingestion, FileSource):
            last = [{"path": path, "size": mark.size, "run_id": mark.run_id} for path, mark in self._last()]
            return {"files": len(self.files), "last": last, **left}
        how, found = _how(self.plan), self.position.watermark
        values, begin = (_plain(found.values), _plain(found.begin)) if isinstance(found, Watermark) else (None, None)
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
            If the value is none of the cursor's, or the source is files, which have none.
        """
        if isinstance(self.plan.ingestion, FileSource):
            hint = "reset() has all files loaded again; a pattern chooses some of them: inbox/2024-*.csv"
            raise PlanError("files have no cursor that could be set", step="ingestion", hint=hint)
        schema = outline_plan(self.plan.model_copy(update={"persistence": None, "transformation": ()}), RunOptions())
        listed = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
        names, values = mark_values(_how(self.plan).cursor, listed, schema.schemas[0][1])
        return self._moved(Watermark(names, begin=values))

    def reset(self) -> PlanWatermark:
        """Have the next run begin as the first did: at ``start``, with all rows, or with all files."""
        if isinstance(self.plan.ingestion, FileSource):
            return self._moved(Files(anew=True))
        return self._moved(Watermark(_how(self.plan).cursor))

    def _moved(self, watermark: Watermark | Files) -> PlanWatermark:
        target, stream = _target_and_stream(self.plan)
        with scratch_directory() as scratch:
            return PlanWatermark(self.plan, move_watermark(target, stream, watermark, Workspace(scratch=scratch)))

    def _last(self) -> list[tuple[str, FileMark]]:
        """The files that were loaded last, the very last first."""
        return [(path, self.files[path]) for path in list(self.files)[: -_LAST - 1 : -1]]

    def __str__(self) -> str:
        found = self.position.watermark
        if isinstance(self.plan.ingestion, FileSource):
            return self._shown()
        if not isinstance(found, Watermark) or (found.values is None and found.begin is None):
            return f"{', '.join(_how(self.plan).cursor)}: nothing loaded yet; the next run begins at the start"
        moment = f"{self.position.committed[:19].replace('T', ' ')} UTC"
        return (
            f"{found}, at {moment}" if found.values is None else f"{found}, left by run {self.run_id[:8]} at {moment}"
        )

    def _shown(self) -> str:
        if not self.files:
            return "no file loaded yet; the next run loads all"
        lines = [f"  {path}, {mark.size:,} bytes, by run {mark.run_id[:8]}" for path, mark in self._last()]
        more = [f"  and {len(self.files) - _LAST:,} more"] if len(self.files) > _LAST else []
        head = f"{len(self.files):,} file{'s' * (len(self.files) > 1)} loaded, the last ones first:"
        return "\n".join([head, *lines, *more])

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
    source = plan.ingestion
    if isinstance(source, FrameSource) or not is_incremental(source):
        hint = "Name the column whose values grow: incremental='updated_at'; for files: incremental=True"
        raise PlanError("the plan has no watermark", hint=hint)
    if not isinstance(source, FileSource):
        _how(plan)
    if not isinstance(plan.persistence, TableTarget):
        raise PlanError("a watermark is kept beside a table", hint="Add .write(table, to=…)")
    return plan.persistence, stream_of(source)
