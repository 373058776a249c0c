"""Values that were given to parameters, as Python values of the declared types."""

from __future__ import annotations

import datetime as dt
import enum
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import PurePath
from typing import Any

from datapipe.notebooks import scalars, texts
from datapipe.notebooks.kinds import EnumMember, Kind, SecretRef, secret_of
from datapipe.notebooks.texts import Unfit

_CONTAINERS: dict[str, Any] = {
    "list": list,
    "tuple": tuple,
    "tuple...": tuple,
    "set": (set, frozenset),
    "dict": Mapping,
}
_REFERRING = {"str", "Any", "Path"}
_OWN_TYPES = ("float", "date", "datetime", "timedelta", "Decimal", "Path")
_BREADTH = {"datetime": 1, "Path": 2}
# Documents have texts for these, which a union with str leaves texts.
_WRITTEN_AS_TEXT = {"date", "datetime", "timedelta", "Decimal", "Path", "Enum"}


def take(kind: Kind, value: Any, *, as_text: bool = False) -> Any:
    """The value as one of a type.

    Parameters
    ----------
    kind : Kind
    value : Any
        A Python value of the type, or what JSON has for it.
    as_text : bool
        Whether a text is one from a command line, to be read by type.

    Raises
    ------
    Unfit
        If it is no value of the type, or could only be made one by changing it.

    Examples
    --------
    >>> take(Kind("list", (Kind("date"),)), ["2013-05-01"])
    [datetime.date(2013, 5, 1)]
    >>> take(Kind("list", (Kind("int"),)), "1,2", as_text=True)
    [1, 2]
    """
    value = _plain(value)
    if kind.name == "union":
        return _one_of(kind, value, as_text=as_text)
    if kind.name in _REFERRING and isinstance(value, str):
        value = secret_of(value) or value
    if isinstance(value, SecretRef):
        if kind.name not in _REFERRING:
            raise Unfit(kind, value)
        return value
    if kind.name in _CONTAINERS:
        if as_text and isinstance(value, str):
            value, as_text = texts.items(kind, value)
        return _filled(kind, value, as_text=as_text)
    if as_text and isinstance(value, str):
        value = texts.read(kind, value)
    return _TAKES[kind.name](kind, value)


def is_exactly(kind: Kind, value: Any, *, widened: bool = True) -> bool:
    """Whether a Python value is one of a type as it stands.

    Parameters
    ----------
    kind : Kind
    value : Any
    widened : bool
        Whether a whole number may stand for a float.

    Examples
    --------
    >>> is_exactly(Kind("float"), 1), is_exactly(Kind("int"), True), is_exactly(Kind("date"), "2013-05-01")
    (True, False, False)
    """
    if kind.name in _CONTAINERS:
        return _filled_exactly(kind, value, widened=widened)
    match kind.name:
        case "union":
            return any(is_exactly(member, value, widened=widened) for member in kind.of)
        case "float":
            return isinstance(value, float) or (widened and is_exactly(Kind("int"), value))
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "date":
            return isinstance(value, dt.date) and not isinstance(value, dt.datetime)
        case "Literal":
            return any(type(value) is type(known) and value == known for _, known in kind.choices)
        case "Enum":
            return (isinstance(value, EnumMember) and value.enum == kind.label) or type(value).__name__ == kind.label
    return isinstance(value, _CLASSES[kind.name])


def _filled_exactly(kind: Kind, value: Any, *, widened: bool) -> bool:
    if not isinstance(value, _CONTAINERS[kind.name]) or (kind.name == "tuple" and len(value) != len(kind.of)):
        return False
    if kind.name == "dict":
        if not all(isinstance(key, str) for key in value):
            return False
        value = value.values()
    kinds = kind.of if kind.name == "tuple" else kind.of * len(value)
    return all(is_exactly(of, item, widened=widened) for of, item in zip(kinds, value, strict=True))


def _plain(value: Any) -> Any:
    """A NumPy scalar as Python's own."""
    if type(value).__module__ != "numpy" or getattr(value, "shape", None) != ():
        return value
    found = value.item()
    if value.dtype.kind in "mM" and not isinstance(found, (dt.date, dt.timedelta)):
        raise Unfit(Kind("datetime" if value.dtype.kind == "M" else "timedelta"), value, "finer than a microsecond")
    return found


