"""One empty database of every kind for each test of a sink."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.sinks import KINDS, Sink
from services import postgresql_database

from datapipe.store import RunStore, open_store


@pytest.fixture(scope="module")
def module_postgresql_url(postgresql_server: str) -> Iterator[str]:
    """A database that the tests of one module share, one after the other: making one takes a while."""
    with postgresql_database(postgresql_server) as url:
        yield url


@pytest.fixture
def postgresql_sink(module_postgresql_url: str) -> Iterator[Sink]:
    """PostgreSQL, with every schema a test may have made taken away afterwards."""
    sink = Sink("postgresql", module_postgresql_url)
    yield sink
    schemas = sink.sql("SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)'")
    sink.sql(*(f"DROP SCHEMA {name} CASCADE" for (name,) in schemas), "CREATE SCHEMA public")


@pytest.fixture
def mysql_sink(mysql_url: str) -> Iterator[Sink]:
    """MariaDB or MySQL, with every database a test may have made taken away afterwards."""
    sink, names = Sink("mysql", mysql_url), "SELECT schema_name FROM information_schema.schemata"
    before = sink.sql(names)
    yield sink
    for (name,) in sorted(set(sink.sql(names)) - set(before)):
        sink.sql('DROP DATABASE "{}"'.format(name.replace('"', '""')))


@pytest.fixture(params=KINDS)
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Sink:
    """Each database in turn."""
    if request.param in {"postgresql", "mysql"}:
        found: Sink = request.getfixturevalue(f"{request.param}_sink")
        return found
    return Sink(request.param, f"{request.param}:///{tmp_path / 'test.db'}")


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of each kind that runs may be recorded in, named in the environment."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    monkeypatch.setenv("DATAPIPE_METADATA_URL", found)
    return found


@pytest.fixture
def store(store_url: str) -> RunStore:
    """A run store of each kind."""
    found = open_store()
    assert found is not None
    return found
