"""What the first step needs is asked of the source, and the result is that of asking for everything."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from contracts.sinks import mysql_many, mysql_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import datapipe
from datapipe.data.asking import Asked
from datapipe.data.stream import Stream, Workspace
from datapipe.errors import DataError
from datapipe.ingestion import open_source
from datapipe.plan import FileSource, QuerySource, Source, TableSource, build, parse
from datapipe.transformation import first_step, run_sql

NAMES = ("id", "N", "price", "d", "t", "ok", "s", "odd name", "f")
TYPES = (
    "INTEGER",
    "INTEGER",
    "DECIMAL(9,2)",
    "DATE",
    "{moment}",
    "BOOLEAN",
    "VARCHAR(9)",
    "BIGINT",
    "DOUBLE PRECISION",
)
ROWS = [
    (1, 1, Decimal("1.10"), dt.date(2024, 1, 1), dt.datetime(2024, 1, 1, 9, 30), True, "a", 5, 0.5),
    (2, 2, Decimal("2.00"), dt.date(2024, 1, 2), dt.datetime(2024, 1, 1, 10), False, "A", 6, 1.5),
    (3, 2, None, dt.date(2024, 1, 2), dt.datetime(2024, 1, 1, 10, 0, 0, 1), None, None, None, None),
    (4, None, Decimal("-3.50"), None, None, True, "b", 2**40, -1.0),
    (5, 3, Decimal("9999999.99"), dt.date(1999, 12, 31), dt.datetime(2025, 6, 1), None, "", 0, 2.5),
    (6, None, None, dt.date(2024, 2, 29), None, False, "a ", -5, 0.5),
    (7, -1, Decimal("1.50"), dt.date(2024, 1, 2), dt.datetime(2024, 1, 1), True, "a", 5, None),
]
LOW, DAY, MONEY = 1, dt.date(2024, 1, 2), Decimal("1.5")
CONDITIONS = """
n > 1;  1 < n;  x.n <> 2;  n = 2;  n IN (1, 3);  n NOT IN (1, 3);  n IS NULL;  n IS NOT NULL;  n BETWEEN 0 AND 2;  n > 1.5;
NOT (n > 1);  n IS NOT DISTINCT FROM 2;  price >= 1.5;  price < 3;  price = 1.10;  price <> 2;  price IS NULL;
price BETWEEN -4 AND 2.00;  d >= DATE '2024-01-02';  d = '2024-01-02';  d < CAST('2024-02-29' AS DATE);  d IS NULL;
t > TIMESTAMP '2024-01-01 10:00:00';  t >= '2024-01-01';  t <= DATE '2024-01-01';  ok;  ok = TRUE;  ok <> TRUE;  NOT ok;
ok IS NOT NULL;  s = 'a';  s > 'A';  f > 0.5;  id + n > 3;  "odd name" <= 5;  "ODD name" > -5;  n > :low;  d >= :day;
price > :money;  (n > 1 OR ok);  id IN (SELECT n FROM input_data);  d IN ('2024-01-02', '1999-12-31');  id < 9000000000
"""
QUERIES = """
SELECT id, n FROM input_data x {where}
SELECT * FROM input_data x {where}
SELECT * EXCLUDE (s, f) FROM input_data x {where}
SELECT * REPLACE (n + 1 AS n) FROM input_data AS x {where}
SELECT COLUMNS('n|d') FROM input_data x {where}
FROM input_data x {where}
SELECT count(*) AS c FROM input_data x {where}
SELECT count(*) AS c, sum(price) AS p, min(x."Odd Name") AS o FROM input_data x {where}
SELECT ok, max(d) AS m FROM input_data x {where} GROUP BY ALL ORDER BY ALL
SELECT #2 AS second FROM input_data x {where}
SELECT s AS n, id FROM input_data x {where}
SELECT x FROM input_data x {where}
SELECT id, f * 2 AS twice FROM input_data x {where} ORDER BY s, id LIMIT 3
SELECT id FROM input_data x {where} QUALIFY row_number() OVER (PARTITION BY n ORDER BY id) = 1
SELECT DISTINCT ON (n) id FROM input_data x {where} ORDER BY n, id
SELECT (SELECT max(f) FROM input_data) AS f, id FROM input_data x {where}
SELECT a.id, b.s FROM (SELECT * FROM input_data x {where}) a JOIN input_data b USING (id)
SELECT id FROM (SELECT id, n FROM input_data x {where}) NATURAL JOIN (SELECT 2 AS n, 'z' AS s)
WITH y AS (SELECT * FROM input_data x {where}) SELECT a.n, b.d FROM y a LEFT JOIN y b ON a.id = b.n
WITH input_data AS (SELECT * FROM input_data x {where}) SELECT id, t FROM input_data
SELECT id FROM input_data x {where} UNION ALL SELECT n FROM input_data
SELECT list_transform([1, 2], lambda n: n + id) AS l FROM input_data x {where}
SELECT count(*) FILTER (WHERE ok) AS c, count(DISTINCT n) AS e FROM input_data x {where}
SELECT 1 AS one FROM input_data x {where}
SELECT n, count(*) AS c FROM input_data x {where} GROUP BY n HAVING max(f) > 0
SELECT id FROM input_data x {where} LIMIT 0
"""


def _ddl(moment: str) -> str:
    types = [type_.format(moment=moment) for type_ in TYPES]
    return "CREATE TABLE t (" + ", ".join(f'"{name}" {type_}' for name, type_ in zip(NAMES, types, strict=True)) + ")"


def _of(url: str, query: str | None) -> Source:
    if query is None:
        return build(TableSource, {"table": "t", "source_db_url": url})
    return build(QuerySource, {"query": query, "source_db_url": url})


def _postgresql(_: Path, request: pytest.FixtureRequest, query: str | None = None) -> Source:
    url = request.getfixturevalue("postgresql_url")
    with psycopg.connect(url) as connection:
        connection.execute(_ddl("TIMESTAMP"))
        connection.cursor().executemany(f"INSERT INTO t VALUES ({', '.join(['%s'] * len(NAMES))})", ROWS)
    return _of(url, query)


def _mysql(_: Path, request: pytest.FixtureRequest, query: str | None = None) -> Source:
    url = request.getfixturevalue("mysql_url")
    mysql_rows(url, _ddl("DATETIME(6)"))
    mysql_many(url, f"INSERT INTO t VALUES ({', '.join(['%s'] * len(NAMES))})", ROWS)
    return _of(url, query)


def _sqlite(folder: Path, _: Any, query: str | None = None) -> Source:
    rows = [[value if isinstance(value, int | float | None) else str(value) for value in row] for row in ROWS]
    with sqlite3.connect(folder / "t.db") as connection:
        connection.execute(_ddl("TIMESTAMP"))
        connection.executemany(f"INSERT INTO t VALUES ({', '.join('?' * len(NAMES))})", rows)
    connection.close()
    return _of(f"sqlite:///{folder / 't.db'}", query)


def _duckdb(folder: Path, _: Any, query: str | None = None) -> Source:
    with duckdb.connect(folder / "t.duckdb") as connection:
        connection.execute(_ddl("TIMESTAMP"))
        connection.executemany(f"INSERT INTO t VALUES ({', '.join('?' * len(NAMES))})", ROWS)
    return _of(f"duckdb:///{folder / 't.duckdb'}", query)


def _parquet(folder: Path, request: Any) -> Source:
    with open_source(_duckdb(folder, request), Workspace()) as stream:
        pq.write_table(pa.Table.from_batches(stream.batches, stream.schema), folder / "t.parquet", row_group_size=3)
    return FileSource(files=str(folder / "t.parquet"))


def _csv(folder: Path, request: Any) -> Source:
    _duckdb(folder, request)
    with duckdb.connect(folder / "t.duckdb") as connection:
        connection.execute(f"COPY t TO '{folder / 't.csv'}' (HEADER)")
    return FileSource(files=str(folder / "t.csv"), columns={"price": "DECIMAL(9, 2)"})


QUERY = 'SELECT * FROM t WHERE "id" < 100'
MAKERS: Mapping[str, Callable[[Path, Any], Source]] = {
    "postgresql": _postgresql,
    "postgresql query": partial(_postgresql, query=QUERY),
    "mysql": _mysql,
    "mysql query": partial(_mysql, query=QUERY.replace('"', "`")),
    "sqlite": _sqlite,
    "sqlite query": partial(_sqlite, query=QUERY),
    "duckdb": _duckdb,
    "duckdb query": partial(_duckdb, query=QUERY),
    "parquet": _parquet,
    "csv": _csv,
}


@pytest.fixture(params=MAKERS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    return MAKERS[request.param](tmp_path, request)


@st.composite
def queries(draw: st.DrawFn) -> str:
    conditions = draw(st.lists(st.sampled_from([text.strip() for text in CONDITIONS.split(";")]), max_size=3))
    query = draw(st.sampled_from(QUERIES.strip().splitlines()))
    return query.format(where=f"WHERE {' AND '.join(conditions)}" if conditions else "")


def _parameters(sql: str) -> dict[str, Any]:
    known = {"low": LOW, "day": DAY, "money": MONEY}
    return {name: value for name, value in known.items() if f":{name}" in sql}


def _rows(stream: Stream) -> list[str]:
    return sorted(map(repr, pa.Table.from_batches(stream.batches, stream.schema).to_pylist()))


def _pushed(source: Source, sql: str, scratch: Path) -> tuple[pa.Schema, list[str], Asked | None]:
    config = {"sql_query": sql, "parameters": _parameters(sql)}
    plan = parse({"ingestion": {"table": "t"}, "transformation": {"type": "sql", "config": config}})
    work = Workspace(scratch=scratch)
    with (
        first_step(plan.transformation[0], {}, work) as step,  # type: ignore[arg-type]  # which is SQL
        open_source(source, work, step.choose) as stream,
        step.run(stream) as made,
    ):
        return made.schema, _rows(made), stream.asked


def test_the_result_is_the_same(source: Source, tmp_path: Path) -> None:
    with open_source(source, Workspace(scratch=tmp_path)) as stream:
        schema, batches = stream.schema, list(stream.batches)

    @settings(deadline=None, max_examples=8, suppress_health_check=list(HealthCheck))
    @given(queries())
    def holds(sql: str) -> None:
        inputs = {"input_data": Stream(schema, iter(batches))}
        with run_sql(sql, _parameters(sql), inputs, Workspace(scratch=tmp_path)) as made:
            expected = made.schema, _rows(made)
        found_schema, found, _ = _pushed(source, sql, tmp_path)
        assert (found_schema, found) == expected

    holds()


def _sent(url: str, query: str, sql: str) -> tuple[str, str, list[dict[str, Any]]]:
    """What a plan sends to its source, what it leaves to it, and what comes out."""
    plan = datapipe.read(query, source=url).sql(sql)
    section = plan.explain().sections[0]
    return section.text, section.note, plan.collect(as_="arrow").to_pylist()


def test_postgresql_decides_on_columns_of_tables_only(postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url) as connection:
        connection.execute("CREATE TABLE texts (id int, text text)")
        connection.execute(
            "INSERT INTO texts SELECT n, CASE WHEN n < 500 THEN n::text ELSE 'no number' END FROM"
            " generate_series(1, 1000) AS n"
        )
        connection.execute("CREATE VIEW numbers AS SELECT id, text::int AS n FROM texts WHERE id < 500")
    sql = "SELECT id FROM input_data WHERE n = 499 AND id > 5"
    guarded = "SELECT id, text::int AS n FROM texts WHERE id < 500"
    text, note, rows = _sent(postgresql_url, guarded, sql)
    assert rows == [{"id": 499}]
    assert text.endswith('AS q WHERE "id" > 5') and note == "WHERE id > 5 is applied by the source"
    text, note, rows = _sent(postgresql_url, "numbers", sql)
    assert (text, note, rows) == ('SELECT * FROM "numbers"', "", [{"id": 499}])
    both = "SELECT id FROM texts UNION ALL SELECT text::int FROM texts WHERE id < 500"
    assert _sent(postgresql_url, both, "SELECT id FROM input_data WHERE id = 1000")[1:] == ("", [{"id": 1000}])


def test_postgresql_keeps_the_order_that_a_query_states(postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url) as connection:
        connection.execute("CREATE TABLE t AS SELECT n, -n AS m, n % 7 AS k FROM generate_series(1, 5000) AS n")
        connection.execute("CREATE INDEX ON t (n)")
    text, note, rows = _sent(
        postgresql_url, "SELECT * FROM t ORDER BY k, n DESC", "SELECT n FROM input_data WHERE n > 9"
    )
    assert note == "reads 1 of 3 columns" and "n > 9" not in text
    assert [row["n"] for row in rows] == sorted(range(10, 5001), key=lambda n: (n % 7, -n))
    cut = "SELECT * FROM t ORDER BY n LIMIT 20"
    assert len(_sent(postgresql_url, cut, "SELECT n FROM input_data WHERE n > 9")[2]) == 11
    unordered = "SELECT n, k FROM t LIMIT 20"
    assert _sent(postgresql_url, unordered, "SELECT count(n) AS c FROM input_data WHERE n > 0")[2] == [{"c": 20}]


def test_postgresql_refuses_no_value_that_is_not_needed(postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url) as connection:
        connection.execute("CREATE TABLE t (id int, d date, x numeric(9, 2), o oid, b bool)")
        connection.execute("INSERT INTO t VALUES (1, '2024-01-01', 1.5, 7, true), (2, 'infinity', 'NaN', 8, NULL)")
    assert _sent(postgresql_url, "t", "SELECT id FROM input_data ORDER BY id")[2] == [{"id": 1}, {"id": 2}]
    for wanted in ("d < '2025-01-01'", "x <= 1.5", "o > -1 AND b"):
        with_others = f"SELECT id FROM input_data WHERE {wanted}"
        assert {"id": 1} in _sent(postgresql_url, "t", with_others)[2]
    with pytest.raises(DataError, match="'d', row 1"):  # of those that were read
        _sent(postgresql_url, "t", "SELECT id FROM input_data WHERE d > '2024-01-01'")


def test_parameters_of_the_source_and_of_the_step_go_together(postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url) as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT n, 'text :no %' AS \"a:b %\", n AS m FROM generate_series(1, 9) AS n"
        )
    plan = datapipe.read("SELECT * FROM t WHERE n > :low", source=postgresql_url, params={"low": 3}).sql(
        'SELECT n, "a:b %" AS x FROM input_data WHERE n <= :high', params={"high": 4}
    )
    assert plan.explain().sections[0].text == (
        'SELECT "n", "a:b %" FROM (\nSELECT * FROM t WHERE n > :low\n) AS q WHERE "n" <= 4'
    )
    result = plan.collect(as_="arrow").to_pylist()
    assert result == [{"n": 4, "x": "text :no %"}]


def test_mysql_is_asked_only_what_it_decides_alike(mysql_url: str) -> None:
    mysql_rows(
        mysql_url,
        "SET SESSION sql_mode = 'ANSI_QUOTES'",
        "CREATE TABLE t (id int, y year, d date NOT NULL, s varchar(9), f float)",
        "INSERT INTO t VALUES (1, 2005, '0000-00-00', 'a', 0.1), (2, 5, '2024-01-01', 'A', 0.2)",
    )
    read = datapipe.read("t", source=mysql_url, zero_dates="null")
    for where, expected, left in (
        ("y = 5", [], ""),
        ("y = 2005", [1, 2], ""),
        ("d IS NULL", [1], ""),
        ("d IS NOT NULL", [2], "; WHERE d IS NOT NULL is applied by the source"),
        ("d < '2024-02-01'", [2], "; WHERE d < DATE '2024-02-01' is applied by the source"),
        ("s = 'a'", [1], ""),
        ("f > 0.15", [2], ""),
    ):
        plan = read.sql(f"SELECT id FROM input_data WHERE {where} ORDER BY id")
        assert plan.collect()["id"].tolist() == expected, where
        assert plan.explain().sections[0].note == f"reads 2 of 5 columns{left}"


def test_a_source_that_must_look_at_all_rows_for_its_first_is_not_asked_twice(mysql_url: str, tmp_path: Path) -> None:
    mysql_rows(mysql_url, "CREATE TABLE t (id int, n int)", "INSERT INTO t VALUES (1, 2), (2, 1)")
    with sqlite3.connect(tmp_path / "t.db") as connection:
        connection.executescript("CREATE TABLE t (id INTEGER, n INTEGER); INSERT INTO t VALUES (1, 2), (2, 1)")
    connection.close()
    for url in (mysql_url, f"sqlite:///{tmp_path / 't.db'}"):
        for query in (
            "SELECT id, n FROM t ORDER BY n",
            "SELECT id, max(n) AS n FROM t GROUP BY id",
            "SELECT id, n + 1 AS n FROM t",
        ):
            assert _sent(url, query, "SELECT count(id) AS c FROM input_data") == (query, "", [{"c": 2}])
