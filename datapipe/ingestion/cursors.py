"""The values of a cursor: which columns have an order, and how their values are compared, exactly."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from decimal import ROUND_FLOOR, Context, Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

from datapipe.data import compute as pc
from datapipe.data.names import find_name
from datapipe.data.types import describe, tag
from datapipe.data.watermark import Mark
from datapipe.errors import DataError, PlanError, did_you_mean
from datapipe.plan.incremental import Span

_KINDS = "a timestamp, date, whole number, decimal or text column"
_DAY = dt.timedelta(days=1)
_NUMERIC = pa.decimal256(76, 38)  # a numeric without precision, while it is compared
_WIDE = Context(prec=100)  # digits, more than any has


def cursor_fields(cursor: Sequence[str], schema: pa.Schema) -> list[pa.Field]:
    """The fields of a cursor among those of a source.

    Raises
    ------
    PlanError
        If one is not there, or its values have no order.
    """
    found = []
    for given in cursor:
        name = find_name(given, schema.names)
        if name is None:
            hint = did_you_mean(given, schema.names, what="columns")
            raise PlanError(f"incremental: there is no column {given!r}", hint=hint)
        field = schema.field(name)
        if not _has_order(field):
            able = [each.name for each in schema if _has_order(each)]
            hint = f"Use {', '.join(able[:5])}" if able else "There is none here, so leave incremental out"
            raise PlanError(f"incremental takes {_KINDS}, and {name!r} is {describe(field)}", column=name, hint=hint)
        found.append(field)
    return found


def _has_order(field: pa.Field) -> bool:
    t, known = field.type, tag(field)
    if known is not None:
        return _is_numeric(field) or known.startswith(("character", "varchar", "char", "text", "bpchar"))
    is_such = (pa.types.is_integer, pa.types.is_decimal, pa.types.is_date32, pa.types.is_timestamp, pa.types.is_string)
    return any(is_kind(t) for is_kind in is_such)


def _is_numeric(field: pa.Field) -> bool:
    known = tag(field) or ""
    return known.startswith("numeric") and not known.endswith("[]")


def comparable(values: pa.Array, field: pa.Field) -> pa.Array:
    """A column in a type whose values are compared as the database compares them.

    Raises
    ------
    DataError
        If a value has no place in their order, such as NaN.
    """
    if not _is_numeric(field):
        return values
    try:
        return values.cast(_NUMERIC)
    except pa.ArrowInvalid:
        problem = f"the cursor {field.name!r} has a value that is no number, or has more than 38 digits on a side"
        hint = "Use another cursor, or leave such rows out in the query"
        raise DataError(problem, column=field.name, hint=hint) from None


def mark_of(value: Any, field: pa.Field, what: str) -> Mark:
    """A value of the cursor in the column's own type.

    Raises
    ------
    PlanError
        If it is none.

    Examples
    --------
    >>> mark_of("2024-01-01", pa.field("at", pa.timestamp("us", "UTC")), "start")
    datetime.datetime(2024, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    try:
        found = _mark(value, field)
        if not _is_numeric(field):
            pa.scalar(found, field.type)  # whether the column could hold it
        return found
    except (ValueError, TypeError, OverflowError, InvalidOperation):  # pa.ArrowInvalid is a ValueError
        problem = f"{what}: {value!r} is no value of the cursor {field.name!r}"
        raise PlanError(problem, column=field.name, hint=f"Give one of its type, {describe(field)}") from None


def mark_values(
    cursor: Sequence[str], values: Sequence[Any], schema: pa.Schema
) -> tuple[tuple[str, ...], tuple[Mark, ...]]:
    """The columns of a cursor as the source spells them, and values for them in their own types.

    Raises
    ------
    PlanError
        If a column is not there, or a value is none of its.
    """
    fields = cursor_fields(cursor, schema)
    if len(values) != len(fields):
        names = ", ".join(each.name for each in fields)
        raise PlanError(f"there are {len(values)} values for the cursor ({names})", hint="Give one for each column")
    marks = tuple(mark_of(value, each, "the watermark") for value, each in zip(values, fields, strict=True))
    return tuple(each.name for each in fields), marks


def _mark(value: Any, field: pa.Field) -> Mark:
    t = field.type
    if pa.types.is_integer(t):
        if isinstance(value, dt.date) or int(value) != Decimal(value):
            raise ValueError
        return int(value)
    if pa.types.is_decimal(t) or _is_numeric(field):
        found = Decimal(value)
        if not found.is_finite():
            raise ValueError
        return found
    if pa.types.is_date32(t):
        if isinstance(value, dt.datetime):
            raise TypeError
        return value if isinstance(value, dt.date) else dt.date.fromisoformat(value)
    if pa.types.is_timestamp(t):
        return _moment(value, t.tz is not None)
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value.isoformat()  # a prefix of the texts of its times, however they go on
    if not isinstance(value, str):
        raise TypeError
    return value


def _moment(value: Any, zoned: bool) -> dt.datetime:
    """A day is its first moment; where no zone is given, it is UTC."""
    if isinstance(value, str):
        value = dt.datetime.fromisoformat(value)
    elif not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    if value.tzinfo is not None and not zoned:
        raise ValueError
    found: dt.datetime = value
    if not zoned:
        return found
    return found.astimezone(dt.UTC) if found.tzinfo else found.replace(tzinfo=dt.UTC)


def back(values: tuple[Mark, ...], lag: Span | None, field: pa.Field) -> tuple[Mark, ...]:
    """Where reading begins: the values, or the first of them less the lag, or the least that their column holds.

    Raises
    ------
    PlanError
        If a value of the column cannot be less by it.

    Examples
    --------
    >>> back((dt.date(2024, 1, 3), 7), dt.timedelta(days=2), pa.field("day", pa.date32()))
    (datetime.date(2024, 1, 1),)
    >>> id_ = pa.field("id", pa.uint32())
    >>> back((10,), 3, id_), back((10,), 30, id_), back((10, 7), None, id_)
    ((7,), (0,), (10, 7))
    """
    if lag is None:
        return values
    first: Any = values[0]
    is_time = isinstance(first, dt.date)
    if isinstance(first, str) or isinstance(lag, dt.timedelta) != is_time:
        hint = "Give a time for a cursor of times, a number for one of numbers, and none for text"
        raise PlanError(f"lag={lag} does not go with a cursor such as {first}", hint=hint)
    if isinstance(first, int) and isinstance(lag, Decimal):
        raise PlanError(f"lag={lag} is no whole number, as the cursor is", hint="Give a whole number")
    try:
        if isinstance(lag, dt.timedelta) and not isinstance(first, dt.datetime):
            lag = -(-lag // _DAY) * _DAY  # a part of a day is a day
        return (_held(first - lag, field.type),)
    except OverflowError:
        least = type(first).min
        return (least.replace(tzinfo=first.tzinfo) if isinstance(first, dt.datetime) else least,)


def _held(value: Mark, type_: pa.DataType) -> Mark:
    """The greatest value of a type that is not above this one; the least there is, if that is below them all."""
    if isinstance(value, int) and pa.types.is_integer(type_):
        return max(value, 0 if pa.types.is_unsigned_integer(type_) else -(1 << type_.bit_width - 1))
    if isinstance(value, Decimal) and pa.types.is_decimal(type_):
        least = Decimal(1 - 10**type_.precision).scaleb(-type_.scale, _WIDE)
        return max(value.quantize(Decimal(1).scaleb(-type_.scale), ROUND_FLOOR, _WIDE), least)
    return value


def at_least(
    cursor: Sequence[pa.Array], values: Sequence[Mark], fields: Sequence[pa.Field], *, strict: bool = False
) -> pa.Array:
    """Which rows are at a mark or beyond it, or only beyond it if ``strict``; column by column, as words in a list."""
    found: pa.Array | None = None
    for place in reversed(range(len(values))):
        column = cursor[place]
        value = pa.scalar(values[place], _NUMERIC if _is_numeric(fields[place]) else column.type)
        if found is None:
            found = pc.greater(column, value) if strict else pc.greater_equal(column, value)
        else:
            found = pc.or_kleene(pc.greater(column, value), pc.and_kleene(pc.equal(column, value), found))
    return found


def greatest(cursor: Sequence[pa.Array], fields: Sequence[pa.Field]) -> tuple[Mark, ...] | None:
    """The greatest mark of all rows; None if there is none without NULL.

    Raises
    ------
    DataError
        If it is a time beyond the year 9999.
    """
    there = functools.reduce(pc.and_, [values.is_valid() for values in cursor])
    columns = [values.filter(there) for values in cursor]
    found: list[Mark] = []
    for place, field in enumerate(fields):
        if not len(columns[place]):
            return None
        top = pc.max(columns[place])
        try:
            found.append(_mark(top.as_py(), field))
        except (ValueError, OverflowError):
            problem = f"the cursor {field.name!r} has a value beyond the year 9999"
            hint = "Such a row would hide all that come after it: correct it, or leave it out in the query"
            raise DataError(problem, column=field.name, hint=hint) from None
        columns = [values.filter(pc.equal(columns[place], top)) for values in columns]
    return tuple(found)
