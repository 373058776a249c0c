"""Who looks at a database sees which run its sessions belong to, and no session keeps the name of a run that is over."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

import datapipe
from datapipe.data.cancel import CancelToken
from datapipe.data.connections import ConnectionManager, shared
from datapipe.logs import bound, of_run

NAMES = "SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def names(url: str) -> set[str]:
    with psycopg.connect(url) as conn:
        return {name for (name,) in conn.execute(NAMES).fetchall()}


@pytest.fixture
def filled(postgresql_url: str) -> str:
    with psycopg.connect(postgresql_url) as conn:
        conn.execute("CREATE TABLE users AS SELECT generate_series(1, 3) AS id")
    return postgresql_url


def test_reading_and_writing_sessions_have_the_runs_name_while_it_lasts(filled: str):
    """A source that does not end before it has been looked at, and a trigger that says who writes."""
    with psycopg.connect(filled) as conn:
        conn.execute("CREATE TABLE seen (who text, name text)")
        conn.execute("CREATE TABLE copy (id int)")
        conn.execute("""
            CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
              INSERT INTO seen VALUES ('writer', current_setting('application_name')); RETURN NULL; END $$""")
        conn.execute("CREATE TRIGGER noted AFTER INSERT ON copy EXECUTE FUNCTION note()")
    query = "SELECT id, current_setting('application_name') AS reader FROM users"
    readers: list[str] = []

    def keep(frame: Any) -> Any:
        readers.extend(frame.pop("reader"))
        return frame

    plan = datapipe.read(query, source=filled).apply(keep).write("copy", to=filled)
    with bound(correlation_id="order-17"):
        results = [plan.run(), plan.run()]  # the second time over connections that were kept
    wanted = [f"datapipe {result.run_id[:8]} order-17" for result in results]
    with psycopg.connect(filled) as conn:
        writers = [name for (name,) in conn.execute("SELECT name FROM seen ORDER BY ctid").fetchall()]
    assert writers == wanted
    assert readers == [name for name in wanted for _ in range(3)]
    assert names(filled) <= {"datapipe"}
    shared().dispose()


def test_a_run_without_another_id_is_known_by_its_own(filled: str):
    found: list[set[str]] = []

    def look(frame: Any) -> Any:
        found.append(names(filled))
        return frame

    result = datapipe.read("SELECT * FROM users", source=filled).apply(look).write("copy", to=filled).run()
    assert found[0] <= {"datapipe", f"datapipe {result.run_id}"}
    shared().dispose()


def test_a_lent_engine_gets_its_sessions_back_as_they_were(filled: str):
    url = sa.engine.make_url(filled).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, connect_args={"application_name": "shop"})
    datapipe.read("SELECT * FROM users", source=engine).write("copy", to=engine).run()
    with engine.connect() as conn:
        assert conn.scalar(sa.text("SELECT current_setting('application_name')")) == "shop"
    engine.dispose()


def test_mysql_is_told_in_an_attribute_of_the_connection(mysql_url: str):
    manager = ConnectionManager()
    with of_run("7d7d5f5c-8a5f", "order-17"), manager.connect(mysql_url, CancelToken()) as conn:
        raw: Any = conn.connection.driver_connection
        assert raw._connect_attrs["program_name"] == "datapipe 7d7d5f5c order-17"
    manager.dispose()
