"""One interface with its worker, and pages of one browser, for all tests of the web page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from lab.browser import Chromium
from lab.website import Site, serving
from playwright.sync_api import Page, expect
from services import postgresql_database, private_redis, redis_program
from workerside import running_worker

Opened = Callable[..., Page]
expect.set_options(timeout=30_000)  # on a busy machine


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory, postgresql_server: str) -> Iterator[tuple[Site, Site]]:
    """An open interface with a worker; and one that needs a key, over a record without runs. They start side by side."""
    folder = tmp_path_factory.mktemp("site")
    with (
        postgresql_database(postgresql_server) as database,
        private_redis(redis_program()) as broker,
        serving(tmp_path_factory.mktemp("keyed"), broker.url, key="read") as keyed,
        serving(folder, broker.url, database) as found,
        running_worker(found.environment, folder, "w1", concurrency=2),
    ):
        yield found, keyed


@pytest.fixture
def site(sites: tuple[Site, Site]) -> Site:
    """The interface that is open."""
    return sites[0]


@pytest.fixture
def keyed(sites: tuple[Site, Site]) -> Site:
    """The interface that needs a key."""
    return sites[1]


@pytest.fixture
def opened(chromium: Chromium) -> Iterator[Opened]:
    """Open a page of a browser of its own, which must have nothing to complain of."""
    with chromium.in_use(), ExitStack() as ends:
        browser = chromium.context.browser
        assert browser is not None

        def opened(url: str, **options: Any) -> Page:
            context = ends.enter_context(browser.new_context(locale="en-GB", timezone_id="Asia/Kolkata", **options))
            page = context.new_page()
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
            page.goto(url)
            return page

        complaints: list[str] = []
        yield opened
        # What a server refuses is what a test is about, and told on the page.
        assert [text for text in complaints if not text.startswith("Failed to load resource")] == []
