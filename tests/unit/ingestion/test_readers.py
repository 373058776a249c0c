from __future__ import annotations

import sqlite3
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from datapipe.data.stream import Workspace
from datapipe.errors import DataError, PlanError, RunCancelled
from datapipe.ingestion import open_source, source_sql
from datapipe.plan import FileSource, FrameSource, QuerySource, Source, TableSource, build
from datapipe.settings import connections


def read(source: Source, work: Workspace | None = None) -> pa.Table:
    with open_source(source, work or Workspace()) as stream:
        return pa.Table.from_batches(list(stream.batches), stream.schema)


@pytest.fixture
def database(sqlite_url: str) -> str:
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    connection.executescript(
        "CREATE TABLE users (id INTEGER, name TEXT); INSERT INTO users VALUES (1, 'Ann'), (2, 'Bob');"
        'CREATE TABLE "odd ""t; --" (a INTEGER); INSERT INTO "odd ""t; --" VALUES (7);'
    )
    connection.close()
    return sqlite_url


@pytest.mark.parametrize(
    ("source", "sql"),
    [
        (build(TableSource, {"table": "crm.users"}), 'SELECT * FROM "crm"."users"'),
        (build(TableSource, {"table": 'a"; DROP TABLE b; --'}), 'SELECT * FROM "a""; DROP TABLE b; --"'),
        (build(TableSource, {"table": "a.b", "schema": "s.t"}), 'SELECT * FROM "s.t"."a.b"'),
        (build(QuerySource, {"query": "SELECT 1 ; "}), "SELECT 1"),
        (FileSource(files="x.csv"), None),
        (FrameSource(frame=pd.DataFrame()), None),
    ],
    ids=str,
)
def test_the_sql_that_is_sent_is_known_before(source: Source, sql: str | None) -> None:
    assert source_sql(source) == sql


def test_a_table_of_any_name_is_that_table(database: str) -> None:
    source = build(TableSource, {"table": 'odd "t; --', "source_db_url": database})
    assert read(source).to_pylist() == [{"a": 7}]


def test_a_query_may_end_in_a_comment_or_a_semicolon(database: str) -> None:
    for query in ("SELECT id FROM users WHERE id = :id -- only one", "SELECT id FROM users WHERE id = :id ;"):
        source = build(QuerySource, {"query": query, "parameters": {"id": 2}, "source_db_url": database})
        assert read(source).to_pylist() == [{"id": 2}]


def test_connections_are_found_by_name_and_by_default(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_connections", {})
    connections.connect("crm", database)
    monkeypatch.setenv("SOURCE_DB_URL", database)
    monkeypatch.setenv("PLACE", database)
    for place in ({"source": "crm"}, {}, {"source_db_url": "${PLACE}"}):
        assert read(build(TableSource, {"table": "users", **place})).num_rows == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"query": "SELECT :day AS d"}, "ingestion: parameter :day has no value"),
        ({"query": "SELECT 1 AS d", "parameters": {"day": 1}}, "ingestion: parameter 'day' is not used"),
        ({"query": "SELECT * FROM nope"}, "ingestion: sqlite test.db: no such table: nope"),
        ({"table": "nope"}, "ingestion: sqlite test.db: no such table: nope"),
    ],
)
def test_a_wrong_source_is_a_plan_error_of_the_ingestion(
    database: str, values: dict[str, object], message: str
) -> None:
    kind = QuerySource if "query" in values else TableSource
    with pytest.raises(PlanError) as caught:
        read(build(kind, values | {"source_db_url": database}))
    assert str(caught.value).startswith(message)


def test_an_error_on_the_way_names_the_ingestion_and_one_of_the_caller_does_not(database: str) -> None:
    query = "SELECT CASE id WHEN 2 THEN name ELSE id END AS a FROM users"
    with pytest.raises(DataError) as caught:
        read(build(QuerySource, {"query": query, "source_db_url": database}))
    assert caught.value.step == "ingestion"
    theirs = DataError("mine")
    with pytest.raises(DataError), open_source(FrameSource(frame=pa.table({"a": [1]})), Workspace()):
        raise theirs
    assert theirs.step is None


def test_a_driver_that_is_not_installed_is_a_plan_error() -> None:
    source = build(TableSource, {"table": "t", "source_db_url": "oracle+oracledb://u@h/db"})
    with pytest.raises(PlanError, match="driver for oracle"):
        read(source)


def test_a_cancelled_run_opens_nothing_to_read() -> None:
    work = Workspace()
    work.cancel.cancel()
    with pytest.raises(RunCancelled):
        read(FrameSource(frame=pa.table({"a": [1]})), work)


def test_a_sqlite_source_and_target_in_one_file_do_not_block_each_other(database: str) -> None:
    path = Path(database.removeprefix("sqlite:///"))
    source = build(TableSource, {"table": "users", "source_db_url": database})
    connection = sqlite3.connect(path, timeout=0)
    for work in (Workspace(), Workspace(limit=1)):
        with open_source(source, work) as stream:
            rows = sum(batch.num_rows for batch in stream.batches)
            connection.execute('DELETE FROM "odd ""t; --"')
            connection.commit()
        assert rows == (work.limit or 2)
    connection.close()
