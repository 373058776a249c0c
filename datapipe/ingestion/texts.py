"""Values that a source holds as text, in the type they stand for."""

from __future__ import annotations

import json
from typing import NoReturn

import pyarrow as pa

from datapipe.data import compute as pc
from datapipe.data.casting import cast_column
from datapipe.data.types import tag
from datapipe.errors import DataError
from datapipe.ingestion.rows import Array, Field

_NUMBER = r"^([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?|NaN|-?Infinity)$"


def parse(values: Array, field: Field, *, first_row: int = 1) -> Array:
    """A text column in the type of ``field``, exactly.

    Raises
    ------
    DataError
        Naming the column and the row of the first text that is not of that type.

    Examples
    --------
    >>> parse(pa.array(["10:30:00", None]), pa.field("at", pa.time64("us"))).to_pylist()
    [datetime.time(10, 30), None]
    """
    if tag(field) == "numeric":
        return _matching(values, _NUMBER, "numeric", field.name, first_row)
    if tag(field) == "json":
        return _json(values, field.name, first_row)
    if field.type == pa.uuid():
        return _uuids(values, field.name, first_row)
    return cast_column(values, field.type, column=field.name, first_row=first_row)


def _matching(values: Array, pattern: str, what: str, column: str, first_row: int) -> Array:
    fits = pc.match_substring_regex(values, pattern)
    if pc.all(fits, min_count=0).as_py():
        return values
    raise _not_of(what, column, first_row + fits.index(False).as_py())


def _not_of(what: str, column: str, row: int) -> DataError:
    return DataError(
        f"column {column!r}, row {row}: the text is not of type {what}",
        column=column,
        row=row,
        hint="Read the column as text and convert it in a .sql() step",
    )


def _json(values: Array, column: str, first_row: int) -> Array:
    for row, text in enumerate(values.to_pylist(), first_row):
        try:
            if text is not None:
                _JSON.decode(text)
        except RecursionError:  # too deep for Python: whoever stores it decides
            continue
        except ValueError:
            raise _not_of("json", column, row) from None
    return values


def _no_json(constant: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python takes for JSON."""
    raise ValueError(constant)


# Whether it is JSON is all that is asked: numbers need not be made.
_JSON = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_no_json)


def _uuids(values: Array, column: str, first_row: int) -> Array:
    digits = _matching(pc.replace_substring(values, "-", ""), "^[0-9a-fA-F]{32}$", "uuid", column, first_row)
    raw = bytes.fromhex("".join(text or "0" * 32 for text in digits.to_pylist()))
    storage = pa.Array.from_buffers(pa.binary(16), len(values), [None, pa.py_buffer(raw)])
    present = pc.if_else(values.is_valid(), storage, pa.scalar(None, pa.binary(16)))
    return pa.ExtensionArray.from_storage(pa.uuid(), present)
