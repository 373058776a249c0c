"""One column of a frame: out of a Series, and into the type of a field."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from datapipe.data import compute as pc
from datapipe.data.casting import cast_column
from datapipe.data.types import normal, tag
from datapipe.errors import DataError

if TYPE_CHECKING:
    import polars as pl

_PIECE = 1 << 30  # bytes cast at once: the offsets of Arrow's strings end at 2 GiB
_NOT_ARROW = (pa.ArrowException, TypeError, ValueError, OverflowError)
_FAMILIES: tuple[tuple[tuple[type, ...], str], ...] = (
    ((bool, np.bool_), "booleans"),
    ((int, float, decimal.Decimal, np.integer, np.floating), "numbers"),
    ((str,), "text"),
    ((bytes, bytearray, memoryview), "bytes"),
    ((dt.datetime, np.datetime64), "timestamps"),
    ((dt.date,), "dates"),
    ((dt.time,), "times"),
    ((dt.timedelta, np.timedelta64), "durations"),
    ((uuid.UUID,), "UUIDs"),
    ((list, tuple, np.ndarray), "lists"),
    ((dict,), "mappings"),
)


def from_series(name: Any, series: pd.Series[Any]) -> tuple[pa.Field, pa.ChunkedArray]:
    """A pandas column as Arrow, with every missing value as NULL.

    Raises
    ------
    DataError
        If its name is not text, or its values have no common type.
    """
    if not isinstance(name, str):
        raise DataError(
            f"the name of column {name!r} is not text",
            hint="Rename it: frame.columns = [str(name) for name in frame]",
        )
    try:
        values = _of_objects(name, series) if series.dtype == object else pa.array(series, from_pandas=True)
    except _NOT_ARROW as error:
        raise _refused(name, series, error) from error
    if isinstance(values.type, pa.BaseExtensionType) and values.type.extension_name.startswith("pandas."):
        raise _no_type(name, f"dtype {series.dtype} has no column type")
    return pa.field(name, values.type), chunked(values)


def from_polars(series: pl.Series) -> tuple[pa.Field, pa.ChunkedArray]:
    """A polars column as Arrow.

    Raises
    ------
    DataError
        If its type has no counterpart.
    """
    try:
        if str(series.dtype) == "Object":  # would export memory addresses
            raise TypeError("Object")
        values = series.to_arrow()
    except _NOT_ARROW as error:
        raise _no_type(series.name, f"dtype {series.dtype} has no column type") from error
    return pa.field(series.name, values.type), chunked(values)


def _no_type(name: str, problem: str) -> DataError:
    return DataError(
        f"column {name!r}: {problem}",
        column=name,
        hint=f"Convert it first, for example frame[{name!r}].astype('string')",
    )


def _refused(name: str, series: pd.Series[Any], error: Exception) -> DataError:
    """The error for a column that Arrow does not take, with the row of the first value it does not take alone."""
    found = _no_type(name, f"values of dtype {series.dtype} have no exact common type")
    found.row = next((row for row, value in enumerate(series, 1) if not _is_arrow(value)), None)
    if found.row is not None:
        no_text = isinstance(error, UnicodeError)
        problem = "the text holds half a surrogate pair, which is no character" if no_text else "no type has the value"
        found.message = f"column {name!r}, row {found.row}: {problem}"
    return found


def _is_arrow(value: Any) -> bool:
    try:
        pa.array([value], from_pandas=True)
    except _NOT_ARROW:
        return False
    return True


def _of_objects(name: str, series: pd.Series[Any]) -> pa.Array | pa.ChunkedArray:
    """Python objects of one kind. Times become datetime64, which keeps nanoseconds; NaN within a list is no NULL."""
    kinds = sorted({_family(value) for value in series[series.notna()]})
    if len(kinds) > 1:
        raise _no_type(name, f"it mixes {' and '.join(kinds)}")
    if kinds == ["times with a time zone"]:
        raise _no_type(name, "a time of day cannot have a time zone")
    try:
        if kinds in (["timestamps"], ["timestamps with a time zone"]):
            series = pd.to_datetime(series, utc=len(kinds[0]) > len("timestamps"))
        elif kinds == ["durations"]:
            series = pd.to_timedelta(series)
    except ValueError as error:
        raise _no_type(name, "a value is out of range") from error
    if kinds in (["lists"], ["mappings"]):
        missing = series.isna()
        return pa.array([None if gap else _inner(value) for value, gap in zip(series, missing, strict=True)])
    return pa.array(series, from_pandas=True)


def _inner(value: Any) -> Any:
    """A nested value with None for what pandas calls missing but NaN."""
    if value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, dict):
        return {key: _inner(item) for key, item in value.items()}
    is_list = isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.dtype == object)
    return [_inner(item) for item in value] if is_list else value


def _family(value: Any) -> str:
    for types, family in _FAMILIES:
        if isinstance(value, types):
            zoned = getattr(value, "tzinfo", None) is not None
            return f"{family} with a time zone" if zoned else family
    return f"{type(value).__qualname__} objects"


def chunked(values: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    """The values as a chunked array."""
    return values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])


def akin(given: pa.DataType, field: pa.Field) -> bool:
    """Whether values of a type are of the kind a field holds, whatever their size.

    Examples
    --------
    >>> akin(pa.int64(), pa.field("a", pa.int8())), akin(pa.string(), pa.field("a", pa.int8()))
    (True, False)
    """
    if pa.types.is_list(given) and pa.types.is_list(field.type):  # one without items is akin to any other
        return akin(given.value_type, field.type.value_field)
    if pa.types.is_struct(given) and pa.types.is_struct(field.type) and given.names == field.type.names:
        return all(akin(inner.type, wanted) for inner, wanted in zip(given, field.type, strict=True))
    kind, wanted = _kind(given), "decimal" if tag(field) == "numeric" else _kind(field.type)
    return kind in {"null", wanted} or (kind, wanted) in {("bytes", "uuid"), ("integer", "decimal")}


def _kind(type_: pa.DataType) -> str:
    """What a type's values are, whatever their size."""
    t = pa.types
    if isinstance(type_, pa.BaseExtensionType) or t.is_decimal(type_):
        return "decimal" if t.is_decimal(type_) else "uuid" if type_ == pa.uuid() else str(type_)
    type_ = normal(type_)
    if t.is_list(type_):
        return f"list of {_kind(type_.value_type)}"
    if t.is_map(type_):
        return f"map of {_kind(type_.key_type)} to {_kind(type_.item_type)}"
    if t.is_struct(type_):
        return "struct of " + ", ".join(f"{inner.name!r} {_kind(inner.type)}" for inner in type_)
    for is_kind, kind in ((t.is_integer, "integer"), (t.is_floating, "float"), (t.is_binary, "bytes")):
        if is_kind(type_):
            return kind
    return str(type_)


