"""From PostgreSQL: the exact value and the declared type arrive, or an error names the column and the row."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from fidelity.cases import CASES, CONVERTED, EXTENSIONS, OWN_TYPES, UNREADABLE, Case
from fidelity.roads import ROADS, Postgresql, Sqlite, by_frame, direct, stored

import datapipe
from datapipe.data.connections import shared
from datapipe.errors import DataError, DatapipeError, SchemaError
from datapipe.pipeline import Pipeline

Road = Callable[[Pipeline], Pipeline]


def ident(value: object) -> str:
    return getattr(value, "__name__", "") or str(value)


@pytest.fixture(scope="module")
def database(postgresql: Postgresql) -> Postgresql:
    postgresql.run("SET lc_monetary TO 'C'", "SET TimeZone TO 'UTC'", *OWN_TYPES)
    return postgresql


@pytest.fixture
def source(database: Postgresql, case: Case) -> Pipeline:
    """A table of the case's values in column v, and NULL at its end."""
    if case.type in EXTENSIONS:
        try:
            database.run(f"CREATE EXTENSION IF NOT EXISTS {case.type}")
        except psycopg.Error:
            pytest.skip(f"the server has no {case.type}")
    database.fresh(f"CREATE TABLE source (id integer PRIMARY KEY, v {case.type})")
    rows = [*enumerate(case.texts), (len(case.texts), None)]
    with database.conn.cursor() as cursor:
        cursor.executemany(f"INSERT INTO source VALUES (%s, %s::text::{case.type})", rows)
    assert database.texts("source") == [*case.texts, None]
    return database.read()


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("road", ROADS, ids=ident)
def test_a_new_table_has_the_values_and_the_type(
    database: Postgresql, source: Pipeline, case: Case, road: Road
) -> None:
    plan = road(source).write("target", to=database.url)
    framed = case.framed if road is by_frame else None
    if isinstance(framed, type):
        with pytest.raises(framed, match="column 'v', row 1"):
            plan.run()
        return
    plan.run()
    assert database.texts() == [*(framed or case.texts), None]
    assert database.type() == (case.new or database.type("source"))


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("strategy", ["append", "upsert"])
def test_a_table_of_the_same_type_has_the_values(
    database: Postgresql, source: Pipeline, case: Case, strategy: str
) -> None:
    database.run("CREATE TABLE target (LIKE source INCLUDING ALL)")
    keys = ["id"] if strategy == "upsert" else []
    source.write("target", to=database.url, strategy=strategy, keys=keys).run()
    assert database.texts() == [*case.texts, None]


# The other roads lead to PostgreSQL in CI, by the test above; to SQLite by hand.
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(
    "road", [pytest.param(road, marks=() if road is direct else pytest.mark.soak) for road in ROADS], ids=ident
)
def test_sqlite_has_the_values_in_their_storage_class(sqlite: Sqlite, source: Pipeline, case: Case, road: Road) -> None:
    plan = road(source).write("target", to=sqlite.url)
    framed = case.framed if road is by_frame else None
    error = framed if isinstance(framed, type) else case.sqlite
    if isinstance(error, type):
        with pytest.raises(error, match="column 'v'"):
            plan.run()
        assert not sqlite.exists()
        return
    plan.run()
    assert sqlite.values() == stored([*(framed or case.stored or case.texts), None])
    assert sqlite.type() == case.sqlite


@pytest.mark.parametrize("case", [case for case in CASES if isinstance(case.sqlite, str)], ids=str)
def test_sqlite_gives_back_what_it_was_given(
    database: Postgresql, sqlite: Sqlite, source: Pipeline, case: Case
) -> None:
    source.write("target", to=sqlite.url).run()
    database.run("CREATE TABLE target (LIKE source INCLUDING ALL)")
    datapipe.read("target", source=sqlite.url).write("target", to=database.url).run()
    # SQLite has one zero.
    assert database.texts() == [*(["0"] if case.texts == ("-0",) else case.texts), None]


def unreadable(database: Postgresql, type_: str, value: str) -> Pipeline:
    database.fresh(
        f"CREATE TABLE source AS SELECT n AS id, CASE n WHEN 3 THEN '{value}' END::{type_} AS v, 1.5::numeric(9,1) AS w FROM generate_series(1, 5) AS n"
    )
    return database.read()


@pytest.mark.parametrize(("type_", "value"), UNREADABLE)
@pytest.mark.parametrize("strategy", ["append", "upsert"])
def test_what_no_other_type_holds_arrives_where_nobody_looks_into_it(
    database: Postgresql, type_: str, value: str, strategy: str
) -> None:
    source = unreadable(database, type_, value)
    database.run("CREATE TABLE target (LIKE source, PRIMARY KEY (id))")
    source.write("target", to=database.url, strategy=strategy, keys=["id"] if strategy == "upsert" else []).run()
    assert database.texts() == database.texts("source")


