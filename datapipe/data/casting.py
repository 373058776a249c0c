"""Checked casts: the exact value in another type, or a DataError that names the column and the row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datapipe.data.types import TIMESTAMP, TIMESTAMPTZ
from datapipe.errors import DataError

_CURE = "Convert it in a .sql() step, where you choose what is lost"


def cast_batch(batch: pa.RecordBatch, schema: pa.Schema, *, first_row: int = 1) -> pa.RecordBatch:
    """The batch in ``schema``, column by column, by position.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
    schema : pyarrow.Schema
        As many fields as the batch has columns.
    first_row : int
        The number of the batch's first row, for error messages.

    Raises
    ------
    DataError
        If a value cannot be held exactly.
    """
    if batch.schema.equals(schema, check_metadata=False):
        return pa.RecordBatch.from_arrays(batch.columns, schema=schema)
    columns = [
        cast_column(column, field.type, column=field.name, first_row=first_row)
        for column, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def cast_column(values: pa.Array, to: pa.DataType, *, column: str, first_row: int = 1) -> pa.Array:
    """One column in another type, exactly.

    Raises
    ------
    DataError
        Naming the column, the row and the two types.

    Examples
    --------
    >>> cast_column(pa.array([1, None]), pa.decimal128(5, 2), column="a").to_pylist()
    [Decimal('1.00'), None]
    """
    if values.type == to:
        return values
    refusal = _refused(values.type, to)
    if refusal:
        raise DataError(f"column {column!r}: {values.type} cannot become {to}: {refusal}", column=column, hint=_CURE)
    try:
        return _exact(values, to)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError) as error:
        row = _first_failure(values, to)
        if row is None:
            raise DataError(
                f"column {column!r}: {values.type} cannot become {to}", column=column, hint=_CURE
            ) from error
        raise DataError(
            f"column {column!r}, row {first_row + row}: the {values.type} value does not fit {to} exactly",
            column=column,
            row=first_row + row,
            hint=_CURE,
        ) from None


def _refused(source: pa.DataType, to: pa.DataType) -> str | None:
    """Why a pair of types is refused whatever the values."""
    t = pa.types
    if t.is_timestamp(source) and t.is_timestamp(to) and bool(source.tz) != bool(to.tz):
        return "one has a time zone and the other has none; say which with AT TIME ZONE"
    if t.is_date(source) and t.is_timestamp(to) and to.tz:
        return "a date has no time zone; say which with AT TIME ZONE"
    if t.is_binary(source) and t.is_string(to):
        return "bytes are not text; use decode()"
    if t.is_temporal(source) and (t.is_integer(to) or t.is_floating(to)):
        return "a time is not a number; use epoch()"
    if t.is_temporal(to) and (t.is_integer(source) or t.is_floating(source) or t.is_decimal(source)):
        return "a number is not a time; use to_timestamp() or make_date()"
    return None


def _exact(values: pa.Array, to: pa.DataType) -> pa.Array:
    t = pa.types
    source = values.type
    if isinstance(source, pa.BaseExtensionType):
        values, source = values.storage, source.storage_type
    if to == pa.uuid():
        return pa.ExtensionArray.from_storage(to, values.cast(pa.binary(16)))
    if t.is_dictionary(source):
        return _exact(values.dictionary_decode(), to)
    if t.is_decimal(to):
        return _to_decimal(values, to)
    if t.is_floating(to) and (t.is_decimal(source) or (t.is_floating(source) and source.bit_width > to.bit_width)):
        return _same_back(values, values.cast(to))
    if t.is_date(to) and t.is_timestamp(source):
        return _same_back(values, values.cast(to))
    if t.is_boolean(to) and not t.is_boolean(source) and not t.is_string(source):
        return _same_back(values, values.cast(to))
    if t.is_string(to) and t.is_timestamp(source):
        return pc.strftime(
            values.cast(TIMESTAMPTZ if source.tz else TIMESTAMP),
            "%Y-%m-%d %H:%M:%S" + ("+00" if source.tz else ""),
        )
    if t.is_string(to) and t.is_interval(source):
        return _interval_text(values)
    return values.cast(to)


def _interval_text(values: pa.Array) -> pa.Array:
    """Intervals as every database reads them: ``1 mon 2 day 3.5 sec``, exact to the microsecond."""
    raw = values.cast(pa.month_day_nano_interval()).buffers()[1]
    layout = np.dtype([("months", "<i4"), ("days", "<i4"), ("nanos", "<i8")])
    parts = (
        np.frombuffer(raw, dtype=layout)[values.offset : values.offset + len(values)] if raw else np.empty(0, layout)
    )
    micros, rest = np.divmod(parts["nanos"], 1000)
    valid = values.is_valid()
    if pc.any(pc.and_(valid, pa.array(rest != 0))).as_py():
        raise pa.ArrowInvalid("finer than a microsecond")
    units = ((parts["months"], " mon "), (parts["days"], " day "), (micros, " microseconds"))
    pieces: list[pa.Array] = []
    for numbers, unit in units:
        pieces += [pa.array(numbers).cast(pa.string()), pa.scalar(unit)]
    return pc.if_else(valid, pc.binary_join_element_wise(*pieces, ""), pa.scalar(None, pa.string()))


def _to_decimal(values: pa.Array, to: pa.DataType) -> pa.Array:
    if pa.types.is_floating(values.type):
        values = values.cast(pa.string())  # the shortest text that reads back as the same number
    elif pa.types.is_integer(values.type):
        values = values.cast(pa.decimal256(76, max(to.scale, 0)))
    return values.cast(to)


def _same_back(before: pa.Array, after: pa.Array) -> pa.Array:
    """``after``, if casting it back gives ``before``."""
    back = _to_decimal(after, before.type) if pa.types.is_decimal(before.type) else after.cast(before.type)
    same = pc.equal(before, back)
    if pa.types.is_floating(before.type):
        same = pc.or_(same, pc.and_(pc.is_nan(before), pc.is_nan(back)))
    if not pc.all(same, skip_nulls=True, min_count=0).as_py():
        raise pa.ArrowInvalid("a value changed")
    return after


def _first_failure(values: pa.Array, to: pa.DataType) -> int | None:
    """The index of the first value that does not cast, found by halving; None if each one does alone."""

    def fails(start: int, count: int) -> bool:
        try:
            _exact(values.slice(start, count), to)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError):
            return True
        return False

    start, count = 0, len(values)
    if not count or not fails(start, count):
        return None
    while count > 1:
        half = count // 2
        if fails(start, half):
            count = half
        else:
            start, count = start + half, count - half
    return start


def check_names(names: Sequence[str], *, what: str) -> None:
    """Refuse two columns of one name.

    Raises
    ------
    DataError
        Naming the column.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(
                f"{what} has two columns called {name!r}",
                column=name,
                hint="Give one of them another name with AS",
            )
        seen.add(name)