def fit(values: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    """The values in a field's type, exactly.

    Raises
    ------
    DataError
        Naming the column, and the row of a value that does not fit.

    Examples
    --------
    >>> fit(pa.chunked_array([[1.0, None]]), pa.field("a", pa.int8())).to_pylist()
    [1, None]
    """
    pieces, row = [], 1
    for piece in _pieces(values):
        pieces.append(_fitted(piece, field, first_row=row))
        row += len(piece)
    return pa.chunked_array(pieces, type=field.type)


def _pieces(values: pa.ChunkedArray) -> Iterator[pa.Array]:
    for chunk in values.chunks:
        step = max(1, len(chunk) * _PIECE // max(_PIECE, chunk.nbytes))
        for start in range(0, len(chunk), step):
            yield chunk.slice(start, step)


def _fitted(values: pa.Array, field: pa.Field, *, first_row: int) -> pa.Array:
    if values.null_count == len(values):
        nulls: pa.Array = pa.nulls(len(values), field.type)
        return nulls
    if tag(field) == "numeric" and not pa.types.is_string(values.type):
        return _digits(values)
    made: pa.Array = cast_column(values, field.type, column=field.name, first_row=first_row)
    return made


def _digits(values: pa.Array) -> pa.Array:
    """Decimals or integers as text, without needless zeros."""
    text = values.cast(pa.string())
    for pattern, kept in ((r"^-?0E-\d+$", "0"), (r"(\.\d*?)0+$", r"\1"), (r"\.$", "")):
        text = pc.replace_substring_regex(text, pattern, kept)
    return text
