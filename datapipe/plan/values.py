"""Values inside a plan: deeply frozen, and able to travel through JSON without losing their type."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import math
import uuid
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

from datapipe.errors import NotPortableError, PlanError, did_you_mean

K = TypeVar("K")
V = TypeVar("V")


class FrozenDict(dict[K, V]):
    """A dict that cannot be changed, so that a plan holding it cannot be changed either.

    Examples
    --------
    >>> FrozenDict(a=1)["a"]
    1
    """

    def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise TypeError("a plan cannot be changed; build a new one")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]  # dict is unhashable, a frozen one need not be
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)


def freeze(value: Any) -> Any:
    """The same value with every dict and list in it replaced by a frozen one."""
    if isinstance(value, Mapping):
        return FrozenDict({key: freeze(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(freeze(item) for item in value)
    return value


_ENCODE: dict[type, tuple[str, Callable[[Any], str]]] = {
    dt.datetime: ("datetime", dt.datetime.isoformat),
    dt.date: ("date", dt.date.isoformat),
    dt.time: ("time", dt.time.isoformat),
    dt.timedelta: ("interval", lambda value: str(value // dt.timedelta(microseconds=1))),
    decimal.Decimal: ("decimal", str),
    uuid.UUID: ("uuid", str),
    bytes: ("bytes", lambda value: base64.b64encode(value).decode()),
}
_DECODE: dict[str, Callable[[Any], Any]] = {
    "datetime": dt.datetime.fromisoformat,
    "date": dt.date.fromisoformat,
    "time": dt.time.fromisoformat,
    "interval": lambda text: dt.timedelta(microseconds=int(text)),
    "decimal": decimal.Decimal,
    "float": float,
    "uuid": lambda text: uuid.UUID(str(text)),
    "bytes": lambda text: base64.b64decode(text, validate=True),
    "mapping": lambda found: FrozenDict({key: decode(item) for key, item in found.items()}),
}
_TAGGED = {"type", "value"}


def encode(value: Any) -> Any:
    """A parameter as JSON: values JSON lacks become ``{"type": …, "value": …}``.

    Examples
    --------
    >>> import datetime
    >>> encode(datetime.date(2024, 1, 1))
    {'type': 'date', 'value': '2024-01-01'}
    """
    if isinstance(value, Mapping):
        found = {key: encode(item) for key, item in value.items()}
        return {"type": "mapping", "value": found} if set(found) == _TAGGED else found
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"type": "float", "value": str(value)}
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    for kind, (name, write) in _ENCODE.items():
        if isinstance(value, kind):
            return {"type": name, "value": write(value)}
    raise NotPortableError(
        f"a value of type {type(value).__name__} has no document form",
        hint="Use text, a number, a boolean, a date, a time, a Decimal, a UUID or bytes",
    )


def decode(value: Any) -> Any:
    """The inverse of :func:`encode`.

    Raises
    ------
    PlanError
        If a tagged value names an unknown type or does not parse as it.
    """
    if isinstance(value, Mapping):
        if set(value) != _TAGGED:
            return FrozenDict({key: decode(item) for key, item in value.items()})
        read = _DECODE.get(str(value["type"]))
        if read is None:
            raise PlanError(
                f"unknown value type {value['type']!r}",
                hint=did_you_mean(str(value["type"]), _DECODE, what="types"),
            )
        try:
            return read(value["value"])
        except (ValueError, TypeError, ArithmeticError) as error:
            raise PlanError(f"a parameter is not a valid {value['type']}") from error
    if isinstance(value, (list, tuple)):
        return tuple(decode(item) for item in value)
    return value


def thawed(value: Any) -> Any:
    """Lists and dicts as Python has them, in place of a plan's frozen ones."""
    if isinstance(value, dict):
        return {key: thawed(item) for key, item in value.items()}
    return [thawed(item) for item in value] if isinstance(value, tuple) else value


def encode_each(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a mapping encoded; its own names may be ``type`` and ``value``."""
    return {name: encode(value) for name, value in values.items()}


def decode_each(values: Mapping[str, Any]) -> FrozenDict[str, Any]:
    """The values of a mapping decoded; its own names may be ``type`` and ``value``."""
    return FrozenDict({name: decode(value) for name, value in values.items()})


def _plain(value: Any) -> Any:
    """A NumPy number as Python's own; what has no document form is refused here, before anything runs."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()
    encode(value)
    return value


Parameters = Annotated[
    dict[str, Any],
    BeforeValidator(lambda given: _plain(given) if isinstance(given, Mapping) else given),
    AfterValidator(decode_each),
    PlainSerializer(encode_each),
]
Names = Annotated[dict[str, str], AfterValidator(freeze)]
