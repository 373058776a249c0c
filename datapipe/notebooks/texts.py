"""Texts of a command line or a document, read as one type of parameter."""

from __future__ import annotations

import datetime as dt
import json
import re
import zoneinfo
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

from datapipe.notebooks.kinds import Kind

NOTHING = {"", "none", "null"}
NOT_FINITE = {"NaN", "Infinity", "-Infinity"}
_YES, _NO = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}
_WHOLE = re.compile(r"[+-]?\d+(?:_\d+)*", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d(?:[T ][^\[\]]+)?)(?:\[([\w/+-]+)\])?", re.ASCII)
_TOO_FINE = re.compile(r"[.,]\d{6}\d*[1-9]", re.ASCII)
_INTERVAL = re.compile(
    r"([+-]?)P(?=.)(?:(\d+)W)?(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:[.,](\d{1,6}))?S)?)?", re.ASCII
)


class Unfit(ValueError):  # noqa: N818  # it names what the value is
    """A value that is none of its type.

    Parameters
    ----------
    kind : Kind
        The type of the place it was given for, which may be within a container.
    value : Any
        It may be secret: it is not part of the text of this error.
    reason : str
        What is wrong with it, if the types alone do not tell.
    place : str
        Where in a container it stands: ``[0]['a']``.
    """

    def __init__(self, kind: Kind, value: Any, reason: str = "", place: str = "") -> None:
        super().__init__(f"no {kind}")
        self.kind, self.value, self.reason, self.place = kind, value, reason, place

    def inside(self, place: str) -> Unfit:
        """The same error, seen from the container."""
        return Unfit(self.kind, self.value, self.reason, f"[{place}]{self.place}")


def read(kind: Kind, text: str) -> Any:
    """What the text of a command line says, as JSON has it; unchanged if it is for the type to read.

    Raises
    ------
    Unfit

    Examples
    --------
    >>> read(Kind("bool"), "yes"), read(Kind("float"), "1e3"), read(Kind("str"), "5")
    (True, 1000.0, '5')
    """
    if kind.name in {"str", "Path"}:
        return text
    if kind.name in _READS:
        return _READS[kind.name](kind, text)
    return text.strip()


def is_nothing(kind: Kind, text: str) -> bool:
    """Whether the text of a command line stands for None.

    Examples
    --------
    >>> int_or_none, str_or_none = (Kind("union", (Kind(name), Kind("None"))) for name in ("int", "str"))
    >>> is_nothing(int_or_none, "none"), is_nothing(str_or_none, "none")
    (True, False)
    """
    chosen = any(text == value for member in kind.of for _, value in member.choices)
    plain = any(member.name == "str" for member in kind.of)
    return kind.takes_none and text.strip().lower() in NOTHING and not chosen and not plain


def items(kind: Kind, text: str) -> tuple[Any, bool]:
    """The items of a container, and whether each is a text of a command line again rather than JSON.

    Raises
    ------
    Unfit

    Examples
    --------
    >>> items(Kind("list"), "AA, UA"), items(Kind("list"), '["AA"]')
    ((['AA', 'UA'], True), (['AA'], False))
    """
    word = text.strip()
    if word.startswith(("[", "{")) or kind.name == "dict":
        try:
            return json.loads(word), False
        except (ValueError, RecursionError):
            raise Unfit(kind, text, "not JSON") from None
    return ([item.strip() for item in word.split(",")] if word else []), True


def date(kind: Kind, text: str) -> dt.date:
    """A date from ISO 8601."""
    if not _DATE.fullmatch(text):
        raise Unfit(kind, text)
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise Unfit(kind, text, "no such day") from None


