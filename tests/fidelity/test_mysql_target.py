"""Into MariaDB tables that are there, of every column type, on both roads: the exact value, or a DataError."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from conftest import mysql_database
from contracts.sinks import Sink, streamed

from datapipe.errors import DataError, SchemaError

INT, BIG, DOUBLE, FLOAT = pa.int64(), pa.uint64(), pa.float64(), pa.float32()
TEXT, BYTES, UUID, DATE, TIME = pa.string(), pa.binary(), pa.uuid(), pa.date32(), pa.time64("us")
MOMENT, INSTANT = pa.timestamp("us"), pa.timestamp("us", "UTC")
DAY, SECOND = 719_528, 62_167_219_200_000_000  # days, and microseconds, from year 0 to 1970


def dec(text: str) -> Decimal:
    return Decimal(text)


def at(*parts: int) -> dt.datetime:
    return dt.datetime(*parts)


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)


# The column's type, the data's type, the value, and the text the server shows.
FITS: list[tuple[str, pa.DataType, Any, str]] = [
    ("tinyint", INT, -128, "-128"),
    ("tinyint(1)", INT, 2, "2"),
    ("tinyint(1)", pa.bool_(), True, "1"),
    ("tinyint unsigned", INT, 255, "255"),
    ("smallint unsigned", INT, 65535, "65535"),
    ("mediumint", INT, -8388608, "-8388608"),
    ("mediumint unsigned", INT, 16777215, "16777215"),
    ("int", TEXT, "-5", "-5"),
    ("int unsigned", INT, 4294967295, "4294967295"),
    ("int(5) zerofill", INT, 7, "00007"),
    ("bigint", INT, -(2**63), "-9223372036854775808"),
    ("bigint unsigned", BIG, 2**64 - 1, "18446744073709551615"),
    ("decimal(65,30)", TEXT, f"-{'9' * 35}.{'9' * 30}", f"-{'9' * 35}.{'9' * 30}"),
    ("decimal(65,30)", DOUBLE, 1.5, f"1.5{'0' * 29}"),
    ("decimal(38,38)", pa.decimal128(38, 38), dec("1e-38"), f"0.{'0' * 37}1"),
    ("decimal(20,8)", pa.decimal128(20, 8), dec("1e-8"), "0.00000001"),
    ("decimal(5,2) unsigned", DOUBLE, 999.99, "999.99"),
    ("float", FLOAT, 0.5, "0.5"),
    ("double", DOUBLE, 5e-324, "5e-324"),
    ("double", DOUBLE, 1.7976931348623157e308, "1.7976931348623157e308"),
    ("double", INT, 2**53, "9.007199254740992e15"),
    ("bit(1)", pa.bool_(), True, "1"),
    ("bit(1)", TEXT, "1", "1"),
    ("bit(8)", TEXT, "10000001", "10000001"),
    ("bit(64)", TEXT, "1" * 64, "1" * 64),
    ("bit(64)", TEXT, "0" * 64, "0"),
    ("year", INT, 0, "0000"),
    ("year", INT, 1901, "1901"),
    ("year", TEXT, "2155", "2155"),
    ("date", DATE, dt.date(1, 1, 1), "0001-01-01"),
    ("date", DATE, dt.date(9999, 12, 31), "9999-12-31"),
    ("date", MOMENT, at(2024, 2, 29), "2024-02-29"),
    ("time", TIME, dt.time(23, 59, 59), "23:59:59"),
    ("time", TEXT, "01:02:03", "01:02:03"),
    ("time(1)", TIME, dt.time(1, 2, 3, 900_000), "01:02:03.9"),
    ("time(6)", TIME, dt.time(1, 2, 3, 1), "01:02:03.000001"),
    ("datetime", MOMENT, at(1969, 12, 31, 23, 59, 59), "1969-12-31 23:59:59"),
    ("datetime", DATE, dt.date(2024, 1, 2), "2024-01-02 00:00:00"),
    ("datetime(3)", MOMENT, at(2024, 1, 1, 0, 0, 0, 1000), "2024-01-01 00:00:00.001"),
    ("datetime(6)", MOMENT, at(9999, 12, 31, 23, 59, 59, 999_999), "9999-12-31 23:59:59.999999"),
    ("datetime(6)", MOMENT, -SECOND, "0000-01-01 00:00:00.000000"),
    ("timestamp", INSTANT, utc(1970, 1, 1, 0, 0, 1), "1970-01-01 00:00:01"),
    ("timestamp", INSTANT, utc(2038, 1, 19, 3, 14, 7), "2038-01-19 03:14:07"),
    ("timestamp(6)", INSTANT, utc(2024, 3, 31, 2, 30, 0, 1), "2024-03-31 02:30:00.000001"),
    ("char(5)", TEXT, " a\t", " a\t"),
    ("varchar(3)", TEXT, "😀  ", "😀  "),
    ("varchar(20)", TEXT, "\\N", "\\N"),
    ("varchar(20)", TEXT, "'\"`\\,\t\r\n\0\x1a%;--", "'\"`\\,\t\r\n\0\x1a%;--"),
    ("varchar(20)", TEXT, "\ufeffe\u0301\u2028", "\ufeffe\u0301\u2028"),
    ("tinytext", TEXT, "x" * 254 + " ", "x" * 254 + " "),
    ("text", TEXT, "x" * 65535, "x" * 65535),
    ("binary(4)", BYTES, b"a\0\xff'", "6100FF27"),
    ("binary(16)", UUID, uuid.UUID(int=5).bytes, "00000000000000000000000000000005"),
    ("varbinary(4)", BYTES, b"", ""),
    ("varbinary(4)", TEXT, "é\n", "C3A90A"),
    ("blob", BYTES, b"\\N\0", "5C4E00"),
    ("enum('a','1','it''s','')", TEXT, "1", "1"),
    ("enum('a','1','it''s','')", TEXT, "it's", "it's"),
    ("enum('a','1','it''s','')", TEXT, "", ""),
    ("set('a','b','c')", TEXT, "a,c", "a,c"),
    ("set('a','b','c')", TEXT, "", ""),
    ("json", TEXT, '{"a": 1.10, "a": "\\u0000 😀"} ', '{"a": 1.10, "a": "\\u0000 😀"} '),
    ("json", INT, 1, "1"),
    ("uuid", UUID, uuid.UUID(int=7).bytes, "00000000-0000-0000-0000-000000000007"),
    ("uuid", TEXT, "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    ("char(36)", UUID, uuid.UUID(int=7).bytes, "00000000-0000-0000-0000-000000000007"),
    ("inet6", TEXT, "2001:db8::1", "2001:db8::1"),
    ("inet4", TEXT, "10.0.0.1", "10.0.0.1"),
    ("varchar(9) character set latin1", TEXT, "é€?", "é€?"),
    ("varchar(9) character set utf8mb3", TEXT, "日", "日"),
    ("char(3) character set ucs2", TEXT, "日", "日"),
    ("enum('é','日') character set utf8mb3", TEXT, "日", "日"),
]
# What the server would round, cut, pad, shift or take for something else.
REFUSED: list[tuple[str, pa.DataType, Any]] = [
    ("tinyint", INT, 999),
    ("tinyint unsigned", INT, -1),
    ("smallint unsigned", INT, 65536),
    ("mediumint", INT, 8388608),
    ("mediumint unsigned", INT, 16777216),
    ("int", TEXT, "secret"),
    ("int", DOUBLE, 1.5),
    ("int unsigned", INT, 2**32),
    ("bigint", BIG, 2**63),
    ("decimal(65,30)", TEXT, "1" + "0" * 35),
    ("decimal(65,30)", TEXT, f"0.{'0' * 30}1"),
    ("decimal(65,30)", TEXT, "secret"),
    ("decimal(65,30)", TEXT, ""),
    ("decimal(65,30)", TEXT, "NaN"),
    ("decimal(20,8)", pa.decimal128(20, 9), dec("1e-9")),
    ("decimal(5,2) unsigned", pa.decimal128(9, 2), dec("-1")),
    ("decimal(5,2) unsigned", INT, 1000),
    ("float", DOUBLE, 0.1),
    ("float", INT, 2**24 + 1),
    ("float", FLOAT, math.nan),
    ("double", DOUBLE, math.inf),
    ("double", DOUBLE, -0.0),
    ("double", INT, 2**53 + 1),
    ("double unsigned", DOUBLE, -1.5),
    ("bit(1)", INT, 2),
    ("bit(8)", TEXT, "1"),
    ("bit(8)", TEXT, "secret"),
    ("bit(64)", TEXT, "1" * 65),
    ("year", INT, 99),
    ("year", INT, 2156),
    ("date", DATE, -DAY - 1),
    ("date", DATE, 2_932_897),
    ("date", TEXT, "2024-02-30"),
    ("date", MOMENT, at(2024, 1, 1, 12)),
    ("time", TIME, dt.time(1, 2, 3, 1)),
    ("time", TEXT, "25:00:00"),
    ("time", TEXT, "secret"),
    ("time(1)", TIME, dt.time(1, 2, 3, 910_000)),
    ("datetime", MOMENT, at(2024, 1, 1, 0, 0, 0, 1)),
    ("datetime", MOMENT, at(1969, 12, 31, 23, 59, 59, 500_000)),
    ("datetime(3)", MOMENT, at(2024, 1, 1, 0, 0, 0, 999_999)),
    ("datetime(6)", MOMENT, -SECOND - 1),
    ("datetime(6)", MOMENT, 253_402_300_800_000_000),
    ("timestamp", INSTANT, utc(1970, 1, 1)),
    ("timestamp", INSTANT, utc(1969, 7, 20)),
    ("timestamp", INSTANT, utc(2038, 1, 19, 3, 14, 8)),
    ("timestamp", INSTANT, utc(2024, 1, 1, 0, 0, 0, 1)),
    ("char(5)", TEXT, "ab "),
    ("char(5)", TEXT, "secret"),
    ("varchar(3)", TEXT, "secret"),
    ("varchar(3)", TEXT, "abc "),
    ("varchar(3)", TEXT, "😀😀😀😀"),
    ("tinytext", TEXT, "secret" * 50),
    ("tinytext", TEXT, "x" * 255 + " "),
    ("tinytext", TEXT, "é" * 128),
    ("text", TEXT, "x" * 65535 + " "),
    ("binary(4)", BYTES, b"abc"),
    ("binary(4)", BYTES, b"abcd\0"),
    ("varbinary(4)", BYTES, b"secret"),
    ("varbinary(4)", BYTES, b"abcd\0"),
    ("blob", BYTES, b"x" * 65536),
    ("enum('a','b')", TEXT, "secret"),
    ("enum('a','b')", TEXT, "1"),
    ("enum('a','b')", INT, 1),
    ("enum('a','b')", TEXT, ""),
    ("enum('a','b')", TEXT, "A"),
    ("enum('a','b')", TEXT, "a "),
    ("set('a','b','c')", TEXT, "c,a"),
    ("set('a','b','c')", TEXT, "a,a"),
    ("set('a','b','c')", TEXT, "a,secret"),
    ("set('a','b','c')", TEXT, "a,"),
    ("set('a','b','c')", INT, 5),
    ("json", TEXT, "{secret"),
    ("json", TEXT, ""),
    ("json", TEXT, "NaN"),
    ("json", TEXT, '"a\nb"'),
    ("uuid", TEXT, "secret"),
    ("inet6", TEXT, "10.0.0.1"),
    ("inet6", TEXT, "secret"),
    ("inet4", TEXT, "256.0.0.1"),
    ("varchar(9) character set latin1", TEXT, "secret日"),
    ("varchar(9) character set latin1", TEXT, "\x80"),
    ("varchar(9) character set utf8mb3", TEXT, "secret😀"),
    ("varchar(9) character set ascii", TEXT, "é"),
    ("char(3) character set ucs2", TEXT, "😀"),
    ("enum('é','日') character set utf8mb3", TEXT, "e"),
]
NULLS = [
    "int",
    "varchar(5)",
    "varchar(5) default 'x'",
    "int default 5",
    "timestamp default current_timestamp",
    "bit(3)",
]
NEVER = ["point", "float(7,3)", "double(10,2)", "year(2)"]  # what datapipe does not write exactly
STRATEGIES = ("append", "upsert")
TYPES = list(dict.fromkeys(declared for declared, *_ in REFUSED))
NAMES = {declared: f"c{number}" for number, declared in enumerate(TYPES)}


@pytest.fixture(scope="module", params=["load", "insert"])
def road(request: pytest.FixtureRequest) -> Iterator[Sink]:
    """A database with a table that has a column of every type."""
    server = request.getfixturevalue("mysql_server" if request.param == "load" else "mysql_insert_server")
    with mysql_database(server) as url:
        sink = Sink("mysql", url)
        columns = ", ".join(f"{NAMES[type_]} {type_} NULL" for type_ in TYPES)
        sink.sql(f"CREATE TABLE every (id int PRIMARY KEY, {columns})")
        yield sink


def value_of(type_: pa.DataType, value: Any) -> pa.Array:
    """Two NULLs and the value; a day or a moment out of Python's range is given as a number."""
    whole = isinstance(value, int) and pa.types.is_temporal(type_)
    if whole:
        return pa.array([None, None, value], pa.int32() if type_ == DATE else INT).view(type_)
    return pa.array([None, None, value], type_)


