"""From PostgreSQL and SQLite into tables that are created in MariaDB: the type that holds every value, and the value."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from conftest import mysql_database
from contracts.sinks import Sink

import datapipe
from datapipe.errors import DataError, SchemaError

BIG = "123456789012345678901234567890123456789012.0123456789"
UUID = "c0ffee00-0000-4000-8000-000000000001"
JSON = '{"b": 1.10, "a": null, "b": 12345678901234567890.10}'
DAY = "'9999-12-31'"
# The type in PostgreSQL, the value in SQL; the type in MariaDB and the value's text there.
POSTGRESQL = [
    ("boolean", "true", "tinyint(1)", "1"),
    ("smallint", "-32768", "smallint(6)", "-32768"),
    ("integer", "2147483647", "int(11)", "2147483647"),
    ("bigint", "9007199254740993", "bigint(20)", "9007199254740993"),
    ("real", "0.1", "float", "0.1"),
    ("double precision", "'5e-324'", "double", "5e-324"),
    ("numeric(15,2)", "1.10", "decimal(15,2)", "1.10"),
    ("numeric(38,18)", "0.000000000000000001", "decimal(38,18)", "0.000000000000000001"),
    ("numeric(52,10)", BIG, "decimal(52,10)", BIG),
    ("numeric", "-1.10", "decimal(65,30)", f"-1.1{'0' * 29}"),
    ("text", "E'\\\\N \\t\\r\\n''\"😀'", "longtext", "\\N \t\r\n'\"😀"),
    ("text", "''", "longtext", ""),
    ("varchar(9)", "'ab  '", "varchar(9)", "ab  "),
    ("varchar(999)", "'x'", "longtext", "x"),
    ("char(5)", "'ab'", "char(5)", "ab"),
    ("bytea", "'\\x00ff27'", "longblob", "00FF27"),
    ("date", DAY, "date", "9999-12-31"),
    ("date", "'0001-01-01 BC'", "date", "0000-01-01"),
    ("time", "'23:59:59.999999'", "time(6)", "23:59:59.999999"),
    ("timetz", "'12:00:00+02'", "longtext", "12:00:00+02"),
    ("timestamp", "'0001-01-01 00:00:00.000001'", "datetime(6)", "0001-01-01 00:00:00.000001"),
    ("timestamptz", "'2024-07-01 12:00:00.5+02'", "timestamp(6)", "2024-07-01 10:00:00.500000"),
    ("uuid", f"'{UUID}'", "uuid", UUID),
    ("json", f"'{JSON}'", "longtext", JSON),
    ("jsonb", "'null'", "longtext", "null"),
    ("inet", "'10.0.0.1/8'", "longtext", "10.0.0.1/8"),
    ("bit(3)", "B'101'", "bit(3)", "101"),
    ("varbit", "B'101'", "longtext", "101"),
    ("xml", "'<a>b</a>'", "longtext", "<a>b</a>"),
    ("int4range", "'[1,5)'", "longtext", "[1,5)"),
    ("oid", "4294967295", "bigint(20)", "4294967295"),
]
NAMES = [f"c{number}" for number in range(len(POSTGRESQL))]
REFUSED = [
    ("double precision", "'NaN'", DataError),
    ("real", "'-Infinity'", DataError),
    ("double precision", "'-0'", DataError),
    ("numeric", "'NaN'", DataError),
    ("numeric", f"0.{'0' * 30}1", DataError),
    ("numeric", f"1{'0' * 35}", DataError),
    ("date", "'0002-01-01 BC'", DataError),
    ("date", "'10000-01-01'", DataError),
    ("timestamp", "'10000-01-01'", DataError),
    ("timestamptz", "'1970-01-01 00:00:00+00'", DataError),
    ("timestamptz", "'2038-01-19 03:14:08+00'", DataError),
    ("interval", "'1 day'", SchemaError),
    ("integer[]", "'{1,2}'", SchemaError),
]
SQLITE = [
    ("INTEGER", 2**63 - 1, "bigint(20)", str(2**63 - 1)),
    ("BOOLEAN", 1, "tinyint(1)", "1"),
    ("REAL", 0.1, "double", "0.1"),
    ("DECIMAL(9,2)", 1.1, "decimal(9,2)", "1.10"),
    ("DECIMAL TEXT(38,18)", "0.000000000000000001", "decimal(38,18)", "0.000000000000000001"),
    ("TEXT", "'\\\t\n😀 ", "longtext", "'\\\t\n😀 "),
    ("BLOB", b"\0\xff", "longblob", "00FF"),
    ("DATE", "2024-02-29", "date", "2024-02-29"),
    ("TIME", "01:02:03.5", "time(6)", "01:02:03.500000"),
    ("TIMESTAMP", "2024-01-01 00:00:00.000001", "datetime(6)", "2024-01-01 00:00:00.000001"),
    ("TIMESTAMPTZ", "2024-01-01T02:00:00+02:00", "timestamp(6)", "2024-01-01 00:00:00.000000"),
    ("UUID TEXT", UUID, "uuid", UUID),
    ("JSON TEXT", JSON, "longtext", JSON),
]


@pytest.fixture(params=["load", "insert"])
def road(request: pytest.FixtureRequest) -> Iterator[Sink]:
    with mysql_database(request.getfixturevalue(f"mysql_{'insert_' * (request.param == 'insert')}server")) as url:
        yield Sink("mysql", url)


def values(road: Sink, types: list[str]) -> list[tuple[str | None, ...]]:
    """The rows of table ``t``, in text."""
    shown = {"longblob": "HEX({})", "bit(3)": "BIN({})"}
    items = [shown.get(type_, "CAST({} AS CHAR)").format(f"c{number}") for number, type_ in enumerate(types)]
    return road.sql(f"SELECT {', '.join(items)} FROM t ORDER BY id")


@pytest.mark.parametrize("strategy", ["append", "upsert"])
def test_from_postgresql(postgresql_url: str, road: Sink, strategy: str) -> None:
    with psycopg.connect(postgresql_url) as conn:
        columns = ", ".join(f"{name} {case[0]}" for name, case in zip(NAMES, POSTGRESQL, strict=True))
        conn.execute(f"CREATE TABLE s (id integer, {columns})".encode())
        conn.execute(f"INSERT INTO s VALUES (2, {', '.join(case[1] for case in POSTGRESQL)})".encode())
        conn.execute("INSERT INTO s (id) VALUES (1)")
    keys = ["id"] if strategy == "upsert" else []
    datapipe.read("s", source=postgresql_url).write("t", to=road.url, strategy=strategy, keys=keys).run()
    types = [case[2] for case in POSTGRESQL]
    found = road.columns()
    assert [found[name] for name in NAMES] == types
    none, row = values(road, types)
    assert dict(zip(NAMES, row, strict=True)) == {name: case[3] for name, case in zip(NAMES, POSTGRESQL, strict=True)}
    assert set(none) == {None}


@pytest.mark.parametrize(("type_", "value", "kind"), REFUSED)
def test_what_mariadb_has_not_is_named_and_no_table_is_left(
    postgresql_url: str, road: Sink, type_: str, value: str, kind: type[DataError]
) -> None:
    with psycopg.connect(postgresql_url) as conn:
        conn.execute(f"CREATE TABLE s (id integer, v {type_})".encode())
        conn.execute(f"INSERT INTO s VALUES (1, NULL), (2, {value})".encode())
    with pytest.raises(kind, match="column 'v'") as caught:
        datapipe.read("s", source=postgresql_url).write("t", to=road.url).run()
    assert caught.value.column == "v"
    assert caught.value.row == (2 if kind is DataError else None)
    assert "t" not in road.tables()


def test_from_sqlite(tmp_path: Path, road: Sink) -> None:
    conn = sqlite3.connect(tmp_path / "a.db")
    conn.execute(f"CREATE TABLE s (id INTEGER, {', '.join(f'c{n} {case[0]}' for n, case in enumerate(SQLITE))})")
    conn.execute("INSERT INTO s (id) VALUES (1)")
    conn.execute(f"INSERT INTO s VALUES (2{', ?' * len(SQLITE)})", [case[1] for case in SQLITE])
    conn.commit()
    conn.close()
    datapipe.read("s", source=f"sqlite:///{tmp_path / 'a.db'}").write("t", to=road.url).run()
    types = [case[2] for case in SQLITE]
    assert list(road.columns().values()) == ["bigint(20)", *types]
    none, row = values(road, types)
    assert list(row) == [case[3] for case in SQLITE]
    assert set(none) == {None}
