"""One column of SQLite's rows as an Arrow array, each value held against the column's type."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from datapipe.data.casting import cast_column
from datapipe.data.decimals import from_doubles
from datapipe.data.types import describe, tag
from datapipe.errors import DataError
from datapipe.ingestion.rows import Array, Field, check_classes
from datapipe.ingestion.texts import parse

_OTHERS: dict[pa.DataType, frozenset[type]] = {pa.null(): frozenset(), pa.binary(): frozenset({bytes})}
_MOST_EXACT = 2**53
_MOST_BYTES = 2**31 - 1  # of the text in one array


def to_array(values: Sequence[Any], field: Field, first_row: int) -> Array:
    """The values of a column.

    Raises
    ------
    DataError
        Naming the column and the row of the first value that is not of the field's type.

    Examples
    --------
    >>> to_array([1, 2.5, None], pa.field("price", pa.decimal128(9, 2)), 1).to_pylist()
    [Decimal('1.00'), Decimal('2.50'), None]
    """
    type_ = field.type
    if pa.types.is_decimal(type_) or tag(field) in {"numeric", "json"}:
        return _numbers(values, field, first_row)
    if type_ == pa.bool_():
        return cast_column(_whole(values, field, first_row), type_, column=field.name, first_row=first_row)
    if type_ == pa.int64():
        return _whole(values, field, first_row)
    if type_ == pa.float64():
        return _doubles(values, field, first_row)
    if type_ not in _OTHERS:
        return parse(_texts(values, field, first_row), field, first_row=first_row)
    check_classes(values, _OTHERS[type_], field, first_row)
    made: Array = pa.array(values, type_)
    return made


def _whole(values: Sequence[Any], field: Field, first_row: int) -> Array:
    try:
        numbers = array("q", values)  # which takes nothing but whole numbers
    except TypeError:
        check_classes(values, {int}, field, first_row)
        made: Array = pa.array(values, pa.int64())
        return made
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(numbers)])


def _doubles(values: Sequence[Any], field: Field, first_row: int) -> Array:
    classes = set(map(type, values))
    if classes == {float}:
        return pa.Array.from_buffers(pa.float64(), len(values), [None, pa.py_buffer(array("d", values))])
    check_classes(values, {float, int}, field, first_row)
    if int in classes:
        _check_doubles(values, field, first_row)
    made: Array = pa.array(values, pa.float64())
    return made


def _texts(values: Sequence[Any], field: Field, first_row: int) -> Array:
    """Texts from one that holds them all, and their lengths, which is quicker than one by one."""
    try:
        whole = "".join(values)  # which takes nothing but texts
    except TypeError:
        whole = "é"
    if whole.isascii() and len(whole) <= _MOST_BYTES:
        ends = np.cumsum(np.fromiter(map(len, values), np.int32, len(values)), dtype=np.int32)
        offsets = pa.py_buffer(np.append(np.int32(0), ends))
        return pa.Array.from_buffers(pa.string(), len(values), [None, offsets, pa.py_buffer(whole.encode())])
    check_classes(values, {str}, field, first_row)
    made: Array = pa.array(values, pa.string())
    return made


def _numbers(values: Sequence[Any], field: Field, first_row: int) -> Array:
    """Numbers in decimal, which SQLite holds as whole numbers, as doubles or as text."""
    classes = set(map(type, values))
    if pa.types.is_decimal(field.type) and classes <= {int, float}:
        made = from_doubles(np.array(array("d", values)), field.type)
        if made is not None:
            return made
    check_classes(values, {int, float, str}, field, first_row)
    exact = field.type.precision > 15 if pa.types.is_decimal(field.type) else tag(field) == "numeric"
    digits = _digits(values, field, first_row, exact=exact) if classes - {str, type(None)} else values
    return parse(pa.array(digits, pa.string()), field, first_row=first_row)


def _check_doubles(values: Sequence[Any], field: Field, first_row: int) -> None:
    """Refuse a whole number that no double holds, in a column that also has fractions."""
    for index, value in enumerate(values):
        if type(value) is int and abs(value) > _MOST_EXACT:
            row = first_row + index
            raise DataError(
                f"column {field.name!r}, row {row}: the whole number does not fit double exactly",
                column=field.name,
                row=row,
                hint=f'Read the column as text: CAST("{field.name}" AS TEXT)',
            )


def _digits(values: Sequence[Any], field: Field, first_row: int, *, exact: bool) -> list[str | None]:
    """Numbers as text. Where a decimal may have more than 15 digits, a stored double has lost some already."""
    for index, value in enumerate(values):
        if exact and type(value) is float and float(f"{value:.15g}") != value:
            row = first_row + index
            raise DataError(
                f"column {field.name!r}, row {row}: an approximate number in a column of {describe(field)}",
                column=field.name,
                row=row,
                hint=f'Read it as what it is: CAST("{field.name}" AS REAL)',
            )
    return [None if value is None else str(value) for value in values]