def options(strategy: str) -> dict[str, Any]:
    return {"strategy": strategy, "upsert_keys": ["id"] if strategy == "upsert" else []}


def shown(declared: str, name: str) -> str:
    """The value as text, in SQL."""
    if declared.startswith("bit"):
        return f"BIN({name})"
    return f"HEX({name})" if "binary" in declared or "blob" in declared else f"CAST({name} AS CHAR)"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_value_that_fits_arrives(road: Sink, strategy: str) -> None:
    columns = {f"f{number}": case for number, case in enumerate(FITS)}
    ddl = ", ".join(f"{name} {declared} NULL" for name, (declared, *_) in columns.items())
    road.sql("DROP TABLE IF EXISTS t", f"CREATE TABLE t (id int PRIMARY KEY, {ddl})")
    data = {name: value_of(type_, value) for name, (_, type_, value, _) in columns.items()}
    road.write(streamed(pa.table({"id": [1, 2, 3], **data}), 2), **options(strategy))
    items = ", ".join(shown(declared, name) for name, (declared, *_) in columns.items())
    none, row = (road.sql(f"SELECT {items} FROM t WHERE id = {id_}")[0] for id_ in (1, 3))
    assert dict(zip(columns, row, strict=True)) == {name: text for name, (*_, text) in columns.items()}
    assert set(none) == {None}


