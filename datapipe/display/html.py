"""The same as plain HTML: tables and text, no script, no style that fights the page's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from datapipe.display.text import plan_lines
from datapipe.plan import Plan


def plan_html(plan: Plan) -> str:
    """A plan as a small table."""
    head = f"Plan {plan.name}" if plan.name else "Plan"
    return titled(head, table(("step", "what"), plan_lines(plan)))


def titled(title: str, body: str) -> str:
    """A block with a heading."""
    return f"<div><strong>{escape(title)}</strong>{body}</div>"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An HTML table of text cells."""
    top = "".join(f"<th style='text-align:left'>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def code(text: str) -> str:
    """Preformatted text."""
    return f"<pre>{escape(text)}</pre>"
