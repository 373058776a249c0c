"""Whether a destination's role may do what a load needs: asked of real servers, on which nothing is made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from datapipe.workers.health import health
from datapipe.workers.values import Part


@pytest.fixture
def role(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    """The destination's role, called etl_…, which may do nothing but connect; a connection of its database's owner."""
    name = f"etl_{os.getpid()}"
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    with psycopg.connect(postgresql_url, autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
        conn.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        found = urlsplit(postgresql_url)
        place = f"{name}:secret@{found.netloc.rpartition('@')[2]}"
        monkeypatch.setenv("DEST_DB_URL", found._replace(netloc=place).geturl())
        yield conn
        conn.execute(f"DROP OWNED BY {name}")
        conn.execute(f"DROP ROLE {name}")


def destination() -> Part:
    return next(part for part in health(workers=False).parts if part.name == "DEST_DB_URL")


def test_what_a_role_may_do_is_asked_and_nothing_is_made(
    role: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, database = f"etl_{os.getpid()}", role.info.dbname
    found = destination()
    assert (found.state, "may not create the schema _datapipe" in found.message) == ("failed", True)
    grant = f'GRANT CREATE ON DATABASE "{database}" TO "{name}"'
    assert grant in found.hint
    monkeypatch.setenv("DATAPIPE_LEDGER", "off")
    assert (
        destination().message.endswith(f"where {name} may not create tables in any schema")
        or "public" in destination().message
    )
    monkeypatch.delenv("DATAPIPE_LEDGER")

    role.execute(grant)
    assert destination().state == "ok"
    assert role.execute("SELECT count(*) FROM pg_namespace WHERE nspname = '_datapipe'").fetchone() == (0,)

    role.execute("CREATE SCHEMA _datapipe")
    role.execute("CREATE TABLE _datapipe.loads (key text PRIMARY KEY)")
    found = destination()
    assert (found.state, "may not write to the schema _datapipe" in found.message) == ("failed", True)
    for statement in found.hint.removeprefix("Have its owner run: ").split("; ")[:2]:
        role.execute(statement)
    assert destination().state == "ok"


def test_the_owner_may_do_everything(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEST_DB_URL", postgresql_url)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    found = destination()
    assert (found.state, "may not" in found.message) == ("ok", False)


def test_mysql(mysql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEST_DB_URL", mysql_url)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    found = destination()
    assert (found.state, "not known" in found.message) == ("ok", False)
