"""Fixtures and markers for every test."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import settings
from psycopg.sql import SQL, Identifier

sys.path.insert(0, str(Path(__file__).parent))  # importmode=importlib puts nothing there by itself

from services import URL_VARIABLE, find_postgresql, running_postgresql

from datapipe.data.connections import shared

# How long an example takes says nothing on a busy machine.
settings.register_profile("datapipe", deadline=None)
settings.load_profile("datapipe")

os.environ.setdefault("MAX_RETRIES", "0")  # tests of retries say so

MARKERS = {
    "unit": ("unit", "properties", "architecture"),
    "integration": ("contracts", "integration", "acceptance"),
    "soak": ("benchmarks",),
}


def pytest_report_header() -> str:
    service = find_postgresql()
    return f"postgresql: {service.kind if service else 'none'}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test's folder decides how it is marked."""
    root = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(root).parts[0] if item.path.is_relative_to(root) else ""
        for marker, folders in MARKERS.items():
            if folder in folders:
                item.add_marker(marker)


@pytest.fixture(autouse=True)
def _no_pooled_connections() -> Iterator[None]:
    """No test leaves pooled connections behind."""
    yield
    shared().dispose()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The admin URL of a PostgreSQL server."""
    service = find_postgresql()
    if service is None:
        reason = f"no PostgreSQL: set {URL_VARIABLE}, install a server, or pip install 'datapipe-sdk[local]'"
        if os.environ.get("DATAPIPE_TEST_REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with running_postgresql(service) as url:
        yield url


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """The URL of an empty database that belongs to one test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgresql_server, autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(Identifier(name)))
        yield urlsplit(postgresql_server)._replace(path=f"/{name}").geturl()
        admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'test.db'}"
