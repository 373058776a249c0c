"""A closed range cut into slices."""

from __future__ import annotations

import calendar
import contextlib
import datetime as dt
import itertools
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from datapipe.errors import PlanError
from datapipe.plan.incremental import span

_MOST = 100_000  # slices
_MONTHS = re.compile(r"\s*(\d+)\s*(month|year)s?\s*", re.I)
_EVERY = "Write it as '1 day', '6 hours', '1 month', or as a number for a cursor that is one"
Edge = dt.date | int | Decimal


@dataclass(frozen=True)
class Slice:
    """A part of the range, and what came of it.

    Parameters
    ----------
    start, until : value
        Of the cursor; ``until`` is not in it.
    state : str
        That of its run; ``pending`` before it.
    rows : int, optional
        Rows that were written, now or by an earlier backfill; None where a notebook was run.
    replayed : bool
        Whether an earlier backfill had loaded it.
    run_id, error : str
        Empty where there is none.
    """

    start: Edge
    until: Edge
    state: str = "pending"
    rows: int | None = None
    replayed: bool = False
    run_id: str = ""
    error: str = ""

    def __str__(self) -> str:
        rows = "" if self.rows is None else f", {self.rows:,} rows"
        told = f": {self.error}" if self.error else f"{rows}{', done before' if self.replayed else ''}"
        return f"{self.start} to {self.until}: {self.state}{told}"


def slices(start: Any, until: Any, every: Any) -> list[Slice]:
    """The slices of a range, in order; the last may be shorter.

    Raises
    ------
    PlanError
        If the ends or the size are none, or do not go together.

    Examples
    --------
    >>> [str(each.until) for each in slices("2024-01-31", "2024-04-01", "1 month")]
    ['2024-02-29', '2024-03-31', '2024-04-01']
    >>> len(slices("2024-01-01", "2025-01-01", "1d")), [each.start for each in slices(0, 10, 4)]
    (366, [0, 4, 8])
    """
    months = _months(every)
    size: Any = None if months else _size(every)
    low, high = _edge(start), _edge(until)
    if isinstance(size, dt.timedelta) and size % dt.timedelta(days=1):
        low, high = _moment(low), _moment(high)
    edges: list[Any] = [low]
    try:
        while edges[-1] < high:
            number = len(edges)  # of the edge, counted from the first: a month's last day is not a day of each
            edges.append(min(_months_after(low, months * number) if months else low + size * number, high))
            if len(edges) > _MOST:
                raise PlanError(f"the range has more than {_MOST:,} slices", hint="Take larger ones")
            if edges[-1] <= edges[-2]:
                raise PlanError(f"slices of {every!r} lead nowhere", hint=_EVERY)
    except TypeError:
        hint = "Give dates or times with a length of time, or numbers with a number"
        raise PlanError(f"{start!r}, {until!r} and {every!r} do not go together", hint=hint) from None
    if len(edges) < 2:
        raise PlanError(f"there is nothing from {start} to {until}", hint="The end comes after the start")
    return [Slice(low, high) for low, high in itertools.pairwise(edges)]


def _edge(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    for read in (int, dt.date.fromisoformat, dt.datetime.fromisoformat, Decimal):
        with contextlib.suppress(ValueError, InvalidOperation):
            return read(given)
    raise PlanError(f"{given!r} is no value of a cursor", hint="Give a date, a time or a number")


def _months(every: Any) -> int:
    """The length of a slice in months; 0 if it has another one."""
    found = _MONTHS.fullmatch(every) if isinstance(every, str) else None
    return 0 if found is None else int(found[1]) * (12 if found[2].lower() == "year" else 1)


def _moment(day: Any) -> Any:
    """A day as its first moment."""
    is_day = isinstance(day, dt.date) and not isinstance(day, dt.datetime)
    return dt.datetime.combine(day, dt.time()) if is_day else day


def _size(every: Any) -> Any:
    """A length of time, or a number."""
    if not isinstance(every, str):
        return every
    with contextlib.suppress(ValueError):
        return int(every)
    with contextlib.suppress(InvalidOperation):
        return Decimal(every)
    return span(every)


def _months_after(day: Any, count: int) -> Any:
    """The same day of another month, or its last one."""
    if not isinstance(day, dt.date):
        raise TypeError
    year, month = divmod(day.year * 12 + day.month - 1 + count, 12)
    return day.replace(year=year, month=month + 1, day=min(day.day, calendar.monthrange(year, month + 1)[1]))
