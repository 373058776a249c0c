"""Digests of rows, the same in every version and on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from datapipe.data import compute as pc

SIZE = 16  # bytes: that two of a billion rows have the same one is less likely than a broken disk
_WHOLE = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}


def digests(batch: pa.RecordBatch, columns: Sequence[str]) -> list[bytes]:
    """A digest of each row, over the columns named; one that is not there counts as NULL.

    Examples
    --------
    >>> rows = pa.record_batch({"a": [1, 1, 2], "b": ["x", "x", None]})
    >>> one, same, other = digests(rows, ["a", "b"])
    >>> one == same, one == other, len(one)
    (True, False, 16)
    """
    parts: list[Any] = []
    for name in columns:
        place = batch.schema.get_field_index(name)
        texts = pa.nulls(batch.num_rows, pa.binary()) if place < 0 else _bytes(batch.column(place))
        sizes = pc.binary_length(texts).cast(pa.string()).cast(pa.binary())
        parts += [pc.fill_null(sizes, b"-"), pc.fill_null(texts, b"")]  # with its length no value runs into the next
    if not parts:
        return [hashlib.blake2b(digest_size=SIZE).digest()] * batch.num_rows
    joined = pc.binary_join_element_wise(*parts, b":")
    return [hashlib.blake2b(row, digest_size=SIZE).digest() for row in joined.to_pylist()]


def _bytes(values: pa.Array) -> pa.Array:
    """Each value as bytes that no other value of its column has."""
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    t = values.type
    if pa.types.is_boolean(t):
        values, t = values.cast(pa.int8()), pa.int8()
    if pa.types.is_floating(t):  # by its bits: no text of it is the same in all versions; there is but one NaN
        values = pc.if_else(pc.is_nan(values), pa.scalar(float("nan"), t), values)
    if pa.types.is_decimal(t):
        return values.cast(pa.string()).cast(pa.binary())
    if pa.types.is_primitive(t) and t.bit_width in _WHOLE:
        return values.view(_WHOLE[t.bit_width]).cast(pa.string()).cast(pa.binary())
    is_text = pa.types.is_string(t) or pa.types.is_binary(t)
    return values.cast(pa.binary()) if is_text else _listed(values)


def _listed(values: pa.Array) -> pa.Array:
    """Lists, structures and the like, value by value."""
    made = (None if v is None else json.dumps(v, default=repr, sort_keys=True).encode() for v in values.to_pylist())
    return pa.array(list(made), pa.binary())
