"""A plan as a picture: boxes from the source to the target, further tables joining their step from below.

It stands in an ``<img>``, so it knows nothing of the page: fills are light with dark text, arrows are of a middle grey.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import PurePath

from datapipe.display.text import contract_label
from datapipe.display.words import ends, shortened
from datapipe.plan import (
    CodeStep,
    FileSource,
    FileTarget,
    FrameSource,
    Plan,
    Source,
    SqlStep,
    Step,
    TableSource,
    ValidateStep,
)
from datapipe.traces import masked

_WIDE, _HIGH, _GAP = 132, 42, 26  # of a box, and between two
_LOW = 26  # the height of a further table
_IN_A_ROW = 6
_MOST, _MOST_TABLES = 24, 3
_LETTERS = 19  # of a name in a box
_NAME = 40  # letters of a name in words
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # for XML
_FILLS = {
    "read": "#d9e8f6",
    "sql": "#e4e0f5",
    "apply": "#fcebcb",
    "transform": "#e4e0f5",
    "validate": "#f6e0e8",
    "write": "#d8eedb",
    "table": "#eceff1",
}


@dataclass(frozen=True)
class Box:
    """A step in the picture.

    Parameters
    ----------
    verb, name : str
    label : str
        For the picture in words.
    number : int, optional
        Of a transformation.
    tables : tuple of str
        The further tables it joins with.
    """

    verb: str
    name: str
    label: str
    number: int | None = None
    tables: tuple[str, ...] = ()


def boxes(plan: Plan) -> list[Box]:
    """A plan's steps as boxes; of a very long plan, its beginning and its end."""
    found = [_read(plan.ingestion)]
    found += [replace(_box(step), number=number) for number, step in enumerate(plan.transformation, 1)]
    if plan.persistence is not None:
        target = plan.persistence
        name = PurePath(target.path).name if isinstance(target, FileTarget) else target.table_name
        found.append(Box("write", name, f"write {target.strategy.value} into {shortened(name, _NAME)}"))
    head, left_out, tail = ends(found, _MOST)
    gap = [Box("", f"{left_out} further steps", f"{left_out} further steps")] if left_out else []
    return [*head, *gap, *tail]


def _read(source: Source) -> Box:
    place = source.label.rpartition(" on ")[2]
    if isinstance(source, TableSource):
        return Box("read", source.table, f"read table {shortened(source.table, _NAME)} from {shortened(place, _NAME)}")
    if isinstance(source, FileSource):
        return Box("read", PurePath(source.files).name or source.files, f"read {shortened(source.label, _NAME)}")
    if isinstance(source, FrameSource):
        return Box("read", source.label.removeprefix("a ").removesuffix(" in memory"), f"read {source.label}")
    return Box("read", f"query on {place}", f"read a query on {shortened(place, _NAME)}")


def _box(step: Step) -> Box:
    if isinstance(step, SqlStep):
        return Box("sql", masked(step.config.sql_query), "sql", tables=tuple(step.config.tables))
    if isinstance(step, CodeStep):
        name = str(step.config.function).rpartition(":")[2]
        return Box("apply", name, f"apply {shortened(name, _NAME)}")
    if isinstance(step, ValidateStep):
        return Box("validate", contract_label(step.config), "validate")
    chosen = ", ".join(step.config.model_dump(exclude_defaults=True, exclude={"version"}))
    return Box("transform", chosen, f"transform {shortened(chosen, _NAME)}".rstrip())


def plan_alt(plan: Plan) -> str:
    """The picture in words.

    Examples
    --------
    >>> from datapipe.plan import parse
    >>> step = {"type": "sql", "config": {"sql_query": "SELECT * FROM input_data"}}
    >>> plan_alt(parse({"ingestion": {"table": "users", "source": "crm"}, "transformation": step}))
    'Plan: read table users from crm, 1 sql'
    """
    return "Plan: " + ", ".join(map(_words, boxes(plan)))


def _words(box: Box) -> str:
    shown = [*(shortened(name, _NAME) for name in box.tables[:_MOST_TABLES]), *_rest(box.tables)]
    tables = f" with {', '.join(shown)}" if shown else ""
    return f"{box.number or ''} {box.label}{tables}".lstrip()


