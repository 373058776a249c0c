"""A headless Chromium, and the pages of JupyterLab in it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, WebSocket, sync_playwright

CHROMIUM_VARIABLE = "DATAPIPE_TEST_CHROMIUM"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_KIND = re.compile(r'"msg_type": ?"(\w+)"')


def find_chromium() -> Path | None:
    """The Chromium the tests will use: one that is named, one on the PATH, or one that Playwright installed."""
    if os.environ.get(CHROMIUM_VARIABLE):
        return Path(os.environ[CHROMIUM_VARIABLE])
    for name in _NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    installed = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or "~/.cache/ms-playwright").expanduser()
    return next(iter(sorted(installed.glob("chromium-*/chrome-linux*/chrome"), reverse=True)), None)


@dataclass(frozen=True)
class Frame:
    """A message between the page and a kernel."""

    time: float
    size: int
    sent: bool
    kind: str


@dataclass(frozen=True)
class LabPage:
    """A page of the browser, with what was seen of it."""

    page: Page
    home: str  # the URL of a workspace of its own: JupyterLab moves a second page of one workspace to another
    frames: list[Frame] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def listen(self) -> None:
        """Keep the messages of kernels, and what goes wrong."""
        # Playwright writes attributes on a method's object, and this one is frozen.
        self.page.on("websocket", partial(LabPage._opened, self))
        self.page.on("console", partial(LabPage._said, self))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def forget(self) -> None:
        """Forget what was seen."""
        self.frames.clear()
        self.errors.clear()

    def _opened(self, socket: WebSocket) -> None:
        if "/api/kernels/" in socket.url:
            socket.on("framesent", lambda payload: self._frame(payload, sent=True))
            socket.on("framereceived", lambda payload: self._frame(payload, sent=False))

    def _frame(self, payload: str | bytes, *, sent: bool) -> None:
        data = payload if isinstance(payload, bytes) else payload.encode()
        kind = _KIND.search(data[:2000].decode("latin-1"))
        self.frames.append(Frame(time.monotonic(), len(data), sent, kind.group(1) if kind else "?"))

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)


@dataclass(frozen=True)
class Chromium:
    """The browser: its pages share one cache, and those that are not in use stay loaded."""

    context: BrowserContext
    loop: asyncio.AbstractEventLoop
    free: list[LabPage] = field(default_factory=list)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Playwright leaves its event loop running in this thread, where no other could; it is hidden in between."""
        asyncio._set_running_loop(self.loop)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)

    @contextmanager
    def lent_page(self, url: str) -> Iterator[LabPage]:
        """A page on which JupyterLab is loaded already, or is loaded now."""
        found = self.free.pop() if self.free else self._new_page(url)
        found.forget()
        yield found
        self.free.append(found)  # only after success: nobody knows what a failed test left on the page

    def _new_page(self, url: str) -> LabPage:
        found = LabPage(self.context.new_page(), f"{url}/lab/workspaces/page-{len(self.context.pages)}")
        found.listen()
        found.page.goto(f"{found.home}?reset", wait_until="commit")
        found.page.wait_for_function("() => window.jupyterapp?.shell")
        found.page.evaluate("jupyterapp.restored.then(() => null)")
        return found


@contextmanager
def running_chromium(program: Path, *, scale: float = 1) -> Iterator[Chromium]:
    """A headless browser, ended afterwards; ``scale`` is for pictures that are looked at from near."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1280, "height": 900}, device_scale_factor=scale)
        chromium = Chromium(context, asyncio.get_running_loop())
        asyncio._set_running_loop(None)
        try:
            yield chromium
        finally:
            asyncio._set_running_loop(chromium.loop)
            browser.close()
