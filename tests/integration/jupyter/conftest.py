"""Notebooks in a real JupyterLab and a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from lab.browser import Chromium
from lab.headless import Bench, bench_in
from lab.notebook import Notebook, document_of, opened_notebook
from lab.server import LabServer, starting_lab

_NUMBERS = count(1)


@pytest.fixture(scope="session")
def lab_and_browser(request: pytest.FixtureRequest) -> Iterator[tuple[LabServer, Chromium]]:
    """A JupyterLab server and the browser, which start side by side."""
    with starting_lab() as server:
        browser = request.getfixturevalue("chromium")
        server.wait()
        yield server, browser


@pytest.fixture
def notebook(lab_and_browser: tuple[LabServer, Chromium]) -> Iterator[Callable[..., Notebook]]:
    """Open new notebooks, each in a page of its own: of the given code cells, or a whole document from elsewhere."""
    server, browser = lab_and_browser
    with browser.in_use(), ExitStack() as ends:

        def opened(*cells: str, document: dict[str, Any] | None = None) -> Notebook:
            path = f"notebook_{next(_NUMBERS)}.ipynb"
            return ends.enter_context(opened_notebook(server, browser, document or document_of(cells), path))

        yield opened


@pytest.fixture(scope="session")
def kept(lab_and_browser: tuple[LabServer, Chromium]) -> Iterator[list[tuple[Notebook, ExitStack]]]:
    """The notebook that tests share, if one is open."""
    found: list[tuple[Notebook, ExitStack]] = []
    yield found
    with lab_and_browser[1].in_use():
        for _, ends in found:
            ends.close()


@pytest.fixture
def shared(
    lab_and_browser: tuple[LabServer, Chromium], kept: list[tuple[Notebook, ExitStack]], request: pytest.FixtureRequest
) -> Iterator[Notebook]:
    """One notebook with its kernel, to which tests add cells of their own; after a test that fails, another one."""
    server, browser = lab_and_browser
    with browser.in_use():
        if not kept:
            ends, path = ExitStack(), f"notebook_{next(_NUMBERS)}.ipynb"
            found = ends.enter_context(opened_notebook(server, browser, document_of(["import datapipe"]), path))
            found.run_all(0)
            kept.append((found, ends))
        found, ends = kept[0]
        found.lab.forget()
        failed = request.session.testsfailed
        yield found
        if request.session.testsfailed > failed:
            kept.clear()
            ends.close()
        else:
            found.light_again()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Where notebooks are run without anybody."""
    return bench_in(tmp_path)