@pytest.mark.parametrize("declared", TYPES)
def test_a_value_that_does_not_fit_is_named_and_changes_nothing(road: Sink, declared: str) -> None:
    name = NAMES[declared]
    road.sql("DELETE FROM every", "INSERT INTO every (id) VALUES (1), (2), (9)")
    first = {"append": 3, "upsert": 1}  # an upsert finds two of its rows there: its merge numbers them otherwise
    for type_, value in [(type_, value) for found, type_, value in REFUSED if found == declared]:
        for strategy in STRATEGIES:
            data = pa.table({"id": [first[strategy], first[strategy] + 1, 5], name: value_of(type_, value)})
            with pytest.raises(DataError) as caught:
                road.write(streamed(data, 2), "every", **options(strategy))
            assert (caught.value.column, caught.value.row) == (name, 3), (value, strategy)
            assert f"'{name}'" in str(caught.value)
            assert "row 3" in str(caught.value)
            assert "secret" not in str(caught.value)
            assert caught.value.hint
            assert road.sql(f"SELECT id FROM every WHERE {name} IS NULL ORDER BY id") == [(1,), (2,), (9,)]


@pytest.mark.parametrize("declared", NULLS)
def test_a_null_for_a_column_that_takes_none(road: Sink, declared: str) -> None:
    kind, _, default = declared.partition(" ")
    road.sql("DROP TABLE IF EXISTS t", f"CREATE TABLE t (id int PRIMARY KEY, v {kind} NOT NULL {default})")
    types = {"int": INT, "timestamp": INSTANT}
    good = {INT: 1, INSTANT: utc(2024, 1, 1)}
    type_ = types.get(kind, TEXT)
    data = pa.table({"id": [1, 2, 3], "v": pa.array([good.get(type_, "101"), good.get(type_, "101"), None], type_)})
    for strategy in STRATEGIES:
        with pytest.raises(DataError, match=r"'v'.* row 3") as caught:
            road.write(streamed(data, 2), **options(strategy))
        assert (caught.value.column, caught.value.row) == ("v", 3)
        assert road.rows() == []


