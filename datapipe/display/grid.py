"""Rows as a small table: computed once, then shown as text or as HTML."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import TYPE_CHECKING, Any

from datapipe.display import html
from datapipe.display.words import count, shortened

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = 60
_CELL = 80  # characters
_WHOLE = 1_000  # characters of a cell that the pointer shows
_TITLES = 40_000  # characters of all those together
# What would move a terminal's cursor, or turn the direction of the text around it.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NONE = "0 % NULL"
_FAINT = f"{html.FAINT};font-weight:normal"


@dataclass(frozen=True)
class Column:
    """What stands above a column.

    Parameters
    ----------
    name, type : str
    nulls : str
        The share of NULL; empty where there are no rows.
    number : bool
        Whether its values are numbers.
    """

    name: str
    type: str
    nulls: str = ""
    number: bool = False


@dataclass(frozen=True)
class Grid:
    """A table of texts.

    Parameters
    ----------
    columns : tuple of Column
    rows : tuple of tuple of str or None
        None is NULL. A text is whole up to 1,000 characters.
    more : int
        Columns that are not shown.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[str | None, ...], ...]
    more: int = 0


def grid_of(table: pa.Table, nulls: Sequence[int] = (), rows: int = 0) -> Grid:
    """Rows as texts.

    Parameters
    ----------
    nulls : sequence of int
        How many values of each column are NULL, in all rows.
    rows : int
        How many rows there are in all; those of the table are the first.

    Examples
    --------
    >>> import pyarrow as pa
    >>> print(grid_text(grid_of(pa.table({"id": [1, 20], "name": ["ann", None]}), (0, 1), 2)))
        id  name
    bigint  text
            50 % NULL
         1  ann
        20  NULL
    """
    from datapipe.data.types import describe  # loads pyarrow

    fields = list(table.schema)[:_COLUMNS]
    shares = [_share(found, rows) for found in nulls] if rows else []
    columns = [
        Column(visible(field.name), describe(field), shares[place] if shares else "", _is_number(field))
        for place, field in enumerate(fields)
    ]
    texts = [
        [None if value is None else visible(cell_text(value)) for value in _values(table.column(place))]
        for place in range(len(fields))
    ]
    return Grid(tuple(columns), tuple(zip(*texts, strict=True)), table.num_columns - len(fields))


def _is_number(field: pa.Field) -> bool:
    import pyarrow.types as t

    from datapipe.data.types import tag

    declared = tag(field)
    if declared:
        return declared.startswith("numeric") and not declared.endswith("[]")
    return bool(t.is_integer(field.type) or t.is_floating(field.type) or t.is_decimal(field.type))


def _values(column: pa.ChunkedArray) -> list[Any]:
    import pyarrow as pa

    try:
        values: list[Any] = column.to_pylist()
    except (OverflowError, ValueError):  # Python's dates end with the year 9999
        values = column.cast(pa.string()).to_pylist()
    return values


def _share(nulls: int, rows: int) -> str:
    """The share of NULL; only none is nothing, and only all is everything.

    Examples
    --------
    >>> [_share(n, 1000) for n in (0, 1, 125, 999, 1000)]
    ['0 % NULL', '<1 % NULL', '12 % NULL', '>99 % NULL', '100 % NULL']
    """
    percent = 100 * nulls / rows
    text = "<1" if 0 < percent < 1 else ">99" if 99 < percent < 100 else f"{percent:.0f}"
    return f"{text} % NULL"


def cell_text(value: object) -> str:
    """A value as people read it.

    Examples
    --------
    >>> [cell_text(value) for value in (1.5, Decimal("1E+2"), b"ab", [1, None], {"a": dt.date(2024, 1, 5)})]
    ['1.5', '100', '0x6162', '[1, null]', '{"a": "2024-01-05"}']
    """
    if isinstance(value, str):
        return value[: _WHOLE + 1]
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bytes):
        return "0x" + value[:_WHOLE].hex()
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, default=cell_text)
    return str(value)


def visible(text: str) -> str:
    """The text with what cannot be seen in the way Python writes it, cut at 1,000 characters.

    Examples
    --------
    >>> visible("two\\nlines")
    'two\\\\nlines'
    """
    whole = text if len(text) <= _WHOLE else text[: _WHOLE - 1] + "…"
    return _CONTROL.sub(lambda found: ascii(found.group())[1:-1], whole)


def _cut(text: str) -> str:
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"


def grid_text(grid: Grid) -> str:
    """The table in aligned columns; numbers to the right."""
    shares = ["" if column.nulls == _NONE else column.nulls for column in grid.columns]
    heads = [
        [_cut(c.name), c.type, *([share] if any(shares) else [])] for c, share in zip(grid.columns, shares, strict=True)
    ]
    cells = [
        ["NULL" if row[place] is None else _cut(str(row[place])) for row in grid.rows] for place in range(len(heads))
    ]
    columns = [
        _aligned([*head, *values], right=column.number)
        for head, values, column in zip(heads, cells, grid.columns, strict=True)
    ]
    lines = ["  ".join(line).rstrip() for line in zip(*columns, strict=True)]
    return "\n".join([*lines, *([f"and {count(grid.more, 'column')} more"] if grid.more else [])])


def _aligned(texts: list[str], *, right: bool) -> list[str]:
    from rich.cells import cell_len  # some letters take two places

    widths = [cell_len(text) for text in texts]
    pads = [" " * (max(widths) - width) for width in widths]
    return [pad + text if right else text + pad for pad, text in zip(pads, texts, strict=True)]


def grid_html(grid: Grid) -> str:
    """The table as HTML; what is cut is whole under the pointer."""
    line = "border-top:1px solid rgba(127,127,127,.3)"
    room = "padding:2px 20px 2px 0;white-space:pre;vertical-align:top"
    styles = [f"text-align:{'right' if c.number else 'left'};{room}" for c in grid.columns]
    nulls = any(column.nulls not in {"", _NONE} for column in grid.columns)
    head = "".join(
        f'<th scope="col" style="{style}">{_head(c, nulls=nulls)}</th>'
        for style, c in zip(styles, grid.columns, strict=True)
    )
    left, body = _TITLES, []
    for row in grid.rows:
        cells = []
        for style, text in zip(styles, row, strict=True):
            whole = text is not None and _CELL < len(text) <= left
            left -= len(text or "") if whole else 0
            cells.append(f'<td style="{style}"{_title(text) if whole else ""}>{_cell(text)}</td>')
        body.append(f'<tr style="{line}">{"".join(cells)}</tr>')
    more = html.line(f"and {count(grid.more, 'column')} more") if grid.more else ""
    table = f'<table style="border-collapse:collapse;margin:4px 0"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}'
    return f'<div style="overflow-x:auto">{table}</tbody></table></div>{more}'


def _head(column: Column, *, nulls: bool) -> str:
    """The name, the type, and the share of NULL if any column has some."""
    below = [column.type, *([column.nulls] if nulls else [])]
    parts = "".join(f'<br><span style="{_FAINT}">{escape(part)}</span>' for part in below if part)
    return f"{escape(shortened(column.name, _CELL))}{parts}"


def _cell(text: str | None) -> str:
    return f'<i style="{_FAINT}">NULL</i>' if text is None else escape(_cut(text))


def _title(text: str | None) -> str:
    return f' title="{escape(text or "")}"'
