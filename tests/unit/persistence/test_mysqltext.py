"""Arrow columns as text for MySQL: what is written, and what is refused because the server would change it."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from datapipe.errors import DataError
from datapipe.persistence.mysqltext import encoder, sent_type

UTC = dt.UTC
WRITTEN: list[tuple[str, pa.Array, list[str]]] = [
    ("tinyint(1)", pa.array([True, False, None]), ["1", "0", "NULL"]),
    ("bigint(20) unsigned", pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
    ("decimal(38,20)", pa.array([Decimal("1E-8")], pa.decimal128(38, 20)), ["'1.000000000000E-8'"]),
    ("decimal(65,30)", pa.array(["12.50", "-0"]), ["'12.50'", "'-0'"]),
    ("double", pa.array([0.1, 1e300]), ["'0.1'", "'1e+300'"]),
    ("longtext", pa.array(["it's", "NULL", "", "a\\b\n"]), ["'it''s'", "'NULL'", "''", "'a\\b\n'"]),
    ("longblob", pa.array([b"\x00\xff", b""]), ["'00ff'", "''"]),
    ("bit(8)", pa.array(["00001111"]), ["15"]),
    ("bit(1)", pa.array([True]), ["1"]),
    ("date", pa.array([dt.date(1, 2, 3)]), ["'0001-02-03'"]),
    ("datetime", pa.array([dt.datetime(2024, 1, 2, 3, 4, 5)], pa.timestamp("us")), ["'2024-01-02 03:04:05.000000'"]),
    (
        "timestamp(6)",
        pa.array([dt.datetime(2024, 1, 2, 3, 4, 5, 6, UTC)], pa.timestamp("us", "UTC")),
        ["'2024-01-02 03:04:05.000006'"],
    ),
    ("uuid", pa.array([uuid.UUID(int=7).bytes], pa.uuid()), [f"'{uuid.UUID(int=7)}'"]),
    ("set('x','y')", pa.array(["x,y", ""]), ["'x,y'", "''"]),
]


@pytest.mark.parametrize(
    ("declared", "values", "expected"), WRITTEN, ids=lambda value: value if isinstance(value, str) else ""
)
def test_values_are_written_exactly(declared: str, values: pa.Array, expected: list[str]) -> None:
    sent = sent_type(declared, values.type)
    assert sent == values.type
    assert encoder(declared, sent)(values, "v", 1).to_pylist() == expected


REFUSED: list[tuple[str, pa.DataType, Any]] = [
    ("double", pa.float64(), math.nan),
    ("float", pa.float32(), math.inf),
    ("decimal(65,30)", pa.string(), "1.1234567890123456789012345678901"),
    ("decimal(65,30)", pa.string(), "NaN"),
    ("char(5)", pa.string(), "ab "),
    ("binary(2)", pa.binary(), b"a"),
    ("bit(8)", pa.string(), "1111"),
    ("year(4)", pa.int16(), 24),
    ("enum('a','b')", pa.string(), "A"),
    ("enum('a','b')", pa.string(), "2"),
    ("set('x','y')", pa.string(), "y,x"),
    ("set('x','y')", pa.string(), "z"),
    ("datetime(3)", pa.timestamp("us"), dt.datetime(2024, 1, 1, 0, 0, 0, 1)),
    ("time", pa.time64("us"), dt.time(1, 1, 1, 5)),
]


@pytest.mark.parametrize(("declared", "sent", "value"), REFUSED)
def test_what_the_server_would_change_is_refused_with_its_row(declared: str, sent: pa.DataType, value: Any) -> None:
    with pytest.raises(DataError, match="column 'v', row 12") as caught:
        encoder(declared, sent)(pa.array([None, None, value], sent), "v", 10)
    assert (caught.value.column, caught.value.row) == ("v", 12)


@pytest.mark.parametrize("days", [-800_000, 3_000_000])
def test_dates_that_mysql_has_not_are_refused(days: int) -> None:
    with pytest.raises(DataError, match="row 1"):
        encoder("date", pa.date32())(pa.array([days], pa.int32()).cast(pa.date32()), "v", 1)


@pytest.mark.parametrize("declared", ["geometry", "float(7,2)", "double(10,2)"])
def test_types_that_round_or_are_none_of_ours_are_not_written(declared: str) -> None:
    assert sent_type(declared, pa.float64()) is None
