"""Fixtures for runs in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from crash.cells import Cell, open_cell
from crash.runs import ForkServer, fork_server


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """Where runs are started that can be killed."""
    with fork_server(tmp_path_factory.mktemp("forks")) as server:
        yield server


@pytest.fixture
def cell(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cell]:
    """The cell of a test's parameter: a kind of database and a strategy."""
    kind, strategy = request.param
    with open_cell(kind, strategy, request.getfixturevalue(f"{kind}_url"), tmp_path) as found:
        yield found
