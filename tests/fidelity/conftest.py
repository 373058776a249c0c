"""One PostgreSQL database for each module: making one takes longer than a test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from fidelity.roads import Postgresql, Sqlite
from psycopg.sql import SQL, Identifier

from datapipe.data.connections import shared

_TESTS = count(1)


@pytest.fixture(scope="module")
def postgresql(postgresql_server: str) -> Iterator[Postgresql]:
    """A database, looked at with psycopg."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    url = urlsplit(postgresql_server)._replace(path=f"/{name}").geturl()
    with psycopg.connect(postgresql_server, autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(Identifier(name)))
        # A prepared statement would not survive a table of another type.
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as conn:
            yield Postgresql(url, conn)
        shared().dispose()
        admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Sqlite]:
    """An empty database file, looked at with sqlite3."""
    found = Sqlite(f"sqlite:///{tmp_path / 'target.db'}")
    yield found
    found.conn.close()


@pytest.fixture(autouse=True)
def _no_pooled_connections() -> Iterator[None]:
    """They are kept for some tests: to make one takes longer than a test."""
    yield
    if next(_TESTS) % 20 == 0:
        shared().dispose()
