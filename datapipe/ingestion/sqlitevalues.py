"""One column of SQLite's rows as an Arrow array, each value held against the column's type."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from datapipe.data.casting import cast_column
from datapipe.data.decimals import from_doubles
from datapipe.data.types import describe, tag
from datapipe.errors import DataError
from datapipe.ingestion.rows import Array, Field, check_classes
from datapipe.ingestion.texts import parse

Make = Callable[[Sequence[Any]], "Array | None"]  # raises TypeError for a value that it cannot take

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
    made = _at_once(_from_whole, values, 0)
    if made is None:
        check_classes(values, {int}, field, first_row)
        made = pa.array(values, pa.int64())
    return made


def _doubles(values: Sequence[Any], field: Field, first_row: int) -> Array:
    made = _at_once(_from_numbers, values, 0.0)
    if made is None:
        check_classes(values, {float, int}, field, first_row)
        _check_doubles(values, field, first_row)
        made = pa.array(values, pa.float64())
    return made


def _texts(values: Sequence[Any], field: Field, first_row: int) -> Array:
    made = _at_once(_from_texts, values, "")
    if made is None:
        check_classes(values, {str}, field, first_row)
        made = pa.array(values, pa.string())
    return made


def _numbers(values: Sequence[Any], field: Field, first_row: int) -> Array:
    """Numbers in decimal, which SQLite holds as whole numbers, as doubles or as text."""
    type_ = field.type
    if pa.types.is_decimal(type_):
        made = _at_once(lambda numbers: from_doubles(np.frombuffer(array("d", numbers)), type_), values, 0.0)
        if made is not None:
            return made
    check_classes(values, {int, float, str}, field, first_row)
    exact = type_.precision > 15 if pa.types.is_decimal(type_) else tag(field) == "numeric"
    digits = _digits(values, field, first_row, exact=exact) if set(map(type, values)) - {str, type(None)} else values
    return parse(pa.array(digits, pa.string()), field, first_row=first_row)


def _at_once(make: Make, values: Sequence[Any], absent: Any) -> Array | None:
    """What ``make`` gives for the values, with ``absent`` for each NULL; None if it leaves them to slower ways."""
    try:
        return make(values)
    except TypeError:
        pass
    try:
        made = make([absent if value is None else value for value in values])
    except TypeError:
        return None
    if made is None:
        return None
    present = np.frombuffer(bytes([value is not None for value in values]), np.uint8)
    bits = pa.py_buffer(np.packbits(present, bitorder="little"))
    return pa.Array.from_buffers(made.type, len(made), [bits, *made.buffers()[1:]])


def _from_whole(values: Sequence[int]) -> Array:
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(array("q", values))])


def _from_numbers(values: Sequence[float]) -> Array | None:
    """Numbers among which none can be a whole one that was rounded."""
    numbers = array("d", values)
    if not (np.abs(np.frombuffer(numbers)) < _MOST_EXACT).all():
        return None
    return pa.Array.from_buffers(pa.float64(), len(values), [None, pa.py_buffer(numbers)])


def _from_texts(values: Sequence[str]) -> Array | None:
    """Texts from one that holds them all, each with a zero behind it; a zero within one would show in their number."""
    whole = ("\0".join(values) + "\0").encode()
    ends = np.flatnonzero(np.frombuffer(whole, np.uint8) == 0)
    if len(ends) != len(values) or len(whole) > _MOST_BYTES:
        return None
    offsets = np.append(0, ends - np.arange(len(values))).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(whole.replace(b"\0", b""))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


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
