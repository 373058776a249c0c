"""Single values that were given to parameters, as Python values of one type."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any

from datapipe.notebooks import texts
from datapipe.notebooks.kinds import Kind
from datapipe.notebooks.texts import Unfit

_BITS = 13_000  # Python reads and writes numbers of at most 4,300 digits


def whole(kind: Kind, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unfit(kind, value)
    if value.bit_length() > _BITS:
        raise Unfit(kind, value, "more than 3,900 digits")
    return int(value)


def real(kind: Kind, value: Any) -> float:
    if isinstance(value, str) and value in texts.NOT_FINITE:
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Unfit(kind, value)
    try:
        found = float(value)
    except OverflowError:
        raise Unfit(kind, value, "no float is so large") from None
    if isinstance(value, int) and int(found) != value:
        raise Unfit(kind, value, "no float has all its digits")
    return found


def text(kind: Kind, value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit(kind, value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unfit(kind, value, "text that is no valid Unicode") from None
    return str.__str__(value)


def date(kind: Kind, value: Any) -> dt.date:
    if isinstance(value, str):
        value = texts.date(kind, value)
    if isinstance(value, dt.datetime) and hasattr(value, "nanosecond"):  # pandas has no other type for dates
        midnight = moment(kind, value)
        if midnight.tzinfo is None and midnight.time() == dt.time():
            return midnight.date()
        raise Unfit(kind, value)
    if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
        raise Unfit(kind, value)
    return dt.date(value.year, value.month, value.day)


def moment(kind: Kind, value: Any) -> dt.datetime:
    if isinstance(value, str):
        value = texts.moment(kind, value)
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return dt.datetime(value.year, value.month, value.day)
    if not isinstance(value, dt.datetime) or value != value or getattr(value, "nanosecond", False):  # noqa: PLR0124  # NaT
        raise Unfit(kind, value)
    clock = (value.hour, value.minute, value.second, value.microsecond)
    return texts.settled(dt.datetime(value.year, value.month, value.day, *clock, value.tzinfo, fold=value.fold))


def interval(kind: Kind, value: Any) -> dt.timedelta:
    if isinstance(value, str):
        return texts.interval(kind, value)
    if isinstance(value, dt.timedelta):
        if value != value or getattr(value, "nanoseconds", False):  # noqa: PLR0124  # NaT
            raise Unfit(kind, value)
        return dt.timedelta(value.days, value.seconds, value.microseconds)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Unfit(kind, value)
    try:
        found = dt.timedelta(seconds=value)
    except (OverflowError, ValueError):
        raise Unfit(kind, value) from None
    if found.total_seconds() != value:
        raise Unfit(kind, value, "finer than a microsecond")
    return found


def decimal(kind: Kind, value: Any) -> Decimal:
    if isinstance(value, float):
        raise Unfit(kind, value, "a float has no exact decimal places: give it as text")
    if isinstance(value, str):
        return texts.decimal(kind, value)
    return Decimal(str(value)) if isinstance(value, Decimal) else Decimal(whole(kind, value))


def path(kind: Kind, value: Any) -> Path:
    if not isinstance(value, (str, PurePath)):
        raise Unfit(kind, value)
    return Path(text(kind, str(value) if isinstance(value, PurePath) else value))
