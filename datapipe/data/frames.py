"""Arrow tables as frames for user functions, and what those return as Arrow again.

A frame has one dtype per column type, whatever the data: masked integers and booleans, ``string`` with NA,
``datetime64`` for timestamps, ArrowDtype for the rest. On the way back each value stays what it is, or a
DataError names the column.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from datapipe.data.casting import check_names
from datapipe.data.columns import akin, chunked, fit, from_polars, from_series
from datapipe.data.types import EXACT_NUMERIC, INTERVAL, describe, normal_field, tag
from datapipe.errors import DataError, PlanError, did_you_mean

if TYPE_CHECKING:
    import polars as pl

_MASKED = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}
_TEXT = pd.StringDtype(na_value=pd.NA)


def to_pandas(table: pa.Table | pa.RecordBatch) -> pd.DataFrame:
    """The table as a pandas DataFrame of its own: changing it in place never changes the table.

    Raises
    ------
    DataError
        If a ``numeric`` without precision does not fit decimal(38,20) exactly.

    Examples
    --------
    >>> to_pandas(pa.table({"id": [1, None], "name": ["Ann", None]})).dtypes.astype(str).to_dict()
    {'id': 'Int64', 'name': 'string'}
    """
    frame: pd.DataFrame = _roomy(computable(table)).to_pandas(types_mapper=_dtype, ignore_metadata=True)
    return frame


def _roomy(table: pa.Table) -> pa.Table:
    """The table with long decimals of more bits: a sum of two needs a digit more than either."""
    for index, field in enumerate(table.schema):
        if pa.types.is_decimal128(field.type) and field.type.precision > 18:
            wide = pa.decimal256(field.type.precision, field.type.scale)
            table = table.set_column(index, field.with_type(wide), table.column(index).cast(wide))
    return table


def to_polars(table: pa.Table | pa.RecordBatch) -> pl.DataFrame:
    """The table as a polars DataFrame.

    Raises
    ------
    PlanError
        If polars is not installed.
    DataError
        If polars cannot hold a column.
    """
    try:
        import polars as pl  # optional, and slow to import
    except ImportError:
        raise PlanError("polars is not installed", hint="Run: pip install polars") from None
    exact = computable(table)
    for field in exact.schema:
        if field.type == INTERVAL:
            raise DataError(
                f"column {field.name!r}: polars has no type for an interval of months, days and time",
                column=field.name,
                hint="Cast it in a .sql() step, or take a pandas DataFrame",
            )
    return pl.DataFrame(exact)


def computable(table: pa.Table | pa.RecordBatch) -> pa.Table:
    """The table with every ``numeric`` that travels as text turned into decimal(38,20), exactly.

    Raises
    ------
    DataError
        Naming the column and the row of a value that does not fit.
    """
    found = pa.Table.from_batches([table]) if isinstance(table, pa.RecordBatch) else table
    for index, field in enumerate(found.schema):
        if tag(field) == "numeric":
            exact = pa.field(field.name, EXACT_NUMERIC, field.nullable)
            try:
                found = found.set_column(index, exact, fit(found.column(index), exact))
            except DataError as error:
                error.hint = f"Cast it where it is read: CAST({field.name} AS numeric(38, 6)), or AS text"
                raise
    return found


def as_given(table: pa.Table, given: Any) -> Any:
    """The table as the kind of frame that was given: a pandas or polars DataFrame, or an Arrow table.

    Examples
    --------
    >>> type(as_given(pa.table({"a": [1]}), pd.DataFrame())).__name__
    'DataFrame'
    """
    if isinstance(given, (pa.Table, pa.RecordBatch)):
        return table
    return to_pandas(table) if isinstance(given, pd.DataFrame) else to_polars(table)


def from_frame(result: Any, like: pa.Schema | None = None) -> pa.Table:
    """A pandas or polars DataFrame, or an Arrow table, as an Arrow table of normal types, without the index.

    Parameters
    ----------
    result : pandas.DataFrame, polars.DataFrame, pyarrow.Table or pyarrow.RecordBatch
    like : pyarrow.Schema, optional
        What went in. A column with the name and the kind of one of its fields gets that field's type back if
        every value fits exactly; any other column gets the type of its values.

    Raises
    ------
    DataError
        Naming the column that is there twice, whose name is not text, or whose values have no common type.

    Examples
    --------
    >>> frame = pd.DataFrame({"id": [1.0, None], "name": ["Ann", "Bob"]})
    >>> from_frame(frame, like=pa.schema([("id", pa.int16())])).schema.types
    [DataType(int16), DataType(string)]
    """
    columns = _columns(result)
    if not columns:
        raise DataError("the frame has no columns", hint="Return one with at least one column")
    check_names([field.name for field, _ in columns], what="the frame")
    known = {field.name: field for field in like} if like is not None else {}
    gaps = _with_gaps(result)
    settled = [_settled(field, values, known.get(field.name), field.name in gaps) for field, values in columns]
    return pa.Table.from_arrays([values for _, values in settled], schema=pa.schema([field for field, _ in settled]))


def conform(table: pa.Table | pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    """The table in exactly this schema: the same columns in its order, every value exact.

    Raises
    ------
    DataError
        If a column is missing or new, has another kind of values, or a value does not fit.

    Examples
    --------
    >>> first = pa.schema([("a", pa.int64()), ("b", pa.string())])
    >>> conform(pa.table({"b": ["x"], "a": [1.0]}), first).to_pylist()
    [{'a': 1, 'b': 'x'}]
    """
    check_names(table.schema.names, what="the frame")
    _same_names(table.schema.names, schema.names)
    return pa.Table.from_arrays([_conformed(table, field) for field in schema], schema=schema)


def _conformed(table: pa.Table | pa.RecordBatch, field: pa.Field) -> pa.ChunkedArray:
    given, values = table.schema.field(field.name), chunked(table.column(field.name))
    same_kind = akin(given.type, field) or (_is_number(given.type) and _is_number(field.type))
    if values.null_count < len(values) and not same_kind:
        now = describe(normal_field(given))
        if pa.types.is_null(field.type):
            raise DataError(
                f"column {field.name!r} held only NULLs at first, so it has no type, and now holds {now}",
                column=field.name,
                hint="Give it a type from the start, for example .astype('string') or .astype('Int64')",
            )
        raise DataError(
            f"column {field.name!r} was {describe(field)} at first and is now {now}",
            column=field.name,
            hint="Convert it so that it has one type whatever the rows, for example with .astype()",
        )
    return fit(values, field)


def _is_number(type_: pa.DataType) -> bool:
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_))


def _same_names(given: Sequence[str], wanted: Sequence[str]) -> None:
    for name in wanted:
        if name not in given:
            hint = did_you_mean(name, given, what="columns now") or "Return the same columns every time"
            raise DataError(f"column {name!r} is missing, which was there at first", column=name, hint=hint)
    for name in given:
        if name not in wanted:
            raise DataError(
                f"column {name!r} is new, it was not there at first",
                column=name,
                hint=did_you_mean(name, wanted, what="columns at first"),
            )


def _columns(result: Any) -> Sequence[tuple[pa.Field, pa.ChunkedArray]]:
    if isinstance(result, (pa.Table, pa.RecordBatch)):
        return [(field, chunked(result.column(index))) for index, field in enumerate(result.schema)]
    if isinstance(result, pd.DataFrame):
        return [from_series(name, result.iloc[:, index]) for index, name in enumerate(result.columns)]
    if type(result).__module__.partition(".")[0] == "polars" and hasattr(result, "get_columns"):
        return [from_polars(series) for series in result.get_columns()]
    raise DataError(
        f"a table was expected, not {type(result).__module__}.{type(result).__qualname__}",
        hint="Return a pandas or polars DataFrame, or a pyarrow.Table",
    )


def _with_gaps(result: Any) -> set[str]:
    """The columns of numpy's float64, which is also how pandas holds integers with gaps, or no values."""
    if not isinstance(result, pd.DataFrame):
        return set()
    numpy_types = {str(name): dtype for name, dtype in result.dtypes.items() if isinstance(dtype, np.dtype)}
    return {name for name, dtype in numpy_types.items() if dtype == np.float64}


def _settled(
    given: pa.Field, values: pa.ChunkedArray, known: pa.Field | None, gaps: bool
) -> tuple[pa.Field, pa.ChunkedArray]:
    """A column in the type it had before, else in its own."""
    if known is not None and (akin(given.type, known) or (gaps and _may_be(values, known))):
        field = known.with_nullable(True)
        with contextlib.suppress(DataError):  # a value does not fit: the column keeps the type the function gave it
            return field, fit(values, field)
    own = normal_field(given.with_nullable(True))
    if tag(own) and not pa.types.is_string(own.type):
        own = own.remove_metadata()
    return own, fit(values, own)


def _may_be(floats: pa.ChunkedArray, known: pa.Field) -> bool:
    return bool(pa.types.is_integer(known.type)) or floats.null_count == len(floats)


def _dtype(type_: pa.DataType) -> Any:
    """The pandas dtype for a normal Arrow type; None leaves it to pyarrow, which takes datetime64."""
    if type_ in _MASKED:
        return _MASKED[type_]
    if pa.types.is_string(type_):
        return _TEXT
    return None if pa.types.is_timestamp(type_) else pd.ArrowDtype(type_)
