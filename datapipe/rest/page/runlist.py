"""The page of runs: those that go on, with their cards, and the latest ones as a table with filters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, get_args
from urllib.parse import urlencode

from datapipe.display.html import Html, code
from datapipe.display.words import count
from datapipe.rest.models import State
from datapipe.rest.page.layout import Page
from datapipe.rest.page.parts import link, notice, run_name, run_path, run_table, section
from datapipe.workers.queue import STAGE_KINDS

FIELDS = ("state", "kind", "name", "owner")  # what the form asks for; other filters come by a URL
_EVERY = 2  # seconds
_PLAN = {"pipeline_config": {"ingestion": {"table": "users"}, "persistence": {"table_name": "users_copy"}}}


def runs_page(
    runs: Sequence[Mapping[str, Any]],
    cards: Mapping[str, str],
    asked: Mapping[str, str],
    after: str | None,
    *,
    sees_all: bool,
) -> Page:
    """The page of runs.

    Parameters
    ----------
    runs : sequence of mapping
        As the JSON list has them.
    cards : mapping of str to str
        The cards of those that go on, by their ids.
    asked : mapping of str to str
        The filters.
    after : str, optional
        What the next page is asked with.
    sees_all : bool
        Whether runs of others are among them.
    """
    now = "".join(_article(run, cards[run["run_id"]]) for run in runs if run["run_id"] in cards)
    filters = {name: value for name, value in asked.items() if name != "after"}
    older = link(f"/?{urlencode({**filters, 'after': after})}", "Older runs") if after else ""
    newest = link(f"/?{urlencode(filters)}", "The newest runs") if "after" in asked else ""
    caption = f"{count(len(runs), 'run')}, the newest first"
    listed = run_table(runs, caption) if runs else notice("No run is like this.")
    parts = ['<h1 tabindex="-1">Runs</h1>', section("Running now", now, "now") if now else ""]
    parts += [_form(asked, sees_all=sees_all), listed, f'<p class="pages">{newest} {older}</p>']
    return Page("Runs · datapipe", "".join(parts), _EVERY)


def first_page(base: str, *, is_open: bool) -> Page:
    """What there is to do where nothing has run yet."""
    key = "" if is_open else "  -u :KEY \\\n"
    curl = f"curl {base}pipelines \\\n{key}  -H 'Content-Type: application/json' \\\n  -d '{json.dumps(_PLAN)}'"
    parts = [
        '<h1 tabindex="-1">Runs</h1>',
        notice("No runs yet. As soon as there is one, it is here."),
        "<h2>Begin one</h2>",
        notice("Workers do the runs that are sent here. If none is online, start one:"),
        code("datapipe worker"),
        notice("Then send a plan. This one copies a table from SOURCE_DB_URL to DEST_DB_URL:"),
        code(curl),
        notice("From a shell with a file:"),
        code("datapipe submit plan.yaml"),
        notice(Html(f"{link('/docs', 'The API')} has all there is to send, to be tried out.")),
    ]
    return Page("Runs · datapipe", "".join(parts), _EVERY)


def _article(run: Mapping[str, Any], card: str) -> str:
    heading = link(run_path(run["run_id"]), run_name(run))
    return f'<article id="card-{escape(run["run_id"])}"><h3>{heading}</h3>{card}</article>'


def _form(asked: Mapping[str, str], *, sees_all: bool) -> str:
    fields = [
        _choice("state", get_args(State), asked),
        _choice("kind", ("plan", "notebook", *STAGE_KINDS), asked),
        _text("name", asked),
        *([_text("owner", asked)] if sees_all else []),
    ]
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in asked.items()
        if name not in {*FIELDS, "after"}
    )
    buttons = f"<button>Filter</button> {link('/', 'All runs')}"
    inner = f"{''.join(fields)}{hidden}<div>{buttons}</div>"
    return f'<form id="filters" method="get" action="/" aria-label="Filters">{inner}</form>'


def _choice(name: str, values: Sequence[str], asked: Mapping[str, str]) -> str:
    options = "".join(
        f'<option value="{value}"{" selected" if asked.get(name, "") == value else ""}>{value or "any"}</option>'
        for value in ("", *values)
    )
    return f'<div><label for="by-{name}">{name}</label><select id="by-{name}" name="{name}">{options}</select></div>'


def _text(name: str, asked: Mapping[str, str]) -> str:
    field = f'<input id="by-{name}" name="{name}" maxlength="128" value="{escape(asked.get(name, ""))}">'
    return f'<div><label for="by-{name}">{name}</label>{field}</div>'
