"""Which rows of a source each run reads: those that no load of the plan has seen."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from datapipe.errors import PlanError
from datapipe.plan.base import Text, Value
from datapipe.plan.values import decode, encode

_UNITS = {"week": 604_800, "day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
_SHORT = {"w": "week", "d": "day", "h": "hour", "min": "minute", "m": "minute", "s": "second"}
_PART = re.compile(rf"(\d+(?:\.\d{{1,6}})?)\s*({'|'.join(_UNITS)}|{'|'.join(_SHORT)})s?(?![a-z])", re.I)
_SPAN = re.compile(rf"\s*{_PART.pattern}(?:\s*,?\s*{_PART.pattern})*\s*", re.I)
_LAG_HINT = "Write a time, such as '1 hour' or '2 days', or a number for a cursor that is one"
_PLAIN = (str, int, Decimal, dt.date)  # dt.datetime is a date
Span = dt.timedelta | int | Decimal


def span(text: str) -> dt.timedelta:
    """A length of time as people write it.

    Raises
    ------
    PlanError
        If it is none.

    Examples
    --------
    >>> span("1 day 2 hours"), span("1.5 seconds")
    (datetime.timedelta(days=1, seconds=7200), datetime.timedelta(seconds=1, microseconds=500000))
    """
    if not _SPAN.fullmatch(text):
        raise PlanError(f"{text!r} is no length of time", hint="Write it as '1 hour', '90 minutes' or '1 day 2 hours'")
    parts = [(Decimal(number), unit.lower()) for number, unit in _PART.findall(text)]
    seconds = sum(number * _UNITS[_SHORT.get(unit, unit)] for number, unit in parts)
    return dt.timedelta(microseconds=int(seconds * 1_000_000))


def _lag_of(given: Any) -> Any:
    if given is None or isinstance(given, bool | float):
        if given is None:
            return None
        raise PlanError(f"lag={given!r} is no lag", hint=_LAG_HINT)
    if isinstance(given, str) and re.fullmatch(r"\d+(\.\d+)?", given):
        given = Decimal(given) if "." in given else int(given)
    found = span(given) if isinstance(given, str) else given
    if not isinstance(found, Span) or (found.total_seconds() if isinstance(found, dt.timedelta) else found) < 0:
        raise PlanError(f"lag={given!r} is no lag", hint=_LAG_HINT)
    return found


def _lag_text(lag: Span | None) -> str | int | None:
    if isinstance(lag, dt.timedelta):
        seconds = Decimal(lag // dt.timedelta(microseconds=1)) / 1_000_000
        unit, size = next((name, size) for name, size in _UNITS.items() if not seconds % size or size == 1)
        count = (seconds / size).normalize()
        return f"{count:f} {unit}{'s' * (count != 1)}"
    return str(lag) if isinstance(lag, Decimal) else lag


def _bound_of(given: Any) -> Any:
    found = decode(given)
    listed = found if isinstance(found, tuple) else (found,)
    if found is not None and not all(isinstance(each, _PLAIN) and not isinstance(each, bool) for each in listed):
        hint = "Give a date, a timestamp, a whole number, a Decimal or text; one for each column of the cursor"
        raise PlanError("a bound of the cursor has no order that datapipe knows", hint=hint)
    return found


def _checked(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or len(set(names)) < len(names):
        raise PlanError("the cursor names a column twice, or none", hint="Name each once: incremental='updated_at'")
    return names


Bound = Annotated[
    Any,
    BeforeValidator(_bound_of),
    PlainSerializer(encode),
    WithJsonSchema({"description": "a value of the cursor, or a list of them"}),
]
Lag = Annotated[
    Any,
    BeforeValidator(_lag_of),
    PlainSerializer(_lag_text),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}], "description": _LAG_HINT}),
]
Cursor = Annotated[
    tuple[Text, ...],
    BeforeValidator(lambda given: (given,) if isinstance(given, str) else given),
    AfterValidator(_checked),
]


def _only_new(given: Any) -> Any:
    if given is None or isinstance(given, bool):
        return bool(given)
    hint = "Write incremental=True (incremental: true), without lag, start, until and nulls: each file is loaded once"
    raise PlanError("files have no cursor", step="ingestion", hint=hint)


OnlyNew = Annotated[bool, BeforeValidator(_only_new)]  # whether files that were loaded before are left out


class Incremental(Value):
    """The cursor of a source, and what is read beyond the watermark.

    Parameters
    ----------
    cursor : tuple of str
        The columns whose values only grow as rows are added or changed, the first the most significant.
    lag : datetime.timedelta, int or Decimal, optional
        How far before the watermark rows are read again, for those that came late. Those seen before are left out.
    start : value or tuple of values, optional
        Where the first load begins, itself included.
    until : value or tuple of values, optional
        Where reading ends, itself not included.
    nulls : {"error", "skip", "always"}
        What is done with rows whose cursor is NULL: refuse them, leave them out, or look at them in each run.
    watermark : bool
        Whether loads begin at a watermark and leave one; those of a slice do not, which has both ends.
    """

    cursor: Cursor
    lag: Lag = None
    start: Bound = None
    until: Bound = None
    nulls: Literal["error", "skip", "always"] = "error"
    watermark: bool = True

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        if isinstance(data, bool):
            hint = "Name the column whose values grow: incremental='updated_at'. A folder of files is 'inbox/'"
            raise PlanError(f"incremental={data} is for files", step="ingestion", hint=hint)
        return {"cursor": data} if isinstance(data, str | Sequence) and not isinstance(data, Mapping) else data

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, bound in (("start", self.start), ("until", self.until)):
            if bound is not None and len(_values(bound)) != len(self.cursor):
                columns = ", ".join(self.cursor)
                raise PlanError(f"{name} has another number of values than the cursor ({columns}) has columns")
        if not self.watermark and (self.start is None or self.until is None):
            hint = "Give start and until, or leave watermark out"
            raise PlanError("what has no watermark is a slice, which has two ends", hint=hint)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        names = [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
        return {"anyOf": [*names, handler(core)]}

    @model_serializer(mode="wrap")
    def _short(self, write: Any) -> Any:
        found = {name: value for name, value in write(self).items() if value is not None}
        for name, usual in (("nulls", "error"), ("watermark", True)):
            if found.get(name) == usual:
                del found[name]
        cursor = list(self.cursor) if len(self.cursor) > 1 else self.cursor[0]
        return cursor if set(found) == {"cursor"} else {**found, "cursor": cursor}


def _values(bound: Any) -> tuple[Any, ...]:
    return bound if isinstance(bound, tuple) else (bound,)
