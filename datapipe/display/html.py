"""The pieces cards are made of: HTML that a notebook's sanitiser leaves as it is, for light and dark pages.

Text keeps the page's own colour, and greys are translucent, so that both themes read well. What a state means is said
in words; colour only repeats it, as a border. Nothing needs a script or a style sheet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

GREY, BLUE, GREEN, RED, AMBER = "rgba(127,127,127,.45)", "#1e88e5", "#2e7d32", "#c62828", "#ef6c00"
BORDERS = {"running": BLUE, "cancelling": GREY, "succeeded": GREEN, "failed": RED, "lost": AMBER}
_LINE = "1px solid rgba(127,127,127,.3)"
_ROOM = "vertical-align:top;padding:3px 16px 3px 0"
_CELL = f"text-align:left;{_ROOM}"
_NUMBER = f"text-align:right;{_ROOM}"
_WHOLE = "white-space:nowrap"
FAINT = "opacity:.7"  # as faint as can be read in both themes


def card(body: str, *, border: str = GREY) -> str:
    """A block with a coloured edge."""
    edge = f"border-left:4px solid {border};padding:4px 0 4px 14px;margin:4px 0"
    return f'<div style="{edge};line-height:1.5">{body}</div>'


def heading(title: str, *further: str) -> str:
    """A line with what matters in bold, and the rest after it; no heading of the notebook's table of contents."""
    rest = "".join(f" · {escape(text)}" for text in further if text)
    return f"<div><b>{escape(title)}</b>{rest}</div>"


def line(text: str) -> str:
    """A line of text."""
    return f"<div>{escape(text)}</div>"


def faint(text: str) -> str:
    """A line that is there for whoever looks for it."""
    return f'<div style="font-size:.87em;{FAINT}">{escape(text)}</div>'


def titled(title: str, body: str) -> str:
    """A block under a title."""
    return f"<div><b>{escape(title)}</b>{body}</div>"


def fold(title: str, body: str, *, opened: bool = False) -> str:
    """A block that opens at a click."""
    return f"<details{' open' if opened else ''}><summary>{escape(title)}</summary>{body}</details>"


def code(text: str) -> str:
    """Preformatted text."""
    shape = "margin:4px 0;padding:6px 10px;background:rgba(127,127,127,.12);overflow-x:auto"
    style = f"{shape};font-family:monospace;line-height:1.4"
    return f'<pre style="{style}">{escape(text)}</pre>'


def image(uri: str, alt: str, *, width: int | None = None) -> str:
    """A picture, with what it shows in words."""
    limit = f"max-width:100%;width:{width}px" if width else "max-width:100%"
    return f'<div style="margin:8px 0 0"><img src="{uri}" alt="{escape(alt)}" style="{limit}"></div>'


def bar(share: float | None, label: str) -> str:
    """A progress bar; one without an end if the share is not known."""
    value = "" if share is None else f' value="{min(1.0, max(0.0, share)):.4f}" max="1"'
    return f'<progress{value} title="{escape(label)}" style="width:100%;max-width:520px">{escape(label)}</progress>'


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numbers: Sequence[int] = (),
    short: Sequence[int] = (),
    caption: str = "",
) -> str:
    """A table of text cells; the columns ``numbers`` are set to the right, and the columns ``short`` never break.

    A cell that is an :class:`Html` is taken as it is.
    """
    plain = [_NUMBER if place in numbers else _CELL for place in range(len(head))]
    styles = [f"{style};{_WHOLE}" if place in short else style for place, style in enumerate(plain)]
    top = "".join(
        f'<th scope="col" style="{style};{_WHOLE}">{cell_html(cell)}</th>'
        for style, cell in zip(plain, head, strict=True)
    )
    body = "".join(
        f'<tr style="border-top:{_LINE}">'
        + "".join(f'<td style="{style}">{cell_html(cell)}</td>' for style, cell in zip(styles, row, strict=True))
        + "</tr>"
        for row in rows
    )
    title = f'<caption style="text-align:left;white-space:nowrap"><b>{escape(caption)}</b></caption>' if caption else ""
    style = "border-collapse:collapse;margin:6px 0;font-variant-numeric:tabular-nums"
    frame = f'<div style="overflow-x:auto"><table style="{style}">'
    return f"{frame}{title}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def cell_html(cell: object) -> str:
    """A cell's HTML."""
    return cell if isinstance(cell, Html) else escape(str(cell))
