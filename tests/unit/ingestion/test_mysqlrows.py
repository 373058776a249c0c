"""The splitting of packets: any rows, cut anywhere, come back as they were sent."""

from __future__ import annotations

import io
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pymysql
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from datapipe.ingestion.mysqlrows import columns_of, split

END = b"\xfe\0\0\2\0"
DENIED = b"\xff" + (1317).to_bytes(2, "little") + b"#70100Query execution was interrupted"
MOST = 0xFF_FF_FF


def lengthened(value: bytes | None) -> bytes:
    """A value as the protocol has it."""
    if value is None:
        return b"\xfb"
    size = len(value)
    if size < 251:
        return bytes([size]) + value
    mark, width = (0xFC, 2) if size < 1 << 16 else (0xFD, 3) if size < 1 << 24 else (0xFE, 8)
    return bytes([mark]) + size.to_bytes(width, "little") + value


def packets(*payloads: bytes) -> bytes:
    """Payloads in packets, numbered, the long ones in several."""
    sent = bytearray()
    number = 5
    for payload in payloads:
        for start in range(0, len(payload) + 1, MOST):
            piece = payload[start : start + MOST]
            sent += len(piece).to_bytes(3, "little") + bytes([number % 256]) + piece
            number += 1
    return bytes(sent)


class Pieces(io.RawIOBase):
    """A file that gives at most so many bytes at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        self.data, self.size = io.BytesIO(data), size

    def read1(self, count: int) -> bytes:
        return self.data.read(min(count, self.size))


def connection(data: bytes, width: int, size: int) -> Any:
    result = SimpleNamespace(unbuffered_active=True, field_count=width, _check_packet_is_eof=bool)
    raw = SimpleNamespace(_rfile=Pieces(data, size), _result=result, encoding="utf8", closed=False)
    raw._force_close = lambda: setattr(raw, "closed", True)
    return raw


WATCH: Any = SimpleNamespace(waiting=nullcontext)


def read(data: bytes, width: int, *, size: int = 1 << 16, batch: int = 1 << 20) -> list[tuple[bytes | None, ...]]:
    raw = connection(data, width, size)
    found = []
    for columns in columns_of(raw, WATCH, batch):
        found += list(zip(*(column.to_pylist() for column in columns), strict=True))
    assert not raw._result.unbuffered_active
    return found


VALUES = st.none() | st.binary(max_size=6) | st.integers(249, 260).map(lambda size: b"x" * size)


@given(st.integers(1, 4).flatmap(lambda width: st.lists(st.tuples(*[VALUES] * width), max_size=30)), st.integers(1, 40))
@example([(b"\xfe" * 70_000, None)], 4096)
@example([(None,), (b"",), (b"\xfb",)], 1)
def test_any_rows_cut_anywhere_are_found(rows: list[tuple[bytes | None, ...]], size: int) -> None:
    width = len(rows[0]) if rows else 1
    data = packets(*(b"".join(map(lengthened, row)) for row in rows), END)
    assert read(data, width, size=size, batch=64) == rows


@pytest.mark.parametrize("size", [MOST - 5, 2 * MOST + 7])
def test_a_row_in_several_packets_is_one(size: int) -> None:
    rows = [(b"before", b"1"), (b"a" * size, None), (b"after", b"2")]
    data = packets(*(b"".join(map(lengthened, row)) for row in rows), END)
    assert read(data, 2, size=1 << 20) == rows


def test_an_error_among_the_rows_is_raised_and_never_taken_for_the_end() -> None:
    raw = connection(packets(lengthened(b"1"), DENIED), 1, 1 << 16)
    with pytest.raises(pymysql.OperationalError, match="interrupted"):
        list(columns_of(raw, WATCH, 1 << 20))


@pytest.mark.parametrize("cut", [1, 3, 9])
def test_a_connection_that_ends_before_the_last_row_is_lost(cut: int) -> None:
    raw = connection(packets(lengthened(b"1"), END)[:-cut], 1, 1 << 16)
    with pytest.raises(pymysql.OperationalError, match="Lost connection"):
        list(columns_of(raw, WATCH, 1 << 20))
    assert raw.closed


def test_arrays_stay_small_when_most_values_are_missing() -> None:
    raw = connection(packets(*[b"\xfb" * 8] * 5_000, END), 8, 4096)
    assert max(len(columns[0]) for columns in columns_of(raw, WATCH, 1 << 16)) * 8 * 16 <= 2 * (1 << 16)


def test_a_row_with_another_number_of_values_is_refused() -> None:
    with pytest.raises(pymysql.InternalError, match="not 2 values"):
        split(b"\x01a\x01b\x01c", [0], 2)
