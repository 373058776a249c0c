"""What a query needs of its input: columns by DuckDB's own plan, conditions that every source understands alike."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from datapipe.data.asking import Ask, Condition, begins_at_once, narrowed
from datapipe.data.stream import Workspace
from datapipe.data.types import TIMESTAMPTZ, tagged
from datapipe.transformation.bound import bind

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64()),
        pa.field("n", pa.int32()),
        pa.field("d", pa.date32()),
        pa.field("t", pa.timestamp("us")),
        pa.field("z", TIMESTAMPTZ),
        pa.field("ok", pa.bool_()),
        pa.field("price", pa.decimal128(9, 2)),
        pa.field("wide", pa.decimal128(38, 20)),
        pa.field("f", pa.float64()),
        pa.field("s", pa.string()),
        tagged("amount", "numeric"),
        tagged("j", "jsonb"),
        pa.field("part", pa.struct([("k", pa.int64()), ("l", pa.int64())])),
        pa.field("part.k", pa.int64()),
        pa.field("Odd name", pa.int64()),
    ]
)


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        yield connection


def asked(
    con: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: Mapping[str, Any] | None = None,
    schema: pa.Schema = SCHEMA,
    **tables: pa.Schema,
) -> Ask:
    found = bind(con, sql, parameters or {}, {"input_data": schema, **tables}, Workspace()).asks("input_data")
    for name in ("input_data", *tables):
        con.execute(f"DROP VIEW {name}")
    return found


EVERYTHING = " ".join(name.replace(" ", "_") for name in SCHEMA.names)


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("SELECT id, N AS m FROM input_data", "id n"),
        ("SELECT * FROM input_data", EVERYTHING),
        ("FROM input_data", EVERYTHING),
        ("SELECT x FROM input_data x", EVERYTHING),
        ("SELECT x.* FROM input_data x JOIN input_data y USING (id)", EVERYTHING),
        ("SELECT x.s FROM input_data x JOIN input_data y USING (id)", "id s"),
        ("SELECT DISTINCT * FROM input_data", EVERYTHING),
        (
            "SELECT * EXCLUDE (id, n, d, t, z, ok, price, wide, f, j, part, amount) FROM input_data",
            "s part part.k Odd_name",
        ),
        ("SELECT COLUMNS('^[nd]$') FROM input_data", "n d"),
        ("SELECT #2 FROM input_data", "n"),
        ("SELECT id FROM input_data WHERE f > 1 ORDER BY s", "id f s"),
        ("SELECT id FROM input_data QUALIFY row_number() OVER (PARTITION BY n ORDER BY d) = 1", "id n d"),
        ("SELECT DISTINCT ON (n) id FROM input_data ORDER BY d", "id n d"),
        ("SELECT n, max(f) FROM input_data GROUP BY ALL ORDER BY ALL", "n f"),
        ("SELECT count(*) FROM input_data", "ok"),
        ("SELECT 1 AS one FROM input_data", "ok"),
        ("SELECT id FROM input_data LIMIT 0", "ok"),
        ("SELECT count(s) FROM input_data", "s"),
        ("SELECT id FROM input_data NATURAL JOIN (SELECT 1 AS n, 'x' AS other)", "id n"),
        ("SELECT (SELECT max(y.f) FROM input_data y WHERE y.n = x.n) FROM input_data x", "n f"),
        ("SELECT id FROM input_data x WHERE EXISTS (FROM input_data y WHERE y.s > x.s)", "id s"),
        ("WITH input_data AS (SELECT id, n FROM input_data) SELECT n FROM input_data", "n"),
        ("WITH y AS MATERIALIZED (FROM input_data) SELECT id FROM y UNION SELECT n FROM y", "id n"),
        ("SELECT list_transform([1], lambda n: n + id) FROM input_data", "id"),
        ("SELECT part.k FROM input_data", "part part.k"),
        ('SELECT "part.k" FROM input_data', "part part.k"),
        ('SELECT "odd NAME" FROM input_data', "Odd_name"),
        ("SELECT j->>'a' FROM input_data", "j"),
        ("SELECT amount + 1 FROM input_data", "amount"),
        ("SELECT id FROM input_data x JOIN more USING (n) WHERE more.f > 1", "id n"),
    ],
)
def test_the_columns(con: duckdb.DuckDBPyConnection, sql: str, columns: str) -> None:
    tables = {"more": pa.schema({"n": pa.int32(), "f": pa.float64()})} if "more" in sql else {}
    found = asked(con, sql, **tables).names(SCHEMA)
    assert {name.replace(" ", "_") for name in found} == set(columns.split())
    assert found == [name for name in SCHEMA.names if name in found]


def test_names_that_a_plan_does_not_show_as_they_are_mean_all_columns(con: duckdb.DuckDBPyConnection) -> None:
    for name in ("a\nb", " a"):
        schema = pa.schema({"a": pa.int64(), "b": pa.int64(), name: pa.int64()})
        assert asked(con, f'SELECT "{name}" FROM input_data', schema=schema).columns is None


DAY, NOON = dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 12)


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("n > 5", [("n", ">", 5)]),
        ("-5 <= N", [("n", ">=", -5)]),
        ("x.n <> 5 AND (id = 1 AND ok)", [("n", "<>", 5), ("id", "=", 1)]),
        ("n BETWEEN 1 AND 2", [("n", ">=", 1), ("n", "<=", 2)]),
        ("n IN (1, 2)", [("n", "IN", 1, 2)]),
        ("d IS NULL AND ok IS NOT NULL", [("d", "IS NULL"), ("ok", "IS NOT NULL")]),
        ("ok = TRUE", [("ok", "=", True)]),
        ("d >= DATE '2024-02-29' AND d = CAST('2024-02-29' AS date)", [("d", ">=", DAY), ("d", "=", DAY)]),
        ("d < '2024-02-29'", [("d", "<", DAY)]),
        ("t < TIMESTAMP '2024-02-29 12:00:00'", [("t", "<", NOON)]),
        ("t > '2024-02-29' AND t > DATE '2024-02-29'", [("t", ">", dt.datetime(2024, 2, 29))] * 2),
        ("price = 1.10 AND price < 5", [("price", "=", Decimal("1.10")), ("price", "<", Decimal(5))]),
        ("id > :whole", [("id", ">", 7)]),
        ("d > :day AND t > :noon", [("d", ">", DAY), ("t", ">", NOON)]),
        ("price <= :money", [("price", "<=", Decimal("0.5"))]),
        ('"odd name" = 1', [("Odd name", "=", 1)]),
        # Of another kind than the column, or compared otherwise elsewhere.
        ("n > 1.5 OR n > 1", []),
        ("n > 1.5 AND f > 1 AND wide > 1 AND amount > 1", []),
        ("n = '5'", []),
        ("n IN (1, NULL) AND n = NULL", []),
        ("s = 'a' AND s IS NULL", []),
        ("z > '2024-01-01' AND d > TIMESTAMP '2024-01-01 10:00:00'", []),
        ("t > :zoned", []),
        ("n > :money AND n > :nothing", []),
        ("n + 1 > 2 AND abs(n) = 1 AND NOT (n > 1) AND n NOT IN (1)", []),
        ("n > id AND part.k > 1 AND n > TRY_CAST('1' AS INTEGER)", []),
        ("n IS NOT DISTINCT FROM 1", []),
        ("n > 123456789012345678901234567890", []),
        ("d > '24-1-1' AND d > CAST('2024-01-01 10:00:00' AS DATE)", []),
        ("alias > 5", []),
    ],
)
def test_the_conditions(con: duckdb.DuckDBPyConnection, where: str, found: list[tuple[Any, ...]]) -> None:
    zoned = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    known = {"whole": 7, "day": DAY, "noon": NOON, "money": Decimal("0.5"), "zoned": zoned, "nothing": None}
    given = {name: value for name, value in known.items() if f":{name}" in where}
    conditions = asked(con, f"SELECT id, n + 1 AS alias FROM input_data x WHERE {where}", given).where
    assert [(each.column, each.operator, *each.values) for each in conditions] == found


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT s AS n FROM input_data WHERE n > 5",
        "SELECT id FROM input_data n WHERE n.n > 5",
        "SELECT id FROM input_data AS x(id, n) WHERE n > 5",
        "SELECT id FROM input_data TABLESAMPLE 1 ROWS WHERE n > 5",
        "SELECT id FROM input_data WHERE n > 5 USING SAMPLE 1 ROWS",
        "SELECT x.id FROM input_data x, input_data y WHERE x.n > 5",
        "WITH input_data AS (FROM input_data) SELECT id FROM input_data WHERE n > 5",
        "SELECT id FROM (FROM input_data) WHERE n > 5",
        "SELECT id FROM input_data x LEFT JOIN more ON x.n = more.k WHERE x.n > 5",
        "SELECT n FROM input_data GROUP BY n HAVING n > 5",
        "SELECT id, n AS m FROM input_data QUALIFY n > 5 AND row_number() OVER (ORDER BY id) = 1",
    ],
)
def test_where_a_condition_is_not_certainly_on_the_rows_of_the_input_none_is_asked_for(
    con: duckdb.DuckDBPyConnection, sql: str
) -> None:
    assert asked(con, sql, more=pa.schema({"k": pa.int64()})).where == ()


def test_a_condition_within_a_query_is_found(con: duckdb.DuckDBPyConnection) -> None:
    for sql in (
        "SELECT count(*) FROM (SELECT id FROM INPUT_DATA WHERE n > 5)",
        "WITH y AS (FROM input_data WHERE n > 5) SELECT y.id FROM y LEFT JOIN y AS other USING (id)",
        "SELECT n, sum(f) FROM input_data WHERE n > 5 GROUP BY n ORDER BY 2 LIMIT 3",
    ):
        assert asked(con, sql).where == (Condition("n", ">", (5,)),)


def test_a_narrowed_query_quotes_names_and_writes_literals_that_cannot_break_out() -> None:
    moment = dt.datetime(2024, 1, 1, 10, 0, 0, 5)
    where = (Condition('a"b', "IN", (1, -2)), Condition("t", "<", (moment,)), Condition("p", "=", (Decimal("1E+3"),)))
    ask = Ask(('a"b', "t"), (*where, Condition("d", "IS NULL")))
    conditions = '"a""b" IN (1, -2) AND "t" < TIMESTAMP \'2024-01-01 10:00:00.000005\' AND "p" = 1000 AND "d" IS NULL'
    assert narrowed('SELECT * FROM "s"."t"', ask, []) == f'SELECT "a""b", "t" FROM "s"."t" WHERE {conditions}'
    listed = narrowed("SELECT 1", Ask(("a",)), ["a", "b"], quoted=lambda name: f"`{name}`", listed=True)
    assert listed == "WITH q (`a`, `b`) AS (\nSELECT 1\n) SELECT `a` FROM q"
    assert narrowed("SELECT 1", Ask(), ["a"]) == "SELECT 1"


def test_what_gathers_does_not_begin_at_once() -> None:
    assert begins_at_once('SELECT a, "order" FROM t JOIN u USING (id) WHERE a > 5 LIMIT 3')
    for sql in ("SELECT a FROM t ORDER BY a", "SELECT a FROM (SELECT DISTINCT a FROM t) q", "SELECT 1 UNION SELECT 2"):
        assert not begins_at_once(sql)
