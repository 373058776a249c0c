"""A closed range of an incremental source, loaded in slices, each of them exactly once."""

from __future__ import annotations

import calendar
import contextlib
import datetime as dt
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from datapipe.engine import RunOptions, RunResult, run_options, run_recorded, stream_of
from datapipe.errors import DatapipeError, IdempotencyConflict, PlanError
from datapipe.history import Run
from datapipe.hosts import host
from datapipe.pipeline import Pipeline
from datapipe.plan import Incremental, Plan, QuerySource, TableSource, TableTarget, incremental_of
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
    rows : int
        Rows that were written, now or by an earlier backfill.
    replayed : bool
        Whether an earlier backfill had loaded it.
    run_id, error : str
        Empty where there is none.
    """

    start: Edge
    until: Edge
    state: str = "pending"
    rows: int = 0
    replayed: bool = False
    run_id: str = ""
    error: str = ""

    def __str__(self) -> str:
        again = ", loaded before" if self.replayed else ""
        told = f": {self.error}" if self.error else f", {self.rows:,} rows{again}" if self.state == "succeeded" else ""
        return f"{self.start} to {self.until}: {self.state}{told}"


@dataclass(frozen=True)
class Backfill:
    """The slices of a backfill, in order. It shows itself as text."""

    slices: tuple[Slice, ...]

    @property
    def failed(self) -> tuple[Slice, ...]:
        """Those that are not loaded."""
        return tuple(each for each in self.slices if each.state != "succeeded")

    @property
    def rows(self) -> int:
        """Rows that were written, those of earlier backfills of the range included."""
        return sum(each.rows for each in self.slices)

    def __str__(self) -> str:
        done, again = len(self.slices) - len(self.failed), sum(each.replayed for each in self.slices)
        before = f", {again:,} of them before" if again else ""
        head = f"{done:,} of {len(self.slices):,} slices are loaded{before}: {self.rows:,} rows"
        return "\n".join([head, *map(str, self.failed)])

    __repr__ = __str__


def backfill(
    plan: Pipeline,
    start: Any,
    until: Any,
    *,
    every: Any,
    name: str = "",
    workers: bool = False,
    memory: str | int = "512MB",
    tell: Callable[[Slice], object] = print,
) -> Backfill:
    """Load a closed range of an incremental source in slices, each exactly once; called again, it does what is left.

    No watermark counts, and none is moved. A slice that fails does not keep the others from being loaded.

    Parameters
    ----------
    plan : Pipeline
        An incremental one, with a table as its target.
    start, until : date, datetime, int, Decimal or str
        The range of the cursor's first column; ``until`` is not in it.
    every : str, datetime.timedelta, int or Decimal
        The size of a slice: ``"1 day"``, ``"6h"``, ``"1 month"``, ``1000``.
    name : str
        Of a backfill of its own: one with another name loads the slices again.
    workers : bool
        Whether workers load them, as many at once as there are; if not, this process does, one after the other.
    memory : str or int
        What each may use.
    tell : callable
        Called with each slice when it has ended.

    Returns
    -------
    Backfill

    Raises
    ------
    PlanError
        If the plan is not incremental, or the range cannot be cut so.
    """
    how, label = _of(plan.plan)
    begun: list[tuple[Slice, Callable[[], RunResult]]] = []
    for each in slices(start, until, every):
        key = f"backfill {name} {label} {each.start} {each.until}"
        options = replace(run_options(memory, key, "wait"), places=plan.places)
        begun.append((each, _begun(_piece(plan.plan, how, each), options, workers=workers)))
    found = []
    for each, end in begun:
        found.append(_ended(each, end))
        tell(found[-1])
    return Backfill(tuple(found))


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


def _of(plan: Plan) -> tuple[Incremental, str]:
    """The cursor of a plan, and what its slices have in common: the source and the table."""
    how, source, target = incremental_of(plan.ingestion), plan.ingestion, plan.persistence
    if how is None or not isinstance(source, QuerySource | TableSource):
        raise PlanError(
            "only an incremental plan is loaded in slices", hint="Name the cursor: incremental='updated_at'"
        )
    if not isinstance(target, TableTarget):
        raise PlanError("slices are loaded into a table", hint="Add .write(table, to=…)")
    return how, f"{stream_of(source)} {target.schema_ or ''}.{target.table_name}"


def _piece(plan: Plan, how: Incremental, part: Slice) -> Plan:
    """The plan of one slice; of a cursor of several columns, the first one is cut. NULL is in no slice."""
    nulls = "skip" if how.nulls == "always" else how.nulls
    ends = {"cursor": how.cursor[:1], "start": part.start, "until": part.until, "lag": None}
    cut = how.model_copy(update={**ends, "nulls": nulls, "watermark": False})
    source = plan.ingestion.model_copy(update={"incremental": cut})
    return plan.model_copy(update={"ingestion": source})


def _begun(plan: Plan, options: RunOptions, *, workers: bool) -> Callable[[], RunResult]:
    """What runs a slice; on workers, it is queued here and only waited for there."""
    if not workers:
        return lambda: run_recorded(plan, options)
    host("queue").submit(plan, options, queue=None, pipeline_id=None)
    return Run(options.run_id).result


def _ended(part: Slice, end: Callable[[], RunResult]) -> Slice:
    try:
        result = end()
    except IdempotencyConflict:
        error = "another version of the plan has loaded it: give the backfill a name of its own to load it again"
        return replace(part, state="failed", error=error)
    except DatapipeError as error:
        run_id = error.result.run_id if error.result is not None else ""
        return replace(part, state="failed", error=str(error), run_id=run_id)
    return replace(part, state=result.state, rows=result.rows_written, replayed=result.replayed, run_id=result.run_id)
