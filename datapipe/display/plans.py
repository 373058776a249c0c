"""A plan as a card: what it is, where it was written, what is known of it. Nothing is executed to show one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import chain

from datapipe.display import html
from datapipe.display.advice import warnings
from datapipe.display.engines import engines
from datapipe.display.graph import plan_alt, plan_image, svg_width
from datapipe.display.pretty import capped, source_text, step_note, step_text, target_text
from datapipe.display.seen import Columns
from datapipe.display.text import plan_lines
from datapipe.display.words import count, ends, shortened
from datapipe.plan import Plan
from datapipe.traces import masked

_BYTES = 48_000  # of a card: notebooks keep every one
_ROWS = 24
_CELL = 80  # characters
_COLUMNS, _COLUMN = 20, 60
_TEXT = 4_000
_HEAD = ("step", "what", "written at", "columns", "engine")
_SHORT = (0, 3, 4)  # columns that are not broken


def plan_html(plan: Plan, places: Sequence[str] = (), columns: Sequence[Columns | None] = ()) -> str:
    """A plan as a card, never larger than 50 kB.

    Parameters
    ----------
    places : sequence of str
        Where the source, each transformation and the target were written.
    columns : sequence of Columns or None
        What the source and each transformation hand on, where it is known.

    Examples
    --------
    >>> from datapipe.plan import parse
    >>> plan_html(parse({"ingestion": {"table": "users"}, "name": "daily"})).partition("</div>")[0].rpartition(">")[2]
    ' · 0 transformations · nothing is executed before .run()'
    """
    verbs = _verbs(plan)
    title = f"Plan {shortened(plan.name, _CELL)}" if plan.name else "Plan"
    picture = html.image(plan_image(plan), plan_alt(plan), width=svg_width(plan))
    advice = "".join(html.faint(f"⚠ {text}") for text in warnings(plan))
    room = _BYTES - len(picture.encode()) - len(advice.encode())
    table = _table(plan, verbs, places, columns, room)
    folds = _folds(plan, verbs, room - len(table.encode()))
    head = html.heading(title, count(len(plan.transformation), "transformation"), "nothing is executed before .run()")
    return html.card(head + picture + table + advice + folds)


def _verbs(plan: Plan) -> list[str]:
    """What the steps are called: a transformation has the number that errors and ``preview(step=…)`` use."""
    steps = 1 + len(plan.transformation) + (plan.persistence is not None)
    verbs = [verb for verb, _ in plan_lines(plan)][:steps]
    last = len(plan.transformation)
    return [f"{number} {verb}" if 1 <= number <= last else verb for number, verb in enumerate(verbs)]


def _table(
    plan: Plan, verbs: Sequence[str], places: Sequence[str], columns: Sequence[Columns | None], room: int
) -> str:
    """The steps in rows; the names of columns can be unfolded as long as there is room for them."""
    known = [*columns, *[None] * len(verbs)]
    cells = [
        [verb, shortened(what, _CELL), shortened(place, _CELL), _changed(known, number), engine]
        for number, (verb, (_, what), place, engine) in enumerate(
            zip(verbs, plan_lines(plan), [*places, *[""] * len(verbs)], engines(plan), strict=False)
        )
    ]
    head, left_out, tail = ends(cells, _ROWS)
    gap: list[list[str]] = [["…", f"{left_out} further steps", "", "", ""]] if left_out else []
    rows = [*head, *gap, *tail]
    left = room - len(html.table(_HEAD, rows, short=_SHORT).encode())
    numbers = [*range(len(head)), *[-1] * len(gap), *range(len(cells) - len(tail), len(cells))]
    for row, number in zip(rows, numbers, strict=True):
        found = known[number] if 0 <= number <= len(plan.transformation) else None
        unfolded = _unfolded(row[3], found) if found else None
        if unfolded is not None and len(unfolded.encode()) < left:
            row[3] = unfolded
            left -= len(unfolded.encode())
    return html.table(_HEAD, rows, short=_SHORT)


def _changed(known: Sequence[Columns | None], number: int) -> str:
    """How many columns there are, and how many came and went since the step before."""
    found, before = known[number], known[number - 1] if number else None
    if found is None:
        return "–"  # noqa: RUF001  # the sign for nothing
    names, earlier = ({name for name, _ in each or ()} for each in (found, before))
    moves = [f"+{len(names - earlier)}"] if names - earlier else []
    moves += [f"−{len(earlier - names)}"] if earlier - names else []  # noqa: RUF001  # as wide as the plus
    change = f" ({' '.join(moves)})" if moves and before is not None else ""
    return count(len(found), "column") + change


def _unfolded(title: str, columns: Columns) -> html.Html:
    shown = [escape(f"{shortened(name, _COLUMN)} {type_}".strip()) for name, type_ in columns[:_COLUMNS]]
    more = [f"and {len(columns) - _COLUMNS:,} more"] if len(columns) > _COLUMNS else []
    return html.Html(f"<details><summary>{escape(title)}</summary>{'<br>'.join([*shown, *more])}</details>")


def _folds(plan: Plan, verbs: Sequence[str], room: int) -> str:
    """The texts of the steps, behind one title, as long as there is room for them."""
    parts, left_out = [], 0
    for title, text in _texts(plan, verbs):
        part = html.titled(title, html.code(capped(text, _TEXT)))
        fits = len(part.encode()) <= room
        parts += [part] if fits else []
        left_out += not fits
        room -= len(part.encode()) if fits else 0
    more = [html.line(f"{count(left_out, 'text')} more: see plan.explain() or plan.to_yaml()")] if left_out else []
    return html.fold("The steps in full", "".join([*parts, *more])) if parts or more else ""


def _texts(plan: Plan, verbs: Sequence[str]) -> Iterator[tuple[str, str]]:
    notes = ["the query", *map(step_note, plan.transformation), "how the table may change"]
    texts = chain([source_text(plan)], map(step_text, plan.transformation), [target_text(plan)])
    for verb, note, text in zip(verbs, notes, texts, strict=False):
        if text:
            yield f"{verb}: {note}", masked(text)
