"""The values of parameters as JSON, for documents."""

from __future__ import annotations

import datetime as dt
import math
import zoneinfo
from collections.abc import Mapping
from decimal import Decimal
from pathlib import PurePath
from typing import Any

from datapipe.errors import PlanError
from datapipe.notebooks.kinds import EnumMember, SecretRef
from datapipe.notebooks.source import expression

_PLAIN = (str, int, float, bool, type(None))


def encoded(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as JSON, which :func:`checked` reads back as the same values.

    Raises
    ------
    PlanError
        If a value has no JSON form.

    Examples
    --------
    >>> import datetime
    >>> encoded({"day": datetime.date(2013, 5, 1), "wait": datetime.timedelta(hours=2), "key": SecretRef("KEY")})
    {'day': '2013-05-01', 'wait': 'PT2H', 'key': 'secret:KEY'}
    """
    return {name: encode(value) for name, value in values.items()}


def encode(value: Any) -> Any:
    """One value as JSON; one that is not finite is a text."""
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case None | bool() | int() | float() | str():
            return value
        case list() | tuple() | set():
            items = sorted(value, key=_in_order) if isinstance(value, set) else value
            return [encode(item) for item in items]
        case dict() if all(isinstance(key, str) for key in value):
            return {key: encode(item) for key, item in value.items()}
        case EnumMember():
            return value.value if isinstance(value.value, _PLAIN) else value.name
        case dt.datetime():
            return _moment(value)
        case dt.date():
            return value.isoformat()
        case dt.timedelta():
            return _interval(value)
        case Decimal() | PurePath() | SecretRef():
            return str(value)
    raise PlanError(f"a value of type {type(value).__name__} has no JSON form")


def _in_order(value: Any) -> str:
    return expression(value, set())


def _moment(value: dt.datetime) -> str:
    """ISO 8601, with the name of its time zone in brackets after it as RFC 9557 has it."""
    name = value.tzinfo.key if isinstance(value.tzinfo, zoneinfo.ZoneInfo) else ""
    return f"{value.isoformat()}[{name}]" if name else value.isoformat()


def _interval(value: dt.timedelta) -> str:
    """ISO 8601, with a sign before all of it if it is negative."""
    if not value:
        return "PT0S"
    sign, length = ("-", -value) if value < dt.timedelta() else ("", value)
    minutes, seconds = divmod(length.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    part = f".{length.microseconds:06}".rstrip("0") if length.microseconds else ""
    clock = f"{hours}H" * bool(hours) + f"{minutes}M" * bool(minutes) + f"{seconds}{part}S" * bool(seconds or part)
    return f"{sign}P" + f"{length.days}D" * bool(length.days) + f"T{clock}" * bool(clock)
