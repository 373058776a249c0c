"""The page of workers and queues, and of the servers behind them."""

from __future__ import annotations

from html import escape

from datapipe.rest.page.layout import Page
from datapipe.rest.page.parts import link, run_path, section
from datapipe.workers.cards import health_html, overview_html
from datapipe.workers.values import Health, Overview

_EVERY = 5  # seconds


def workers_page(found: Overview, health: Health) -> Page:
    """Workers and queues as they are now."""
    runs = "".join(
        f"<li>{escape(worker.name)}: {', '.join(link(run_path(run_id), run_id[:8]) for run_id in worker.active)}</li>"
        for worker in found.workers
        if worker.active
    )
    parts = [
        '<h1 tabindex="-1">Workers</h1>',
        section("Workers and queues", overview_html(found), "workers"),
        section("What they run", f"<ul>{runs}</ul>", "active") if runs else "",
        section("Servers", health_html(health), "servers"),
    ]
    return Page("Workers · datapipe", "".join(parts), _EVERY)