def moment(kind: Kind, text: str) -> dt.datetime:
    """A moment from ISO 8601, with the name of a time zone in brackets after it as RFC 9557 has it.

    Examples
    --------
    >>> moment(Kind("datetime"), "2024-05-01T12:00:00+02:00[Europe/Berlin]").tzinfo
    zoneinfo.ZoneInfo(key='Europe/Berlin')
    """
    parts = _MOMENT.fullmatch(text)
    if parts is None:
        raise Unfit(kind, text)
    if _TOO_FINE.search(text):
        raise Unfit(kind, text, "finer than a microsecond")
    try:
        found = dt.datetime.fromisoformat(parts[1])
        zone = zoneinfo.ZoneInfo(parts[2]) if parts[2] else None
    except (ValueError, LookupError):
        raise Unfit(kind, text, "no such day, time or zone") from None
    if zone is None:
        return settled(found)
    for fold in (0, 1):
        zoned = found.replace(tzinfo=zone, fold=fold)
        if found.tzinfo is None or zoned.utcoffset() == found.utcoffset():
            return settled(zoned)
    raise Unfit(kind, text, f"{parts[2]} has another offset then")


def settled(value: dt.datetime) -> dt.datetime:
    """The same moment with a zone that has a name, an offset, or none; ``fold`` only where it matters."""
    offset = value.utcoffset()
    if offset is None:
        return value.replace(tzinfo=None, fold=0)
    if isinstance(value.tzinfo, zoneinfo.ZoneInfo) and value.tzinfo.key:
        first = value.replace(fold=0)
        return first if first.utcoffset() == offset else value
    return value.replace(tzinfo=dt.timezone(offset) if offset else dt.UTC, fold=0)


def interval(kind: Kind, text: str) -> dt.timedelta:
    """A length of time from ISO 8601; not in months or years, which have no fixed length.

    Examples
    --------
    >>> interval(Kind("timedelta"), "P1DT2H")
    datetime.timedelta(days=1, seconds=7200)
    """
    found = _INTERVAL.fullmatch(text)
    if found is None:
        raise Unfit(kind, text)
    sign, *numbers, part = found.groups(default="0")
    try:
        weeks, days, hours, minutes, seconds = map(int, numbers)
        length = dt.timedelta(days, seconds, int(part.ljust(6, "0")), 0, minutes, hours, weeks)
        return -length if sign == "-" else length
    except (OverflowError, ValueError):
        raise Unfit(kind, text, "too long") from None


def decimal(kind: Kind, text: str) -> Decimal:
    """A Decimal with exactly the digits of the text."""
    try:
        return Decimal(text)
    except InvalidOperation:
        raise Unfit(kind, text) from None


def _int(kind: Kind, text: str) -> int:
    try:
        if _WHOLE.fullmatch(text.strip()):
            return int(text)
    except ValueError:
        raise Unfit(kind, text, "too many digits") from None
    raise Unfit(kind, text)


def _float(kind: Kind, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Unfit(kind, text) from None


def _bool(kind: Kind, text: str) -> bool:
    word = text.strip().lower()
    if word not in _YES | _NO:
        raise Unfit(kind, text)
    return word in _YES


def _none(kind: Kind, text: str) -> None:
    if text.strip().lower() not in NOTHING:
        raise Unfit(kind, text)


def _seconds(_kind: Kind, text: str) -> float | str:
    word = text.strip()
    return float(word) if _NUMBER.fullmatch(word) else word


def _chosen(kind: Kind, text: str) -> Any:
    """The choice that a text stands for: itself, or the number, the boolean or the None it says."""
    values = [value for _, value in kind.choices]
    if text in values:
        return text
    for value in values:
        if value is None or isinstance(value, (bool, int)):
            with suppress(Unfit):
                read_as = Kind("None" if value is None else type(value).__name__)
                if read(read_as, text) == value:
                    return value
    raise Unfit(kind, text)


def _member(kind: Kind, text: str) -> Any:
    """The value of an Enum's member that has this text, or else the text, which may be a member's name."""
    return next((value for _, value in kind.choices if str(value) == text), text)


def _json_or_text(_kind: Kind, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(name: str) -> None:
    raise ValueError(name)


_READS: dict[str, Callable[[Kind, str], Any]] = {
    "int": _int,
    "float": _float,
    "bool": _bool,
    "None": _none,
    "timedelta": _seconds,
    "Literal": _chosen,
    "Enum": _member,
    "Any": _json_or_text,
}
