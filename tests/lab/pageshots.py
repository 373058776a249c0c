"""The pictures of the web page in the documentation. ``PYTHONPATH=.:tests python -m lab.pageshots``

They are written to docs/images, each in the light and in the dark theme.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from playwright.sync_api import Page
from services import (
    find_postgresql,
    postgresql_database,
    private_redis,
    redis_program,
    running_postgresql,
)
from workerside import running_worker

from lab.browser import find_chromium, running_chromium
from lab.pictures import dots, write_png
from lab.website import ROOT, Site, serving

FOLDER = ROOT / "docs" / "images"
_EDGE = 16  # pixels below what is shown


def main() -> None:
    """Make the pictures."""
    program, postgresql = find_chromium(), find_postgresql()
    assert program is not None and postgresql is not None, "Chromium and PostgreSQL are needed"
    with (
        tempfile.TemporaryDirectory() as folder,
        running_postgresql(postgresql) as server,
        postgresql_database(server) as database,
        private_redis(redis_program()) as broker,
        serving(Path(folder), broker.url, database) as site,
        running_worker(site.environment, Path(folder), "w1", concurrency=2),
        running_chromium(program, scale=2) as browser,
        browser.in_use(),
    ):
        page = browser.context.new_page()
        page.set_viewport_size({"width": 1000, "height": 900})
        for name, path in _scenes(site).items():
            for theme in ("light", "dark"):
                _take(page, site.url + path, f"{name}-{theme}", theme == "dark")


def _scenes(site: Site) -> Mapping[str, str]:
    """The pages to take pictures of, by name."""
    for name in ("customers", "orders"):
        site.wait(site.submit(name), "succeeded")
    failed = site.submit("prices", "clean")
    site.wait(failed, "failed")
    running = site.submit("nightly", "slowly")
    site.wait(running, "running")
    return {"page-runs": "/", "page-running": f"/ui/runs/{running}", "page-failed": f"/ui/runs/{failed}"}


def _take(page: Page, url: str, name: str, is_dark: bool) -> None:
    page.emulate_media(color_scheme="dark" if is_dark else "light")
    page.goto(url)
    page.wait_for_timeout(2500)  # it says when it was looked at
    last = page.locator("#about, .pages").first.bounding_box()
    assert last is not None
    height = min(last["y"] + last["height"] + _EDGE, 1000)
    picture = page.screenshot(clip={"x": 0, "y": 0, "width": 1000, "height": height}, full_page=True)
    path = write_png(FOLDER / f"{name}.png", dots(page, picture))
    print(path.name, path.stat().st_size // 1000, "kB")


if __name__ == "__main__":
    main()
