"""Rows on their way into a task: those that another one has left, or those that a request brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from datapipe.data.stream import Workspace, scratch_directory
from datapipe.errors import PlanError
from datapipe.ingestion.readers import open_source
from datapipe.plan import FrameSource
from datapipe.rest.callers import Caller
from datapipe.rest.problems import Refused
from datapipe.rest.resources import found_run
from datapipe.store import RunStore
from datapipe.workers import spool

_STEP = "rows"
_MOST = 1_000_000  # rows times columns: rows that have nothing in common would fill a table with nothing


def table_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows of a request as a table, with one type for each column.

    Raises
    ------
    PlanError
        If a column has values of several types, or there are none.

    Examples
    --------
    >>> table_of([{"id": 1, "name": "ann"}, {"id": 2}]).schema.types
    [DataType(int64), DataType(string)]
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        raise PlanError("there are no rows, or they have no columns", step=_STEP, hint="Give objects: [{'id': 1}]")
    if len(names) * len(rows) > _MOST:
        raise PlanError(f"the rows have more than {_MOST:,} places", step=_STEP, hint="Give each row the same columns")
    columns = [_column(name, [row.get(name) for row in rows]) for name in names]
    return pa.table(dict(zip(names, columns, strict=True)))


def _column(name: str, values: list[Any]) -> pa.Array:
    try:
        found = pa.array(values)
    except (pa.ArrowException, OverflowError):
        hint = "Give each column values of one type: numbers, texts, or true and false"
        raise PlanError(f"the column {name!r} has values of several types", step=_STEP, hint=hint) from None
    return found.cast(pa.string()) if pa.types.is_null(found.type) else found


def spooled(table: pa.Table, task_id: str) -> dict[str, Any]:
    """Put rows into the spool, as a task leaves them; what the next one is given."""
    with scratch_directory() as scratch:
        work = Workspace(scratch=scratch)
        with open_source(FrameSource(frame=table), work) as stream:
            file = spool.write(stream, work, task_id)
    return {"spool": file.name, "row_count": file.row_count}


def left_by(task_id: str, store: RunStore, caller: Caller) -> dict[str, Any]:
    """What a task has left, which must be one of the caller's.

    Raises
    ------
    Refused
        If there is no such task (404), or it has not ended well (409).
    """
    row = found_run(store, task_id, caller)
    note = spool.remembered(row.id)
    if note is None:
        raise Refused(409, f"the task is {row.state} and has left no rows", "Wait until it has succeeded")
    return dict(note["result"])


def handed_on(result: Mapping[str, Any], store: RunStore, caller: Caller) -> dict[str, Any]:
    """The result of a task as a request brings it, if the task is one of the caller's.

    Raises
    ------
    PlanError
        If it is none.
    Refused
        If there is no such task (404).
    """
    name = result.get("spool")
    producer = spool.producer_of(name if isinstance(name, str) else "")
    found_run(store, producer, caller)
    rows = result.get("row_count")
    return {"spool": name, "row_count": rows if isinstance(rows, int) else None}
