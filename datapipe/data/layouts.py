"""Casts Arrow does not have, done on the bytes of a whole column: intervals, UUIDs and hexadecimal."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from datapipe.data import compute as pc
from datapipe.data.types import INTERVAL

_INTERVAL = np.dtype([("months", "<i4"), ("days", "<i4"), ("nanoseconds", "<i8")])
_HEX = np.array([[ord(digit) for digit in f"{byte:02x}"] for byte in range(256)], np.uint8)
# Where the 32 digits stand among the 36 characters of a UUID.
_DIGITS = np.array([i for i in range(36) if i not in {8, 13, 18, 23}])


def interval_text(values: pa.Array) -> pa.Array:
    """Intervals as every database reads them: ``1 mon 2 day 3 microseconds``.

    Raises
    ------
    pyarrow.ArrowInvalid
        If one is finer than a microsecond.

    Examples
    --------
    >>> interval_text(pa.array([pa.MonthDayNano([1, 2, 3000])])).to_pylist()
    ['1 mon 2 day 3 microseconds']
    """
    raw = values.buffers()[1]
    parts = np.frombuffer(raw, _INTERVAL)[values.offset :][: len(values)] if raw else np.empty(0, _INTERVAL)
    micros, rest = np.divmod(parts["nanoseconds"], 1000)
    valid = values.is_valid()
    if pc.any(pc.and_(valid, pa.array(rest != 0))).as_py():
        raise pa.ArrowInvalid("finer than a microsecond")
    pieces: list[pa.Array] = []
    for numbers, unit in ((parts["months"], " mon "), (parts["days"], " day "), (micros, " microseconds")):
        pieces += [pa.array(numbers).cast(pa.string()), pa.scalar(unit)]
    return pc.if_else(valid, pc.binary_join_element_wise(*pieces, ""), pa.scalar(None, pa.string()))


def to_interval(values: pa.Array) -> pa.Array:
    """Durations as intervals of 0 months, 0 days and their nanoseconds.

    Raises
    ------
    pyarrow.ArrowInvalid
        If one is longer than 292 years.

    Examples
    --------
    >>> to_interval(pa.array([1, None], pa.duration("s"))).to_pylist()
    [MonthDayNano(months=0, days=0, nanoseconds=1000000000), None]
    """
    nanoseconds = values.cast(pa.duration("ns")).view(pa.int64())
    parts = np.zeros(len(values), _INTERVAL)
    parts["nanoseconds"] = nanoseconds.fill_null(0).to_numpy()
    made = pa.Array.from_buffers(INTERVAL, len(values), [None, pa.py_buffer(parts.tobytes())])
    return pc.if_else(values.is_valid(), made, pa.nulls(len(values), INTERVAL))


def uuid_text(values: pa.Array) -> pa.Array:
    """UUIDs, as their 16 bytes, in their usual form.

    Examples
    --------
    >>> uuid_text(pa.array([bytes(15) + b"\\x07"], pa.binary(16))).to_pylist()
    ['00000000-0000-0000-0000-000000000007']
    """
    filled = values.fill_null(bytes(16))
    raw = np.frombuffer(filled.buffers()[1], np.uint8) if len(values) else np.empty(0, np.uint8)
    digits = _HEX[raw[16 * filled.offset :][: 16 * len(values)]].reshape(len(values), 32)
    characters = np.full((len(values), 36), ord("-"), np.uint8)
    characters[:, _DIGITS] = digits
    offsets = np.arange(0, 36 * (len(values) + 1), 36, dtype=np.int32)
    texts = pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(characters.tobytes()))
    return pc.if_else(values.is_valid(), texts, pa.scalar(None, pa.string()))


def hex_text(values: pa.Array) -> pa.Array:
    """Bytes as hexadecimal digits.

    Examples
    --------
    >>> hex_text(pa.array([b"\\x00\\xff", b"", None])).to_pylist()
    ['00ff', '', None]
    """
    filled = values.fill_null(b"")
    _, starts, data = filled.buffers()
    places = (
        np.frombuffer(starts, np.int32)[filled.offset :][: len(filled) + 1] if len(filled) else np.zeros(1, np.int32)
    )
    raw = np.frombuffer(data, np.uint8)[places[0] : places[-1]] if data else np.empty(0, np.uint8)
    offsets = 2 * (places - places[0])
    texts = pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(_HEX[raw].tobytes()))
    return pc.if_else(values.is_valid(), texts, pa.scalar(None, pa.string()))


def uuid_bytes(values: pa.Array) -> pa.Array:
    """The 16 bytes of UUIDs given as text.

    Raises
    ------
    pyarrow.ArrowInvalid
        If a text is no UUID.

    Examples
    --------
    >>> uuid_bytes(pa.array(["00000000-0000-0000-0000-000000000007", None])).to_pylist()[0][-1]
    7
    """
    digits = pc.replace_substring(values.fill_null("0" * 32), "-", "")
    if not pc.all(pc.match_substring_regex(digits, "^[0-9a-fA-F]{32}$"), min_count=0).as_py():
        raise pa.ArrowInvalid("not a UUID")
    raw = bytes.fromhex("".join(digits.to_pylist()))
    made = pa.Array.from_buffers(pa.binary(16), len(values), [None, pa.py_buffer(raw)])
    return pc.if_else(values.is_valid(), made, pa.nulls(len(values), pa.binary(16)))