@pytest.mark.parametrize(("type_", "value"), UNREADABLE)
@pytest.mark.parametrize("road", [road for road in ROADS if road is not direct], ids=ident)
def test_what_no_other_type_holds_is_named_and_nothing_is_written(
    database: Postgresql, type_: str, value: str, road: Road
) -> None:
    unreadable(database, type_, value)
    with pytest.raises(DataError, match="column 'v', row 3") as caught:
        road(database.read()).write("target", to=database.url).run()
    assert (caught.value.column, caught.value.row) == ("v", 3)
    assert '"v"' in str(caught.value.hint) or "numeric" in type_
    assert not database.exists()


@pytest.mark.parametrize(("given", "type_", "expected"), CONVERTED)
def test_a_column_of_another_type_gets_the_exact_value_or_none(
    database: Postgresql, given: str, type_: str, expected: str | None
) -> None:
    database.fresh(f"CREATE TABLE target (id integer, v {type_})")
    query = f"SELECT n AS id, CASE n WHEN 2 THEN {given} END AS v FROM generate_series(1, 2) AS n"
    plan = datapipe.read(query, source=database.url).write("target", to=database.url)
    if expected is not None:
        plan.run()
        assert database.texts() == [None, expected]
        return
    with pytest.raises(DataError) as caught:
        plan.run()
    assert (caught.value.column, caught.value.row) == ("v", 2)
    assert database.texts() == []


HOSTILE = (
    "TimeZone = 'America/New_York'",
    "DateStyle = 'SQL, DMY'",
    "IntervalStyle = 'sql_standard'",
    "extra_float_digits = -15",
    "bytea_output = 'escape'",
    "array_nulls = off",
)
SENSITIVE = {
    "interval": "-1 mons +2 days 03:00:00.000001",
    "interval[]": '{"-1 mons +2 days -03:00:00"}',
    "point": "(0.1234567890123456,1e-300)",
    "double precision": "0.1234567890123456",
    "tstzrange": '["2024-03-10 06:59:59+00","2024-12-02 00:00:00+00")',
    "daterange": "[2024-03-10,2024-12-02)",
    "timestamp with time zone[]": '{"2024-03-10 06:59:59+00",NULL}',
    "bytea[]": '{"\\\\x00ff",NULL}',
    "pair": '(1,"a b")',
}


@pytest.mark.parametrize("type_", SENSITIVE)
@pytest.mark.parametrize("road", ROADS, ids=ident)
def test_the_settings_of_a_database_change_no_value(database: Postgresql, type_: str, road: Road) -> None:
    database.fresh(f"CREATE TABLE source AS SELECT 1 AS id, '{SENSITIVE[type_]}'::{type_} AS v")
    database.run("CREATE TABLE target (LIKE source)")
    name = database.conn.info.dbname
    try:
        database.run(*(f"ALTER DATABASE {name} SET {setting}" for setting in HOSTILE))
        shared().dispose()  # a new connection has them
        road(database.read()).write("target", to=database.url).run()
    finally:
        database.run(f"ALTER DATABASE {name} RESET ALL")
        shared().dispose()
    assert database.texts() == database.texts("source") == [SENSITIVE[type_]]


@pytest.mark.parametrize(
    "column",
    ["v integer GENERATED ALWAYS AS IDENTITY", "v integer GENERATED ALWAYS AS (id * 2) STORED"],
    ids=["identity", "computed"],
)
def test_a_column_that_is_always_generated_is_left_to_the_database(database: Postgresql, column: str) -> None:
    database.fresh(f"CREATE TABLE target (id integer, {column})")
    with_it = datapipe.read("SELECT 7 AS id, 5 AS v", source=database.url).write("target", to=database.url)
    with pytest.raises(SchemaError, match="column 'v' of target is generated always") as caught:
        with_it.explain()
    assert caught.value.column == "v"
    datapipe.read("SELECT 7 AS id", source=database.url).write("target", to=database.url).run()
    assert database.texts() == ["1" if "IDENTITY" in column else "14"]


def test_an_identity_column_that_takes_values_gets_those_it_is_given(database: Postgresql) -> None:
    database.fresh("CREATE TABLE target (id integer, v integer GENERATED BY DEFAULT AS IDENTITY)")
    for query in ("SELECT 1 AS id, 5 AS v", "SELECT 2 AS id"):
        datapipe.read(query, source=database.url).write("target", to=database.url).run()
    assert database.texts() == ["5", "1"]


def test_an_error_of_the_query_itself_is_not_blamed_on_a_value(database: Postgresql) -> None:
    query = "SELECT 1.5::numeric(9,1) AS v, 1 / (n - 2) AS w FROM generate_series(1, 3) AS n"
    with pytest.raises(DatapipeError, match="division by zero") as caught:
        datapipe.read(query, source=database.url).collect()
    assert caught.value.row is None
