"""Values that a source holds as text, in the type they stand for."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from datapipe.data.casting import cast_column
from datapipe.data.types import tag
from datapipe.errors import DataError
from datapipe.ingestion.rows import Array, Field

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


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
    if field.type == pa.uuid():
        return _uuids(values, field.name, first_row)
    return cast_column(values, field.type, column=field.name, first_row=first_row)


def _matching(values: Array, pattern: str, what: str, column: str, first_row: int) -> Array:
    fits = pc.match_substring_regex(values, pattern)
    if pc.all(fits, min_count=0).as_py():
        return values
    row = first_row + fits.index(False).as_py()
    raise DataError(
        f"column {column!r}, row {row}: the text is not of type {what}",
        column=column,
        row=row,
        hint="Read the column as text and convert it in a .sql() step",
    )


def _uuids(values: Array, column: str, first_row: int) -> Array:
    digits = _matching(pc.replace_substring(values, "-", ""), "^[0-9a-fA-F]{32}$", "uuid", column, first_row)
    raw = bytes.fromhex("".join(text or "0" * 32 for text in digits.to_pylist()))
    storage = pa.Array.from_buffers(pa.binary(16), len(values), [None, pa.py_buffer(raw)])
    present = pc.if_else(values.is_valid(), storage, pa.scalar(None, pa.binary(16)))
    return pa.ExtensionArray.from_storage(pa.uuid(), present)
