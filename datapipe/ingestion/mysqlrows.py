"""The rows of a MySQL result, from the protocol's packets into Arrow, without a Python object for each value.

A row is a packet: 3 bytes with its length, 1 with its number, then each value as text behind its length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pymysql
from pymysql.constants import CR
from pymysql.protocol import MysqlPacket

from datapipe.data.watch import Watch
from datapipe.ingestion.rows import Array

Places = npt.NDArray[np.int32]

_HEADER = struct.Struct("<I")  # length and number in one
_LENGTH = 0xFF_FF_FF  # its bits; as a length, it says that the row goes on in the next packet
_LAST = 0xFE  # the first byte of the short packet after the last row; 0xFF is an error's
_NULL, _SHORT = 0xFB, 0xFA  # instead of a length: a NULL; and the greatest length that takes one byte
_LONG = ((0xFC, 2), (0xFD, 3), (0xFE, 8))  # what is before a greater one, and how many bytes that has
_WIDEST = 16  # bytes of a value in Arrow, beside its text
_FIRST = 1 << 14
_READ = 1 << 18
_LOST = "Lost connection to MySQL server during query"


def columns_of(raw: Any, watch: Watch, size: int) -> Iterator[list[Array]]:
    """The rows of a connection's unbuffered result: a binary array for each column, some thousand rows at a time.

    Parameters
    ----------
    raw : pymysql.Connection
        No row of its result has been read.
    watch : Watch
        Told of each wait for the server.
    size : int
        About how many bytes the arrays may take, whatever their types become.

    Raises
    ------
    pymysql.Error
        If the server breaks the query off, or the connection ends before the last row.
    """
    result, data, most = raw._result, bytearray(), min(_FIRST, size)
    while result.unbuffered_active:
        starts: list[int] = []
        end = 0
        while result.unbuffered_active and (not starts or max(end, len(starts) * result.field_count * _WIDEST) < most):
            data += _read(raw, watch)
            end = _find_rows(raw, data, end, starts)
        if starts:
            yield split(bytes(memoryview(data)[:end]), starts, result.field_count)
        data, most = data[end:], min(most * 8, size)


def split(data: bytes, starts: Sequence[int], width: int) -> list[Array]:
    """The columns of rows that begin at ``starts``, with nothing but packet headers between them.

    Raises
    ------
    pymysql.InternalError
        If a row has fewer or more values.

    Examples
    --------
    >>> row = bytes([1]) + b"7" + bytes([0xFB])
    >>> [column.to_pylist() for column in split(row + bytes(4) + row, [0, 7], 2)]
    [[b'7', b'7'], [None, None]]
    """
    octets, rows = np.frombuffer(data, np.uint8), len(starts)
    # The values and what is between them are taken for the elements of one array, out of which Arrow picks each column.
    bounds = np.empty((rows, 2 * width), np.int32)
    end = np.array(starts, np.int32)
    missing = []
    for index in range(width):
        begin, end, null = _found(octets, end)
        bounds[:, 2 * index], bounds[:, 2 * index + 1] = begin, end
        missing.append(null)
    if not np.array_equal(end, np.append(np.array(starts[1:], np.int32) - 4, np.int32(len(data)))):
        raise pymysql.InternalError(f"a row has not {width} values")
    offsets = pa.py_buffer(np.append(bounds, np.int32(len(data))))
    elements = pa.Array.from_buffers(pa.binary(), bounds.size, [None, offsets, pa.py_buffer(data)])
    places = pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(np.arange(0, bounds.size, 2 * width))])
    return [_with_nulls(elements.slice(2 * index).take(places), null) for index, null in enumerate(missing)]


def _found(octets: npt.NDArray[np.uint8], at: Places) -> tuple[Places, Places, npt.NDArray[np.bool_] | None]:
    """Where the values whose lengths are at ``at`` begin and end, and which are NULL; None for none of them."""
    first = octets[at]
    begin, length = at + np.int32(1), first.astype(np.int32)
    if not (first > _SHORT).any():
        return begin, begin + length, None
    null = first == _NULL
    length[null] = 0
    for mark, size in _LONG:
        these = np.flatnonzero(first == mark)
        length[these] = sum(octets[begin[these] + place].astype(np.int64) << 8 * place for place in range(size))
        begin[these] += size
    return begin, begin + length, null


def _with_nulls(values: Array, null: npt.NDArray[np.bool_] | None) -> Array:
    if null is None or not null.any():
        return values
    present = pa.py_buffer(np.packbits(~null, bitorder="little"))
    return pa.Array.from_buffers(values.type, len(values), [present, *values.buffers()[1:]])


def _read(raw: Any, watch: Watch) -> bytes:
    """What has come from the server, at least a byte; it fails as PyMySQL does."""
    with watch.waiting():  # whose error it is, if the watch has cut the line
        try:
            found: bytes = raw._rfile.read1(_READ)
        except OSError as error:
            raise _lost(raw, f" ({error})") from None
        if not found:
            raise _lost(raw)
    return found


def _lost(raw: Any, why: str = "") -> pymysql.OperationalError:
    raw._force_close()
    return pymysql.OperationalError(CR.CR_SERVER_LOST, f"{_LOST}{why}")


def _find_rows(raw: Any, data: bytearray, at: int, starts: list[int]) -> int:
    """Note where the whole rows from ``at`` on begin; returns where the first that is not whole does."""
    known, header, note = len(data), _HEADER.unpack_from, starts.append
    while at + 5 <= known:
        begin = at + 4
        end = begin + (header(data, at)[0] & _LENGTH)
        if end > known:
            break
        if data[begin] >= _LAST and (end - begin < 9 or data[begin] > _LAST):
            _finish(raw, bytes(data[begin:end]))
            break
        if end - begin == _LENGTH:
            end = _join(data, end)
            if not end:
                break
            known = len(data)
        note(begin)
        at = end
    return at


def _join(data: bytearray, end: int) -> int:
    """Take out the headers of the packets in which a row goes on; returns where it ends, 0 if not all of it is here."""
    headers, length = [], _LENGTH
    while length == _LENGTH and end + 4 <= len(data):
        length = _HEADER.unpack_from(data, end)[0] & _LENGTH
        headers.append(end)
        end += 4 + length
    if length == _LENGTH or end > len(data):
        return 0
    for header in reversed(headers):
        del data[header : header + 4]
    return end - 4 * len(headers)


def _finish(raw: Any, payload: bytes) -> None:
    """Let PyMySQL read the packet that ends the rows."""
    result, packet = raw._result, MysqlPacket(payload, raw.encoding)
    result.unbuffered_active, result.connection = False, None
    if packet.is_error_packet():
        packet.raise_for_error()
    result._check_packet_is_eof(packet)