@pytest.mark.parametrize("declared", NEVER)
def test_a_type_the_server_rounds_is_refused(road: Sink, declared: str) -> None:
    road.sql("DROP TABLE IF EXISTS t", f"CREATE TABLE t (v {declared})")
    with pytest.raises(SchemaError, match="column 'v'"):
        road.write(pa.table({"v": ["1"]}))


def test_a_float_keeps_every_bit(road: Sink) -> None:
    road.sql("DROP TABLE IF EXISTS t", "CREATE TABLE t (id int PRIMARY KEY, v float)")
    values = pa.array([0.1, 3.4028234663852886e38, -1.401298464324817e-45, 16777215], FLOAT)
    road.write(pa.table({"id": range(len(values)), "v": values}))
    assert [v for (v,) in road.sql("SELECT CAST(v AS double) FROM t ORDER BY id")] == values.to_pylist()


def test_json_the_server_does_not_take_names_the_column(road: Sink) -> None:
    road.sql("DROP TABLE IF EXISTS t", "CREATE TABLE t (id int PRIMARY KEY, v json)")
    for deep in ("[" * 40 + "]" * 40, '"\\ud800"'):
        for strategy in STRATEGIES:
            with pytest.raises(DataError, match="the check 'v' fails") as caught:
                road.write(pa.table({"id": [1], "v": [deep]}), **options(strategy))
            assert caught.value.column == "v"
    assert road.rows() == []


@pytest.mark.parametrize(("declared", "bad"), [("mediumint", 2**30), ("tinyint", 999)])
def test_a_row_far_behind_has_the_number_of_the_run(road: Sink, declared: str, bad: int) -> None:
    """The server refuses the first, and datapipe itself the second."""
    road.sql("DROP TABLE IF EXISTS t", f"CREATE TABLE t (id int PRIMARY KEY, v {declared}, pad text)")
    rows, at_row = 60_000, 54_321
    numbers = pa.array([bad if row == at_row else 1 for row in range(1, rows + 1)])
    data = pa.table({"id": range(rows), "v": numbers, "pad": ["x" * 50] * rows})
    for strategy in STRATEGIES:
        with pytest.raises(DataError, match=f"row {at_row}") as caught:
            road.write(streamed(data, 20_000), **options(strategy))
        assert (caught.value.column, caught.value.row) == ("v", at_row)
        assert road.rows() == []


def test_the_roads_are_two(mysql_server: str, mysql_insert_server: str) -> None:
    bulk = {}
    for server in (mysql_server, mysql_insert_server):
        ((bulk[server],),) = Sink("mysql", server).sql("SELECT @@local_infile")
        assert urlsplit(server).port
    assert list(bulk.values()) == [1, 0]