def _rest(tables: Sequence[str]) -> list[str]:
    return [f"{len(tables) - _MOST_TABLES} more"] if len(tables) > _MOST_TABLES else []


def plan_svg(plan: Plan) -> str:
    """The picture as SVG.

    Examples
    --------
    >>> from datapipe.plan import parse
    >>> plan_svg(parse({"ingestion": {"table": "users"}})).count("<rect")
    1
    """
    found = boxes(plan)
    rows = [found[at : at + _IN_A_ROW] for at in range(0, len(found), _IN_A_ROW)]
    parts, top = [], 1
    for number, row in enumerate(rows):
        parts += [_drawn(box, _left(place), top) for place, box in enumerate(row)]
        parts += [_arrow(f"M{_left(place) - _GAP} {top + _HIGH // 2}h{_GAP - 2}") for place in range(1, len(row))]
        bottom = top + _height(row)
        if number < len(rows) - 1:
            parts.append(_turn(top, bottom))
        top = bottom + _GAP
    wide, high = _width(found), top - _GAP + 1
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}">'
        '<defs><marker id="a" viewBox="0 0 6 6" refX="5" refY="3" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0 6 3 0 6z" fill="#888"/></marker></defs>'
        "<style>rect{stroke:#999;rx:5px}text{font:11px system-ui,sans-serif;fill:#1b1b1b;text-anchor:middle}"
        ".b{font-weight:bold}.e{fill:none;stroke:#888;stroke-width:1.5;marker-end:url(#a)}</style>"
        f"{''.join(parts)}</svg>"
    )


def plan_image(plan: Plan) -> str:
    """The picture as a ``data:`` address for an ``<img>``."""
    return f"data:image/svg+xml;base64,{b64encode(plan_svg(plan).encode()).decode()}"


def svg_width(plan: Plan) -> int:
    """How wide the picture is at most, in pixels."""
    return _width(boxes(plan))


def _width(found: Sequence[Box]) -> int:
    turn = 10 if len(found) > _IN_A_ROW else 1
    return _left(min(len(found), _IN_A_ROW)) - _GAP + turn


def _left(place: int) -> int:
    return 1 + place * (_WIDE + _GAP)


def _height(row: Sequence[Box]) -> int:
    tables = max(len(box.tables[:_MOST_TABLES]) + len(_rest(box.tables)) for box in row)
    return _HIGH + (_GAP - 6 + tables * (_LOW + 4) if tables else 0)


def _drawn(box: Box, left: int, top: int) -> str:
    title = f"{box.number or ''} {box.verb}".strip()
    middle = left + _WIDE // 2
    drawn = _rect(left, top, _HIGH, box.verb)
    drawn += f'<text class="b" x="{middle}" y="{top + 17}">{title}</text>' if title else ""
    return drawn + _text(box.name, middle, top + 33) + "".join(_joined(box, left, top + _HIGH))


def _joined(box: Box, left: int, top: int) -> Iterator[str]:
    """The further tables of a step, under it."""
    middle, names = left + _WIDE // 2, [*box.tables[:_MOST_TABLES], *_rest(box.tables)]
    for place, name in enumerate(names):
        at = top + _GAP - 6 + place * (_LOW + 4)
        yield _rect(left, at, _LOW, "table") + _text(name, middle, at + 17)
    if names:
        yield _arrow(f"M{middle} {top + _GAP - 6}v{8 - _GAP}")


def _rect(left: int, top: int, high: int, kind: str) -> str:
    fill = _FILLS.get(kind, _FILLS["table"])
    return f'<rect x="{left}" y="{top}" width="{_WIDE}" height="{high}" fill="{fill}"/>'


def _text(text: str, middle: int, base: int) -> str:
    return f'<text x="{middle}" y="{base}">{escape(shortened(_UNFIT.sub("�", text), _LETTERS))}</text>'


def _turn(top: int, bottom: int) -> str:
    """From the end of a row to the beginning of the next."""
    right, middle = _left(_IN_A_ROW) - _GAP, top + _HIGH // 2
    start = _left(0) + _WIDE // 2
    return _arrow(f"M{right} {middle}h8V{bottom + _GAP // 2}H{start}v{_GAP // 2 - 2}")


def _arrow(path: str) -> str:
    return f'<path class="e" d="{path}"/>'
