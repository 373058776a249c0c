"""Fixtures for runs in processes of their own, and for what people see in a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from crash.cells import Cell, open_cell
from crash.runs import ForkServer, fork_server

if TYPE_CHECKING:
    from lab.browser import Chromium


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


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """The browser, for notebooks and for the web page."""
    from lab.browser import CHROMIUM_VARIABLE, find_chromium, running_chromium  # few tests need it

    program = find_chromium()
    if program is None:
        reason = f"no Chromium: set {CHROMIUM_VARIABLE}, install chromium, or run playwright install chromium"
        if os.environ.get("DATAPIPE_TEST_REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with running_chromium(program) as found:
        yield found
