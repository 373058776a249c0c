"""Rows of a Python database driver as Arrow batches, each value of a class that its column allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from typing import Any, TypeAlias

import pyarrow as pa

from datapipe.data.stream import Workspace
from datapipe.data.types import describe
from datapipe.errors import DataError

Array: TypeAlias = "pa.Array[Any]"
Field: TypeAlias = "pa.Field[Any]"
Fetch = Callable[[int], Sequence[Sequence[Any]]]
Convert = Callable[[Sequence[Any], Field, int], Array]

_FIRST_ROWS = 64
_MOST_ROWS = 4_000  # as Python objects, rows take many times their size in Arrow, and later ones may be long


def batches_of(
    fetch: Fetch, schema: pa.Schema, convert: Convert, work: Workspace, *, at_once: int = _MOST_ROWS
) -> Iterator[pa.RecordBatch]:
    """The rows that ``fetch(count)`` gives, up to the limit, in batches of about ``work.batch_bytes``.

    Parameters
    ----------
    fetch : callable
        At most that many further rows; none at the end, however often it is asked.
    schema : pyarrow.Schema
    convert : callable
        ``convert(values, field, first_row)``: the values of one column as an array of the field's type.
    at_once : int
        How many rows to fetch at once at most, for a driver whose calls cost little: rows in great number leave the
        processor's cache, and wake Python's garbage collector.

    Raises
    ------
    RunCancelled
        If the run is cancelled between two batches.

    Examples
    --------
    >>> rows = iter([[(1,), (2,)]])
    >>> def convert(values, field, first_row):
    ...     return pa.array(values, field.type)
    >>> schema = pa.schema({"a": pa.int64()})
    >>> [batch.num_rows for batch in batches_of(lambda count: next(rows, []), schema, convert, Workspace())]
    [2]
    """
    count, done = _FIRST_ROWS, 0
    while work.limit is None or done < work.limit:
        work.cancel.check()
        columns = _columns(fetch, count if work.limit is None else min(count, work.limit - done), at_once)
        if not columns:
            return
        arrays = [convert(values, field, done + 1) for values, field in zip(columns, schema, strict=True)]
        batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
        yield batch
        done += batch.num_rows
        fitting = work.batch_bytes * batch.num_rows // max(1, batch.nbytes)
        count = max(1, min(fitting, count * 8, _MOST_ROWS))


def _columns(fetch: Fetch, count: int, at_once: int) -> list[list[Any]]:
    """The values of each column in the next ``count`` rows; nothing at the end."""
    columns: list[list[Any]] = []
    while count > 0 and (rows := fetch(min(count, at_once))):
        if columns:
            for column, values in zip(columns, zip(*rows, strict=True), strict=True):
                column.extend(values)
        else:
            columns = [list(values) for values in zip(*rows, strict=True)]
        count -= len(rows)
    return columns


def check_classes(values: Sequence[Any], allowed: Set[type], field: Field, first_row: int) -> None:
    """Refuse a value of a class that its column does not have.

    Raises
    ------
    DataError
        Naming the column and the row.
    """
    wrong = set(map(type, values)) - allowed - {type(None)}
    if not wrong:
        return
    row = first_row + next(index for index, value in enumerate(values) if type(value) in wrong)
    name = type(values[row - first_row]).__name__
    raise DataError(
        f"column {field.name!r}, row {row}: a value of class {name} in a column of type {describe(field)}",
        column=field.name,
        row=row,
        hint=f'Decide in the query, for example CAST("{field.name}" AS TEXT)',
    )
