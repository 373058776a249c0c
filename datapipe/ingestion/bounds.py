"""Bounds of a cursor in the SQL of each database: all rows within them, and as few others as an index allows."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from datapipe.data.asking import Bound
from datapipe.data.names import quote, text_literal

_DAY = dt.timedelta(days=1)
_NOUGHTS = re.compile(r"( 00)?(:00)+$")
Spell = Callable[[str, Any, bool], tuple[str, str] | None]  # the column and the value, as they are compared


def bound_sql(bound: Bound, driver: str, quoted: Callable[[str], str] = quote) -> str | None:
    """The condition for a bound; None where the database cannot compare the values as they are read.

    Examples
    --------
    >>> print(bound_sql(Bound(("id",), (7,), nulls=True), "postgresql"))
    ("id" >= 7 OR "id" IS NULL)
    >>> print(bound_sql(Bound(("day", "id"), (dt.date(2024, 1, 1), 7)), "mysql"))
    ("day" >= DATE '2024-01-01' AND ("day" > DATE '2024-01-01' OR ("id" >= 7)))
    """
    pairs = []
    for name, value in zip(bound.columns, bound.values, strict=True):
        pair = _SPELLINGS[driver](quoted(name), value, bound.below)
        if pair is None:
            break
        pairs.append(pair)
        if driver == "sqlite":  # whose text before all others is no value that a further column could follow
            break
    if not pairs:
        return None
    strict, loose = ("<", "<=") if bound.below else (">", ">=")
    is_whole = len(pairs) == len(bound.columns) and driver != "sqlite"
    column, value = pairs.pop()
    condition = f"{column} {strict if bound.below and is_whole else loose} {value}"
    for column, value in reversed(pairs):
        condition = f"{column} {loose} {value} AND ({column} {strict} {value} OR ({condition}))"
    if bound.nulls:
        condition = " OR ".join([condition, *(f"{quoted(name)} IS NULL" for name in bound.columns)])
    return f"({condition})"


def _moment(value: dt.datetime) -> str:
    naive = value.astimezone(dt.UTC).replace(tzinfo=None) if value.tzinfo else value
    return naive.isoformat(sep=" ")


def _number(value: Any) -> str | None:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return str(value) if isinstance(value, int) else None


def _date(value: Any) -> str | None:
    return f"DATE '{value.isoformat()}'" if isinstance(value, dt.date) and not isinstance(value, dt.datetime) else None


def _postgresql(column: str, value: Any, _: bool) -> tuple[str, str]:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace("'", "''")
        return f'{column} COLLATE "C"', f"E'{escaped}'"
    zone = isinstance(value, dt.datetime) and value.tzinfo is not None
    moment = f"TIMESTAMP{'TZ' * zone} '{_moment(value)}{'+00' * zone}'" if isinstance(value, dt.datetime) else ""
    return column, _number(value) or _date(value) or moment


def _duckdb(column: str, value: Any, below: bool) -> tuple[str, str]:
    if isinstance(value, str):
        return column, text_literal(value)
    return _postgresql(column, value, below)


def _mysql(column: str, value: Any, _: bool) -> tuple[str, str]:
    if isinstance(value, str):
        return f"CAST(CONVERT({column} USING utf8mb4) AS BINARY)", f"X'{value.encode().hex()}'"
    moment = f"TIMESTAMP '{_moment(value)}'" if isinstance(value, dt.datetime) else ""  # the session is in UTC
    return column, _number(value) or _date(value) or moment


def _sqlite(column: str, value: Any, below: bool) -> tuple[str, str] | None:
    """Times are text there, with a blank or a T and in any zone: they are held to a text that is before them all."""
    if isinstance(value, str):
        return f"{column} COLLATE BINARY", text_literal(value)
    if isinstance(value, dt.date):
        with contextlib.suppress(OverflowError):  # at the end of all days there is no bound
            return column, f"'{_after(value) if below else _before(value)}'"
    return (column, str(value)) if isinstance(value, int) else None  # a decimal may be text, too


def _after(value: dt.date) -> str:
    if isinstance(value, dt.datetime):
        return (value + (2 * _DAY if value.tzinfo else _DAY)).date().isoformat()
    return (value + _DAY).isoformat()


def _before(value: dt.date) -> str:
    if not isinstance(value, dt.datetime):
        return value.isoformat()
    if value.tzinfo:
        return (value - _DAY).date().isoformat()
    text = value.isoformat(sep=" ")
    if value.microsecond:
        return text.rstrip("0")
    return _NOUGHTS.sub("", text)  # what is not written is nought, and sorts before it


_SPELLINGS: dict[str, Spell] = {
    "postgresql": _postgresql,
    "mysql": _mysql,
    "sqlite": _sqlite,
    "duckdb": _duckdb,
}
