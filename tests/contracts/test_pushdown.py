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

from datapipe.data.asking import Asked
from datapipe.data.stream import Stream, Workspace
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

    @settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
    @given(queries())
    def holds(sql: str) -> None:
        inputs = {"input_data": Stream(schema, iter(batches))}
        with run_sql(sql, _parameters(sql), inputs, Workspace(scratch=tmp_path)) as made:
            expected = made.schema, _rows(made)
        found_schema, found, _ = _pushed(source, sql, tmp_path)
        assert (found_schema, found) == expected

    holds()
