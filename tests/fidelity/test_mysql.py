"""From MariaDB: every type arrives in PostgreSQL, MariaDB and SQLite as it was, or an error names column and row."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import mysql_database
from contracts.sinks import mysql_connected

import datapipe
from datapipe import Pipeline
from datapipe.errors import DataError, PlanError
from datapipe.reading import load

NINES, ONES = "9" * 38, "1" * 64
BIG = f"{'9' * 35}.{'9' * 30}"
UUID = "00000000-0000-0000-0000-000000000007"
JSON = '{"a": 12345678901234567890.10, "a": 2}'

# The column's type, the value in SQL; then the value's text and type in PostgreSQL and in MariaDB, and in SQLite
# the value, whose class is the type. Where MariaDB's text is the same as PostgreSQL's it says so with "=".
CASES: list[tuple[str, str, str, str, str, str, Any]] = [
    ("bigint unsigned", str(2**64 - 1), str(2**64 - 1), "numeric(20,0)", "=", "bigint(20) unsigned", str(2**64 - 1)),
    ("bigint", str(-(2**63)), str(-(2**63)), "bigint", "=", "bigint(20)", -(2**63)),
    ("bigint", "9007199254740993", "9007199254740993", "bigint", "=", "bigint(20)", 9007199254740993),
    ("int unsigned", "4294967295", "4294967295", "bigint", "=", "int(10) unsigned", 4294967295),
    ("int(5) zerofill", "7", "7", "bigint", "=", "int(10) unsigned", 7),
    ("mediumint unsigned", "16777215", "16777215", "integer", "=", "int(11)", 16777215),
    ("smallint unsigned", "65535", "65535", "integer", "=", "smallint(5) unsigned", 65535),
    ("tinyint unsigned", "255", "255", "smallint", "=", "tinyint(3) unsigned", 255),
    ("tinyint(1)", "2", "2", "smallint", "=", "tinyint(4)", 2),
    ("tinyint(1)", "-128", "-128", "smallint", "=", "tinyint(4)", -128),
    ("bit(1)", "b'1'", "true", "boolean", "1", "tinyint(1)", 1),
    ("bit(8)", "b'10000001'", "10000001", "bit(8)", "=", "bit(8)", "10000001"),
    ("bit(64)", str(2**64 - 1), ONES, "bit(64)", "=", "bit(64)", ONES),
    ("decimal(65,30)", f"'{BIG}'", BIG, "numeric(65,30)", "=", "decimal(65,30)", BIG),
    ("decimal(39,1)", "-1.5", "-1.5", "numeric(39,1)", "=", "decimal(39,1)", "-1.5"),
    ("decimal(38,0)", NINES, NINES, "numeric(38,0)", "=", "decimal(38,0)", NINES),
    ("decimal(10,2)", "1.10", "1.10", "numeric(10,2)", "=", "decimal(10,2)", 1.1),
    ("decimal(10,2) unsigned", "1.10", "1.10", "numeric(10,2)", "=", "decimal(10,2)", 1.1),
    ("float", "0.1", "0.1", "real", "=", "float", 0.10000000149011612),
    ("float", "16777217", "1.6777216e+07", "real", "16777200", "float", 16777216.0),
    ("double", "0.1", "0.1", "double precision", "=", "double", 0.1),
    ("double", "5e-324", "5e-324", "double precision", "=", "double", 5e-324),
    ("date", "'0001-01-01'", "0001-01-01", "date", "=", "date", "0001-01-01"),
    ("date", "'9999-12-31'", "9999-12-31", "date", "=", "date", "9999-12-31"),
    ("date", "'0000-01-01'", "0001-01-01 BC", "date", "0000-01-01", "date", "0000-01-01"),
    (
        "datetime(6)",
        "'9999-12-31 23:59:59.999999'",
        "9999-12-31 23:59:59.999999",
        "timestamp without time zone",
        "=",
        "datetime(6)",
        "9999-12-31 23:59:59.999999",
    ),
    (
        "datetime(3)",
        "'1600-01-01 00:00:00.5'",
        "1600-01-01 00:00:00.5",
        "timestamp without time zone",
        "1600-01-01 00:00:00.500000",
        "datetime(6)",
        "1600-01-01 00:00:00.500000",
    ),
    (  # set in a session at +02:00
        "timestamp",
        "'2024-07-01 12:00:00'",
        "2024-07-01 10:00:00+00",
        "timestamp with time zone",
        "2024-07-01 10:00:00.000000",
        "timestamp(6)",
        "2024-07-01 10:00:00.000000+00:00",
    ),
    ("time(6)", "'23:59:59.999999'", "23:59:59.999999", "time without time zone", "=", "time(6)", "23:59:59.999999"),
    ("year", "0", "0", "smallint", "=", "smallint(6)", 0),
    ("year", "2155", "2155", "smallint", "=", "smallint(6)", 2155),
    ("enum('a','it''s','')", "''", "", "text", "=", "enum('a','it''s','')", ""),
    ("enum('a','it''s','')", "'it''s'", "it's", "text", "=", "enum('a','it''s','')", "it's"),
    ("set('a','b')", "'a,b'", "a,b", "text", "=", "set('a','b')", "a,b"),
    ("set('a','b')", "''", "", "text", "=", "set('a','b')", ""),
    ("json", f"'{JSON}'", JSON, "json", "=", "longtext", JSON),
    ("json", "'null'", "null", "json", "=", "longtext", "null"),
    ("char(5)", "'ab'", "ab   ", "character(5)", "ab", "char(5)", "ab"),
    ("varchar(9)", "''", "", "character varying(9)", "=", "varchar(9)", ""),
    ("varchar(9)", "'ab  '", "ab  ", "character varying(9)", "=", "varchar(9)", "ab  "),
    ("varchar(9) character set latin1", "'é€'", "é€", "character varying(9)", "=", "varchar(9)", "é€"),
    ("varchar(9) character set utf8mb3", "'日'", "日", "character varying(9)", "=", "varchar(9)", "日"),
    ("varchar(9)", "'e\u0301😀'", "e\u0301😀", "character varying(9)", "=", "varchar(9)", "e\u0301😀"),
    ("text character set utf16", "'日😀'", "日😀", "text", "=", "longtext", "日😀"),
    ("tinytext", "'NULL'", "NULL", "text", "=", "longtext", "NULL"),
    ("longtext", "'\\\\N\\t\\r\\n'", "\\N\t\r\n", "text", "=", "longtext", "\\N\t\r\n"),
    ("binary(4)", "'ab'", "\\x61620000", "bytea", "61620000", "longblob", b"ab\0\0"),
    ("varbinary(4)", "''", "\\x", "bytea", "", "longblob", b""),
    ("blob", "x'00FF'", "\\x00ff", "bytea", "00FF", "longblob", b"\0\xff"),
    ("uuid", f"'{UUID}'", UUID, "uuid", "=", "uuid", UUID),
    ("inet6", "'::1'", "::1/128", "inet", "::1", "longtext", "::1"),
    ("inet4", "'10.0.0.1'", "10.0.0.1/32", "inet", "10.0.0.1", "longtext", "10.0.0.1"),
]
NAMES = [f"c{number}" for number in range(len(CASES))]
NO_DATE, NO_TIME = "a zero date", "no time of a day"
REFUSED = [
    ("date", "'0000-00-00'", NO_DATE),
    ("date", "'2024-00-15'", NO_DATE),
    ("date", "'2024-02-00'", NO_DATE),
    ("datetime(6)", "'0000-00-00 00:00:00'", NO_DATE),
    ("timestamp", "'0000-00-00 00:00:00'", NO_DATE),
    ("time", "'24:00:00'", NO_TIME),
    ("time", "'-00:00:01'", NO_TIME),
    ("time(3)", "'838:59:59.0'", NO_TIME),
]
STEPS: dict[str, Callable[[Pipeline], Pipeline]] = {
    "straight": lambda plan: plan,
    "pandas": lambda plan: plan.apply(lambda frame: frame),
    "sql": lambda plan: plan.sql("SELECT * FROM input_data"),
}


@pytest.fixture(scope="module")
def source(mysql_server: str) -> Iterator[str]:
    """A database whose table ``s`` holds a row of NULLs and a row with the value of every case."""
    with mysql_database(mysql_server) as url:
        columns = ", ".join(f"{name} {case[0]} NULL" for name, case in zip(NAMES, CASES, strict=True))
        values = ", ".join(case[1] for case in CASES)
        laxly(
            url,
            f"CREATE TABLE s (id int, {columns})",
            "INSERT INTO s (id) VALUES (1)",
            f"INSERT INTO s VALUES (2, {values})",
        )
        yield url


def laxly(url: str, *statements: str) -> None:
    """Run statements as a careless client at +02:00 does: nothing is strict, dates may be none."""
    with mysql_connected(url, charset="utf8mb4") as conn, conn.cursor() as cursor:
        for statement in ("SET sql_mode = '', time_zone = '+02:00'", *statements):
            cursor.execute(statement)


def columns_and(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(NAMES, row, strict=True))


@pytest.mark.parametrize("step", STEPS)
def test_to_postgresql(source: str, postgresql_url: str, step: str) -> None:
    STEPS[step](datapipe.read("s", source=source)).write("t", to=postgresql_url).run()
    text = ", ".join(f"{name}::text" for name in NAMES)
    with psycopg.connect(postgresql_url) as conn:
        conn.execute("SET time zone 'UTC'")
        none, row = conn.execute(f"SELECT {text} FROM t ORDER BY id".encode()).fetchall()
        types = conn.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass"
        ).fetchall()
    expected = tuple(case[2].rstrip(" ") if case[3] == "character(5)" else case[2] for case in CASES)  # as text does
    assert columns_and(row) == columns_and(expected)
    assert set(none) == {None}
    assert {name: dict(types)[name] for name in NAMES} == columns_and(tuple(case[3] for case in CASES))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("road", ["load", "insert"])
def test_to_mariadb(source: str, request: pytest.FixtureRequest, step: str, road: str) -> None:
    server = request.getfixturevalue("mysql_server" if road == "load" else "mysql_insert_server")
    with mysql_database(server) as url:
        STEPS[step](datapipe.read("s", source=source)).write("t", to=url).run()
        with mysql_connected(url, charset="utf8mb4") as conn, conn.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(map(shown, NAMES, CASES))} FROM t ORDER BY id")
            none, row = cursor.fetchall()
            cursor.execute("SELECT column_name, column_type FROM information_schema.columns WHERE table_name = 't'")
            types = dict(cursor.fetchall())
    assert columns_and(row) == columns_and(tuple(case[2] if case[4] == "=" else case[4] for case in CASES))
    assert set(none) == {None}
    assert {name: types[name] for name in NAMES} == columns_and(tuple(case[5] for case in CASES))


def shown(name: str, case: tuple[Any, ...]) -> str:
    if case[5].startswith("bit"):
        return f"BIN({name})"
    return f"HEX({name})" if case[5] == "longblob" else f"CAST({name} AS CHAR)"


@pytest.mark.parametrize("step", STEPS)
def test_to_sqlite(source: str, tmp_path: Path, step: str) -> None:
    STEPS[step](datapipe.read("s", source=source)).write("t", to=f"sqlite:///{tmp_path / 'a.db'}").run()
    conn = sqlite3.connect(tmp_path / "a.db")
    none, row = conn.execute(f"SELECT {', '.join(NAMES)} FROM t ORDER BY id").fetchall()
    conn.close()
    expected = tuple(case[6] for case in CASES)
    assert columns_and(row) == columns_and(expected)
    assert list(map(type, row)) == list(map(type, expected))
    assert set(none) == {None}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("declared", "value", "message"), REFUSED)
def test_what_no_other_type_can_hold_is_named(
    mysql_url: str, tmp_path: Path, declared: str, value: str, message: str, step: str
) -> None:
    laxly(mysql_url, f"CREATE TABLE s (id int, v {declared} NULL)", f"INSERT INTO s VALUES (1, NULL), (2, {value})")
    plan = STEPS[step](datapipe.read("s", source=mysql_url)).write("t", to=f"sqlite:///{tmp_path / 'a.db'}")
    with pytest.raises(DataError, match=f"ingestion: column 'v', row 2: .*{message}") as caught:
        plan.run()
    assert (caught.value.column, caught.value.row) == ("v", 2)
    assert "zero_dates" in str(caught.value.hint) or "CAST(" in str(caught.value.hint)


def test_a_nul_character_is_named_where_the_target_has_none(mysql_url: str, postgresql_url: str) -> None:
    laxly(mysql_url, "CREATE TABLE s (id int, v varchar(9))", "INSERT INTO s VALUES (1, 'a'), (2, 'sec\\0ret')")
    with pytest.raises(DataError, match="column 'v', row 2") as caught:
        datapipe.read("s", source=mysql_url).write("t", to=postgresql_url).run()
    assert "sec" not in str(caught.value)
    with psycopg.connect(postgresql_url) as conn:
        assert conn.execute("SELECT to_regclass('t')").fetchone() == (None,)


def test_a_geometry_is_refused_with_the_function_that_reads_it(mysql_url: str) -> None:
    laxly(mysql_url, "CREATE TABLE s (v point)", "INSERT INTO s VALUES (ST_GeomFromText('POINT(1 2)'))")
    with pytest.raises(PlanError, match=r"column 'v' is a geometry.*ST_AsText\(v\)"):
        datapipe.read("s", source=mysql_url).collect()
    assert datapipe.read("SELECT ST_AsText(v) AS v FROM s", source=mysql_url).collect()["v"].tolist() == ["POINT(1 2)"]


# --- zero dates ----------------------------------------------------------------------------------------------


@pytest.fixture
def zeros(mysql_url: str) -> str:
    laxly(
        mysql_url,
        "CREATE TABLE s (id int, d date NULL, m datetime NULL)",
        "INSERT INTO s VALUES (1, '2024-01-01', NULL), (2, '0000-00-00', '2024-00-00'), (3, '2024-05-00', NULL)",
    )
    return mysql_url


def test_zero_dates_as_null_are_counted(zeros: str, tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path / 'a.db'}"
    result = datapipe.read("s", source=zeros, zero_dates="null").write("t", to=target).run()
    rows = datapipe.read("SELECT * FROM t ORDER BY id", source=target).collect("arrow").to_pylist()
    assert [(str(row["d"]), row["m"]) for row in rows] == [("2024-01-01", None), ("None", None), ("None", None)]
    told = [notice for notice in result.notices if "zero date" in notice]
    assert told == ["column 'd': 2 zero dates read as NULL", "column 'm': 1 zero date read as NULL"]


@pytest.mark.parametrize("what", ["s", "SELECT * FROM s"])
def test_a_plan_keeps_what_to_do_with_zero_dates(zeros: str, tmp_path: Path, what: str) -> None:
    plan = datapipe.read(what, source=zeros, zero_dates="null")
    (tmp_path / "plan.yaml").write_text(plan.to_yaml().replace("datapipe:***@", "datapipe:secret@"), encoding="utf-8")
    assert "zero_dates: 'null'" in plan.to_yaml()
    again = load(tmp_path / "plan.yaml")
    assert again.plan.ingestion.zero_dates == "null"
    assert again.plan.fingerprint == plan.plan.fingerprint
    assert "zero_dates" not in datapipe.read(what, source=zeros).to_yaml()


def test_zero_dates_are_for_mysql_only(sqlite_url: str, postgresql_url: str) -> None:
    for url in (sqlite_url, postgresql_url):
        with pytest.raises(PlanError, match="zero_dates is for MySQL and MariaDB"):
            datapipe.read("SELECT 1 AS a", source=url, zero_dates="null").collect()
    with pytest.raises(PlanError, match="zero_dates"):
        datapipe.read("SELECT 1 AS a", source=sqlite_url, zero_dates="maybe")  # type: ignore[arg-type]  # a mistake