def _one_of(kind: Kind, value: Any, *, as_text: bool) -> Any:
    """The value as one of the first member that has it as it stands, or else of the first that can take it."""
    members = kind.of
    if isinstance(value, str):
        if as_text and texts.is_nothing(kind, value):
            return None
        members = _of_a_text(kind, value, as_text=as_text)
    if not (as_text and isinstance(value, str)):
        exact = [member for member in members if is_exactly(member, value, widened=False)]
        members = (*exact, *(member for member in members if member not in exact))
    errors = []
    for member in members:
        try:
            return take(member, value, as_text=as_text)
        except Unfit as error:
            errors.append(error)
    inner = next((error for error in errors if error.place), None)
    raise inner or Unfit(kind, value, next((error.reason for error in errors if error.reason), ""))


def _of_a_text(kind: Kind, value: str, *, as_text: bool) -> tuple[Kind, ...]:
    """The members that a text may be one of, in the order to try them in."""
    if any(member.name == "str" for member in kind.of):
        listed = not as_text or value.lstrip().startswith(("[", "{"))
        others = {*_WRITTEN_AS_TEXT, *(() if listed else _CONTAINERS)}
        return tuple(member for member in kind.of if member.name not in others)
    # The text of a date is one of a moment too, and any text is a path: the narrower type goes first.
    return tuple(sorted(kind.of, key=lambda member: _BREADTH.get(member.name, 0)))


def _filled(kind: Kind, value: Any, *, as_text: bool) -> Any:
    """A container, with each item as one of its own type."""
    if kind.name == "dict":
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise Unfit(kind, value)
        return {str.__str__(key): _item(kind.of[0], of, repr(key), as_text=as_text) for key, of in value.items()}
    if not isinstance(value, (list, tuple)) and not (kind.name == "set" and isinstance(value, (set, frozenset))):
        raise Unfit(kind, value)
    if kind.name == "tuple" and len(value) != len(kind.of):
        raise Unfit(kind, value, f"{len(value)} items")
    kinds = kind.of if kind.name == "tuple" else kind.of * len(value)
    found = [
        _item(of, item, str(index), as_text=as_text) for index, (of, item) in enumerate(zip(kinds, value, strict=True))
    ]
    try:
        return {"list": list, "set": set}.get(kind.name, tuple)(found)
    except TypeError:
        raise Unfit(kind, value, "items that no set can hold") from None


def _item(kind: Kind, value: Any, place: str, *, as_text: bool) -> Any:
    try:
        return take(kind, value, as_text=as_text)
    except Unfit as error:
        raise error.inside(place) from None


def _same(kind: Kind, value: Any) -> Any:
    """A value of a Literal, or one of the few that are no more than themselves."""
    if not is_exactly(kind, value):
        raise Unfit(kind, value)
    return value


def _member(kind: Kind, value: Any) -> EnumMember:
    """A member by its value, or else by its name."""
    if isinstance(value, enum.Enum) and type(value).__name__ == kind.label:
        value = value.value
    if isinstance(value, EnumMember) and value.enum == kind.label:
        value = value.value
    for name, known in kind.choices:
        if type(known) is type(value) and known == value:
            return EnumMember(kind.label, name, known)
    for name, known in kind.choices:
        if name == value:
            first = next(other for other, same in kind.choices if same == known and type(same) is type(known))
            return EnumMember(kind.label, first, known)
    raise Unfit(kind, value)


def _any(kind: Kind, value: Any) -> Any:
    """What JSON has, and nothing else."""
    if isinstance(value, Mapping):
        return _filled(Kind("dict", (kind,)), value, as_text=False)
    if isinstance(value, (list, tuple)):
        return _filled(Kind("list", (kind,)), value, as_text=False)
    if isinstance(value, str):
        return scalars.text(kind, value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, int):
        return scalars.whole(kind, value)
    fitting = next((name for name in _OWN_TYPES if is_exactly(Kind(name), value)), "")
    raise Unfit(kind, value, f"annotate it as {fitting} to give such a value" if fitting else "")


_CLASSES: dict[str, type] = {
    "Any": object,
    "None": type(None),
    "str": str,
    "bool": bool,
    "datetime": dt.datetime,
    "timedelta": dt.timedelta,
    "Decimal": Decimal,
    "Path": PurePath,
}
_TAKES: dict[str, Callable[[Kind, Any], Any]] = {
    "int": scalars.whole,
    "float": scalars.real,
    "bool": _same,
    "str": scalars.text,
    "date": scalars.date,
    "datetime": scalars.moment,
    "timedelta": scalars.interval,
    "Decimal": scalars.decimal,
    "Path": scalars.path,
    "None": _same,
    "Literal": _same,
    "Enum": _member,
    "Any": _any,
}
