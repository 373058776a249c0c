"""One platform for all tests of the REST interface: PostgreSQL, a broker, a worker, a server with keys."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from reststack import Stack, running_stack
from services import postgresql_database


@pytest.fixture(scope="session")
def stack(postgresql_server: str) -> Iterator[Stack]:
    """All of it."""
    with (
        tempfile.TemporaryDirectory(prefix="datapipe-rest-") as folder,
        postgresql_database(postgresql_server) as url,
        running_stack(Path(folder), url) as found,
    ):
        yield found


@pytest.fixture
def ann(stack: Stack) -> Iterator[httpx.Client]:
    """Somebody who may run things."""
    with stack.client("ann") as client:
        yield client


@pytest.fixture
def bob(stack: Stack) -> Iterator[httpx.Client]:
    """Somebody else who may."""
    with stack.client("bob") as client:
        yield client
