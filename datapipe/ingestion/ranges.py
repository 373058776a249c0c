"""Ranges of a column's values: which columns can be cut, where, and the condition of each range. No connection here."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa

from datapipe.data.names import find_name
from datapipe.data.types import describe, tag
from datapipe.errors import DatapipeError, PlanError, did_you_mean
from datapipe.plan import FileSource, FrameSource, Source

DEFAULT = 4  # partitions, where a plan does not say how many
_KINDS = "an integer, date, timestamp or decimal column"
_FINER = 6  # decimal places of a cut beyond those of the least and the greatest value
_EPOCH = dt.datetime(1970, 1, 1)
_MICROSECOND = dt.timedelta(microseconds=1)
Axis = tuple[int, int, Callable[[int], str]]  # the least and greatest value as whole numbers, and the way back


@dataclass(frozen=True)
class Cutting:
    """The column to cut rows by, and into how many ranges at most."""

    column: str
    count: int


@dataclass(frozen=True)
class Snapshot:
    """A state of the database that several connections may read, while the one that has it is open.

    Parameters
    ----------
    name : str
        As the server calls it.
    opening : context manager
        Held while a connection is opened: each socket is told by those that were there before it.
    """

    name: str
    opening: AbstractContextManager[Any] = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class Range:
    """One of the ranges of a source, in a snapshot."""

    snapshot: Snapshot
    condition: str
    number: int
    count: int


@dataclass(frozen=True)
class Ranges:
    """A snapshot, and the conditions that cut the rows of a query in it."""

    snapshot: Snapshot
    conditions: tuple[str, ...]

    def __iter__(self) -> Iterator[Range]:
        count = len(self.conditions)
        return (Range(self.snapshot, each, number, count) for number, each in enumerate(self.conditions, 1))

    def __len__(self) -> int:
        return len(self.conditions)


@contextmanager
def numbered(part: Range) -> Iterator[None]:
    """An error about a row says in which partition it has its number."""
    try:
        yield
    except DatapipeError as error:
        if error.row is not None:
            error.message = f"{error.message} (of partition {part.number} of {part.count})"
        raise


def cutting_of(source: Source) -> Cutting | None:
    """How a source is to be cut; None if it is not.

    Examples
    --------
    >>> from datapipe.plan import TableSource
    >>> cutting_of(TableSource(table="users", partition_on="id"))
    Cutting(column='id', count=4)
    """
    if isinstance(source, (FileSource, FrameSource)) or source.partition_on is None:
        return None
    return Cutting(source.partition_on, source.partitions or DEFAULT)


def find_column(cutting: Cutting, schema: pa.Schema) -> int:
    """The place of the column among those that are read.

    Raises
    ------
    PlanError
        If there is none of this name, or its values cannot be cut into ranges.
    """
    name = find_name(cutting.column, schema.names)
    if name is None:
        hint = did_you_mean(cutting.column, schema.names, what="columns")
        raise PlanError(f"partition_on: there is no column {cutting.column!r}", hint=hint)
    place: int = schema.names.index(name)
    if _axis_of(schema.field(place)) is None:
        able = [each.name for each in schema if _axis_of(each) is not None]
        cure = f"Use {', '.join(able[:5])}" if able else "There is none here, so leave partition_on out"
        problem = f"partition_on takes {_KINDS}, and {name!r} is {describe(schema.field(place))}"
        raise PlanError(problem, column=name, hint=cure)
    return place


def cuts(column: pa.Field, least: str | None, greatest: str | None, count: int) -> tuple[str, ...]:
    """Where the values between two are cut into ``count`` even ranges, or fewer, in ascending order.

    There are no cuts where there is nothing to cut: no values, or only one; nor beyond the years 1 to 9999, or where
    a value is infinite or no number.

    Examples
    --------
    >>> cuts(pa.field("id", pa.int64()), "1", "100", 4)
    ('26', '51', '76')
    >>> cuts(pa.field("day", pa.date32()), "2024-01-01", "2024-01-02", 8)
    ('2024-01-02',)
    """
    axis = _axis_of(column)
    if least is None or greatest is None or axis is None:
        return ()
    try:
        first, last, text = axis(least, greatest)
    except ValueError:
        return ()
    points = {first + (last - first + 1) * number // count for number in range(1, count)}
    return tuple(text(point) for point in sorted(points - {first}))


def conditions(column: str, found: Sequence[str]) -> tuple[str, ...]:
    """The condition of each range, in SQL; the first range has the NULLs, and the ends are open.

    Whatever the cuts are, each row is in one range, and in one only.

    Examples
    --------
    >>> conditions("c0", ["26", "51"])
    ("c0 < '26' OR c0 IS NULL", "c0 >= '26' AND c0 < '51'", "c0 >= '51'")
    >>> conditions("c0", [])
    ('true',)
    """
    if not found:
        return ("true",)
    inner = [f"{column} >= '{low}' AND {column} < '{high}'" for low, high in itertools.pairwise(found)]
    return (f"{column} < '{found[0]}' OR {column} IS NULL", *inner, f"{column} >= '{found[-1]}'")


def _axis_of(column: pa.Field) -> Callable[[str, str], Axis] | None:
    if pa.types.is_integer(column.type):
        return _integers
    if pa.types.is_date32(column.type):
        return _dates
    if pa.types.is_timestamp(column.type):
        return _timestamps
    known = tag(column) or ""
    is_numeric = known.startswith("numeric") and not known.endswith("[]")
    return _decimals if is_numeric or pa.types.is_decimal(column.type) else None


def _integers(least: str, greatest: str) -> Axis:
    return int(least), int(greatest), str


def _dates(least: str, greatest: str) -> Axis:
    first, last = (dt.date.fromisoformat(text).toordinal() for text in (least, greatest))
    return first, last, lambda day: dt.date.fromordinal(day).isoformat()


def _timestamps(least: str, greatest: str) -> Axis:
    low, high = dt.datetime.fromisoformat(least), dt.datetime.fromisoformat(greatest)
    epoch = _EPOCH.replace(tzinfo=low.tzinfo)
    first, last = ((time - epoch) // _MICROSECOND for time in (low, high))
    return first, last, lambda moment: (epoch + moment * _MICROSECOND).isoformat(sep=" ")


def _decimals(least: str, greatest: str) -> Axis:
    values = [Decimal(text) for text in (least, greatest)]
    if not all(value.is_finite() for value in values):
        raise ValueError
    places = _FINER + max(-int(value.as_tuple().exponent) for value in values)
    first, last = (_units(value, places) for value in values)
    return first, last, lambda units: _from_units(units, places)


def _units(value: Decimal, places: int) -> int:
    sign, digits, exponent = value.as_tuple()
    whole: int = int("".join(map(str, digits))) * 10 ** (int(exponent) + places)
    return -whole if sign else whole


def _from_units(units: int, places: int) -> str:
    digits = str(abs(units)).rjust(places + 1, "0")
    text = f"{digits[:-places]}.{digits[-places:]}"
    return f"-{text}" if units < 0 else text
