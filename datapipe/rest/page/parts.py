"""The pieces that several pages are made of. Whatever comes from a run is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from datapipe.display.html import Html, cell_html
from datapipe.display.words import duration, shortened, state_words
from datapipe.store import FINAL, seconds_between

_NAME = 60  # characters
_RUNS = ("state", "run", "recorded", "took", "rows written", "by", "where")


def moment(time: str | None, *, brief: bool = False) -> Html:
    """A time of the store; a script writes it as the reader's own clock has it.

    Examples
    --------
    >>> moment("2026-11-26T12:03:11.250Z")
    '<time datetime="2026-11-26T12:03:11.250Z">2026-11-26 12:03:11</time>'
    """
    if not time:
        return Html("")
    text = time[11:19] if brief else f"{time[:10]} {time[11:19]}"
    return Html(f'<time datetime="{escape(time)}"{" data-brief" if brief else ""}>{escape(text)}</time>')


def notice(*lines: str) -> Html:
    """A few sentences."""
    return Html("".join(f"<p>{cell_html(line)}</p>" for line in lines))


def section(title: str, body: str, name: str) -> Html:
    """A part of a page under a heading; ``name`` is its id."""
    heading = f'<h2 id="{name}-title">{escape(title)}</h2>'
    return Html(f'<section id="{name}" aria-labelledby="{name}-title">{heading}{body}</section>')


def facts(pairs: Iterable[tuple[str, object]]) -> Html:
    """Names and values; those without a value are left out."""
    shown = [(name, value) for name, value in pairs if value not in {None, ""}]
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{cell_html(value)}</dd></div>" for name, value in shown)
    return Html(f"<dl>{rows}</dl>")


def link(path: str, text: str) -> Html:
    """A link to a page of ours."""
    return Html(f'<a href="{escape(path)}">{escape(text)}</a>')


def run_path(run_id: str) -> str:
    """The page of a run."""
    return f"/ui/runs/{quote(run_id, safe='')}"


def run_name(run: Mapping[str, Any]) -> str:
    """What a run is called."""
    named = run["name"] or (run["pipeline_id"] if run["pipeline_id"] != run["run_id"] else None)
    return shortened(named or " → ".join(filter(None, (run["source"], run["target"]))) or run["kind"], _NAME)


def state(run: Mapping[str, Any]) -> Html:
    """A run's state in words, which its colour repeats."""
    return Html(f'<span class="state {escape(run["state"])}">{escape(state_words(run["state"]))}</span>')


def told(run: Mapping[str, Any]) -> str:
    """The attributes by which a script tells that a run's state has changed."""
    return f'id="run-{escape(run["run_id"])}" data-state="{escape(run["state"])}" data-name="{escape(run_name(run))}"'


def run_table(runs: Sequence[Mapping[str, Any]], caption: str) -> Html:
    """Runs, each a row with a link to its page."""
    rows = "".join(f"<tr {told(run)}>{''.join(_cells(run))}</tr>" for run in runs)
    return table(_RUNS, rows, caption, numbers=(3, 4))


def table(head: Sequence[str], rows: str, caption: str, *, numbers: Sequence[int] = ()) -> Html:
    """A table of rows that are HTML already; it scrolls where it is wider than the page."""
    names = "".join(
        f'<th scope="col"{" class=number" if place in numbers else ""}>{escape(name)}</th>'
        for place, name in enumerate(head)
    )
    inner = f"<caption>{escape(caption)}</caption><thead><tr>{names}</tr></thead><tbody>{rows}</tbody>"
    return Html(f'<div class="wide" role="region" aria-label="{escape(caption)}"><table>{inner}</table></div>')


def _cells(run: Mapping[str, Any]) -> list[str]:
    kind = " (notebook)" if run["kind"] == "notebook" else ""
    name = f"{link(run_path(run['run_id']), run_name(run))}{kind} <code>{escape(run['run_id'][:8])}</code>"
    ended = run["state"] in FINAL and run["started"] and run["ended"]
    took = duration(seconds_between(run["started"], run["ended"])) if ended else ""
    by = " ".join(filter(None, (run["owner"] or "somebody", f"({run['via']})" if run["via"] else "")))
    return [
        f"<td>{state(run)}</td>",
        f'<th scope="row">{name}</th>',
        f"<td>{moment(run['created'])}</td>",
        f'<td class="number">{escape(took)}</td>',
        f'<td class="number">{run["rows_written"]:,}</td>' if run["state"] == "succeeded" else "<td></td>",
        f"<td>{escape(by)}</td>",
        f"<td>{escape(run['worker'] or run['queue'] or '')}</td>",
    ]
