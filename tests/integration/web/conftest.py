"""One interface with its worker, and pages of one browser, for all tests of the web page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from lab.browser import Chromium
from lab.website import Site, serving, starting_site
from playwright.sync_api import Page
from services import postgresql_database, private_redis, redis_program

Opened = Callable[..., Page]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, postgresql_server: str) -> Iterator[Site]:
    """An open interface, a worker, and what they need."""
    with (
        postgresql_database(postgresql_server) as database,
        private_redis(redis_program()) as broker,
        starting_site(tmp_path_factory.mktemp("site"), database, broker.url) as found,
    ):
        yield found


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[tuple[Site, str]]:
    """An interface that needs a key, over a record without runs; and a key that may only look."""
    folder = tmp_path_factory.mktemp("empty")
    own = {"DATAPIPE_HOME": str(folder), "DATAPIPE_METADATA_URL": f"sqlite:///{folder / 'runs.db'}"}
    from datapipe.store import store_at
    from datapipe.store.apikeys import create_key

    _, key = create_key(store_at(own["DATAPIPE_METADATA_URL"]), "ann", "read")
    with serving(folder, {**site.environment, **own}) as found:
        yield found, key


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
        assert [text for text in complaints if "net::ERR_INTERNET_DISCONNECTED" not in text] == []
