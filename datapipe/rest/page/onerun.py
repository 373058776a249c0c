"""The page of one run: its card, what can be done with it, its facts, runs, files, log and plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from datapipe.display.html import Html, code
from datapipe.rest.page.layout import Page
from datapipe.rest.page.parts import facts, link, moment, notice, run_name, run_path, run_table, section, state, told
from datapipe.store import FINAL
from datapipe.workers.queue import AGAIN

LINES = 200  # of a log
_NOTEBOOK = "notebook.html"  # the executed one, to be looked at
_LIVE, _ENDED = 3, 10  # seconds


def run_page(
    run: Mapping[str, Any],
    card: str,
    children: Sequence[Mapping[str, Any]],
    files: Sequence[str],
    log: Sequence[Mapping[str, Any]],
    plan: str,
    *,
    may_run: bool,
) -> Page:
    """The page of a run; all values are as the JSON interface has them. Buttons are for whoever ``may_run``."""
    name, ended = run_name(run), run["state"] in FINAL
    title = f'<h1 tabindex="-1" {told(run)}>{escape(name)} {state(run)}</h1>'
    parts = [
        title,
        f'<div id="card">{card}</div>',
        _buttons(run) if may_run else "",
        section("About it", facts(_about(run)), "about"),
        section("Runs it has begun", run_table(children, "Runs it has begun"), "children") if children else "",
        _files(run, files) if files else "",
        section("Log", _log(log), "log"),
        section("Plan", code(plan), "plan") if plan else "",
    ]
    events = "" if ended else run["links"]["events"]
    return Page(f"{name}: {run['state']} · datapipe", "".join(parts), _ENDED if ended else _LIVE, events)


def _buttons(run: Mapping[str, Any]) -> str:
    """What can be done with a run; a script does it."""
    found = ""
    if run["state"] in {"queued", "running", "lost"} and not run["cancel_requested"]:
        found += _button(run, "cancel", "Cancel run", ' data-ask="ask"')
    if run["state"] in AGAIN and run["queue"]:
        found += _button(run, "retry", "Retry run")
    if not found:
        return ""
    ask = (
        '<dialog id="ask" aria-labelledby="question"><form method="dialog">'
        '<p id="question">Cancel this run? What it has not committed is rolled back.</p>'
        '<button value="no" autofocus>Keep it running</button> <button value="yes">Cancel it</button></form></dialog>'
    )
    return f'<div class="actions">{found}{ask}<noscript>Cancel and retry need scripts.</noscript></div>'


def _button(run: Mapping[str, Any], what: str, text: str, more: str = "") -> str:
    """A button with an id, so that it never becomes another one under somebody's finger."""
    return f'<button type="button" id="{what}" data-post="{escape(run["links"][what])}"{more}>{text}</button>'


def _about(run: Mapping[str, Any]) -> list[tuple[str, object]]:
    parent = run["parent_run_id"]
    return [
        ("run", run["run_id"]),
        ("pipeline", run["pipeline_id"] if run["pipeline_id"] != run["run_id"] else None),
        ("part of", link(run_path(parent), f"run {parent[:8]}") if parent else None),
        ("correlation id", run["correlation_id"]),
        ("owner", run["owner"]),
        ("sent by", run["via"]),
        ("queue", run["queue"]),
        ("worker", run["worker"]),
        ("attempts", run["attempts"] if run["attempts"] > 1 else None),
        ("recorded", moment(run["created"])),
        ("started", moment(run["started"])),
        ("ended", moment(run["ended"])),
        ("as JSON", link(run["links"]["self"], run["links"]["self"])),
    ]


def _files(run: Mapping[str, Any], files: Sequence[str]) -> str:
    base = run["links"]["artifacts"]
    items = "".join(f"<li>{link(f'{base}/{quote(file)}', file)}</li>" for file in files)
    shown = ""
    if _NOTEBOOK in files:
        frame = (
            f'<iframe src="{escape(base)}/{_NOTEBOOK}" title="The executed notebook" sandbox loading="lazy"></iframe>'
        )
        shown = f"<details><summary>The executed notebook</summary>{frame}</details>"
    return section("Artefacts", f"<ul>{items}</ul>{shown}", "artefacts")


def _log(log: Sequence[Mapping[str, Any]]) -> Html:
    if not log:
        return notice("It has said nothing so far.")
    first = notice("The lines before these are in the JSON log.") if len(log) > LINES else ""
    lines = "".join(
        f'<li id="line-{line["id"]}">{moment(line["time"], brief=True)} {escape(line["message"])}</li>'
        for line in log[-LINES:]
    )
    return Html(f'{first}<ol class="log">{lines}</ol>')
