"""Through the spool: the table is the one that a plan makes in one go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import psycopg
import pytest
from fidelity.cases import CASES, EXTENSIONS, OWN_TYPES, Case
from fidelity.roads import Postgresql

from datapipe.workers.tasks import ingest, persist, transform

DEFINED = """SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, t.v::text FROM {0} AS t, pg_attribute AS a
WHERE a.attrelid = '{0}'::regclass AND a.attnum > 0 ORDER BY a.attnum, t.id"""


@pytest.fixture(scope="module")
def database(postgresql: Postgresql) -> Postgresql:
    postgresql.run("SET lc_monetary TO 'C'", "SET TimeZone TO 'UTC'", *OWN_TYPES)
    return postgresql


@pytest.fixture
def spool(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files that are mapped, and such that travel compressed."""
    monkeypatch.setenv("DATAPIPE_SPOOL_URL", {"folder": str(tmp_path), "memory": "memory://fidelity"}[request.param])
    yield
    fsspec.filesystem("memory").store.clear()


# What is in a file does not depend on where it is: CI has every type in files that are mapped, a few in compressed ones.
PLACES = [
    pytest.param(
        place, case, marks=() if place == "folder" or number % 5 == 0 else pytest.mark.soak, id=f"{case}-{place}"
    )
    for number, case in enumerate(CASES)
    for place in ("folder", "memory")
]


@pytest.mark.parametrize(("spool", "case"), PLACES, indirect=["spool"])
def test_the_same_values_and_types(database: Postgresql, spool: None, case: Case) -> None:
    if case.type in EXTENSIONS:
        try:
            database.run(f"CREATE EXTENSION IF NOT EXISTS {case.type}")
        except psycopg.Error:
            pytest.skip(f"the server has no {case.type}")
    database.fresh(f"CREATE TABLE source (id integer PRIMARY KEY, v {case.type})", "DROP TABLE IF EXISTS stepped")
    with database.conn.cursor() as cursor:
        rows = [*enumerate(case.texts), (len(case.texts), None)]
        cursor.executemany(f"INSERT INTO source VALUES (%s, %s::text::{case.type})", rows)
    database.read().write("target", to=database.url).run()
    whole = database.conn.execute(DEFINED.format("target").encode()).fetchall()

    persist(ingest(table="source", source_db_url=database.url), "stepped", dest_db_url=database.url)
    assert database.conn.execute(DEFINED.format("stepped").encode()).fetchall() == whole

    database.run("DROP TABLE stepped")
    step = {"sql_query": "SELECT * FROM input_data"}
    rows_ = transform(ingest(table="source", source_db_url=database.url), "sql", step)
    persist(rows_, "stepped", dest_db_url=database.url)
    assert database.conn.execute(DEFINED.format("stepped").encode()).fetchall() == whole
