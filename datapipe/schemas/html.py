"""Schemas and their differences as HTML: tables that a notebook's sanitiser leaves as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from datapipe.schemas.changes import SchemaChange, SchemaDiff
from datapipe.schemas.columns import ColumnSpec

# No colour of text and none that is opaque: the page may be light or dark.
_CELL = "text-align:left;padding:2px 10px"
_BREAKING = f"{_CELL};border-left:4px solid #c62828"
_OTHER = f"{_CELL};border-left:4px solid rgba(127,127,127,.3)"
_MOST = 200  # rows


def diff_html(diff: SchemaDiff) -> str:
    """A table: column, before, after, effect."""
    title = f"{diff.before} → {diff.after}"
    if not diff.changes:
        return f"<div><b>{escape(title)}</b><div>the same schema</div></div>"
    head = ("column", f"before: {diff.before}", f"after: {diff.after}", "effect")
    return _table(f"{title}: {_counted(diff)}", head, map(_row, diff.changes[:_MOST]), len(diff))


def columns_html(title: str, columns: Sequence[ColumnSpec]) -> str:
    """A table: column, type, NULL."""
    rows = ((_OTHER, c.name, c.type, "NULL" if c.nullable else "NOT NULL") for c in columns[:_MOST])
    return _table(title, ("column", "type", "NULL"), rows, len(columns))


def _counted(diff: SchemaDiff) -> str:
    count, breaking = len(diff), len(diff.breaking)
    return f"{count} change{'s' if count > 1 else ''}" + (f", {breaking} breaking" if breaking else "")


def _row(change: SchemaChange) -> tuple[str, ...]:
    what = f"{'✗ breaking: ' if change.breaking else ''}{change.change}"
    effect = f"{what}; {change.effect}" if change.effect else what
    style = _BREAKING if change.breaking else _OTHER
    return style, change.column, change.before or "", change.after or "", effect


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], count: int) -> str:
    """A table of text; each row begins with the style of its first cell, which is its heading."""
    top = "".join(f'<th scope="col" style="{_CELL}">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row" style="{style}">{escape(first)}</th>'
        + "".join(f'<td style="{_CELL}">{escape(cell)}</td>' for cell in rest)
        + "</tr>"
        for style, first, *rest in rows
    )
    more = f"<div>and {count - _MOST:,} more</div>" if count > _MOST else ""
    title = f'<caption style="text-align:left"><b>{escape(caption)}</b></caption>'
    return f"<table>{title}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>{more}"
