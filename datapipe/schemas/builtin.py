"""Pandera's built-in checks over Arrow arrays: the same verdicts, at the speed of a kernel, exact for decimals."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any

import pyarrow as pa

from datapipe.data import compute as pc
from datapipe.errors import PlanError
from datapipe.plan.contract import BUILT_IN, CheckSpec

_Check = Callable[[pa.Array, Mapping[str, Any]], pa.Array]


def passing(spec: CheckSpec, values: pa.Array) -> pa.Array:
    """Which values a built-in check passes; NULL for NULL.

    Raises
    ------
    PlanError
        If the check cannot look at such values.

    Examples
    --------
    >>> passing(CheckSpec.model_validate({"in_range": [0, 5]}), pa.array([5, 6, None])).to_pylist()
    [True, False, None]
    """
    given = {**BUILT_IN[str(spec.check)], **spec.arguments}
    try:
        return _CHECKS[str(spec.check)](values, given)
    except (pa.ArrowException, TypeError, ValueError, ArithmeticError) as error:
        raise PlanError(
            f"the check {spec.label} does not go with {values.type} values",
            hint="Give arguments of the column's own type",
        ) from error


def held(value: Any, type_: pa.DataType) -> pa.Scalar | None:
    """An argument in the type of the values; None if the type cannot hold it exactly, so that no value equals it."""
    if _is_number(value, type_):
        below, is_exact = _below(value, _wide(type_))
        return below if is_exact else None
    try:
        return _scalar(value, type_).cast(type_)
    except pa.ArrowException:
        return None


def _scalar(value: Any, type_: pa.DataType) -> pa.Scalar:
    if isinstance(value, str) and not pa.types.is_string(type_):
        return _moment(value, type_) if pa.types.is_temporal(type_) else pa.scalar(value).cast(type_)
    if isinstance(value, dt.datetime) and pa.types.is_timestamp(type_):
        zoned = value if value.tzinfo or not type_.tz else value.replace(tzinfo=dt.UTC)
        return pa.scalar(zoned if type_.tz else zoned.replace(tzinfo=None), type_)
    return pa.scalar(value)


def _moment(text: str, type_: pa.DataType) -> pa.Scalar:
    if pa.types.is_timestamp(type_):
        return _scalar(dt.datetime.fromisoformat(text), type_)
    if pa.types.is_time(type_):
        return pa.scalar(dt.time.fromisoformat(text), type_)
    return pa.scalar(text).cast(type_)


def _is_number(value: Any, type_: pa.DataType) -> bool:
    """Whether an argument is compared as a number."""
    t = pa.types
    is_column = t.is_integer(type_) or t.is_floating(type_) or t.is_decimal(type_)
    return is_column and isinstance(value, (int, float, Decimal, str)) and not isinstance(value, bool)


def _wide(type_: pa.DataType) -> pa.DataType:
    return pa.float64() if pa.types.is_floating(type_) else type_


def _below(value: float | Decimal | str, type_: pa.DataType) -> tuple[pa.Scalar | None, bool]:
    """The greatest value of a type that is not above a number, if there is one; and whether it is that number."""
    if pa.types.is_floating(type_):
        value = float(value) if isinstance(value, str) else value
        nearest = _float(value)
        below = nearest if nearest <= value else math.nextafter(nearest, -math.inf)
        return pa.scalar(below, type_), below == value
    is_decimal = pa.types.is_decimal(type_)
    # A float stands for the shortest decimal that reads back as it, where the values are decimals.
    number = Decimal(repr(value) if is_decimal and isinstance(value, float) else value)
    low, high = _range(type_)
    if number < low:
        return None, False
    unit = Decimal(1).scaleb(-type_.scale if is_decimal else 0)
    found = high if number > high else number.quantize(unit, ROUND_FLOOR, Context(prec=80))
    return pa.scalar(found if is_decimal else int(found), type_), found == number


def _float(value: float | Decimal) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _range(type_: pa.DataType) -> tuple[Decimal, Decimal]:
    """The least and the greatest number of an exact type."""
    if pa.types.is_decimal(type_):
        high = Decimal((0, (9,) * type_.precision, -type_.scale))
        return high.copy_negate(), high
    bits = type_.bit_width
    signed = pa.types.is_signed_integer(type_)
    return Decimal(-(2 ** (bits - 1)) if signed else 0), Decimal(2 ** (bits - 1 if signed else bits) - 1)


def _compared(values: pa.Array, compare: Any, argument: Any) -> pa.Array:
    """``compare(values, argument)``, exact for any two numbers."""
    if not _is_number(argument, values.type):
        return compare(values, _scalar(argument, values.type))
    values = values.cast(_wide(values.type))
    below, is_exact = _below(argument, values.type)
    if is_exact:
        return compare(values, below)
    # The argument lies between two values of the type, or beyond them all.
    if below is None or compare in (pc.equal, pc.not_equal):
        verdict = compare in (pc.not_equal, pc.greater, pc.greater_equal)
        return pc.if_else(pc.is_null(values), pa.scalar(None, pa.bool_()), verdict)
    return (pc.greater if compare in (pc.greater, pc.greater_equal) else pc.less_equal)(values, below)


def _compare(compare: Any) -> _Check:
    return lambda values, given: _compared(values, compare, next(iter(given.values())))


def _in_range(values: pa.Array, given: Mapping[str, Any]) -> pa.Array:
    above = _compared(values, pc.greater_equal if given["include_min"] else pc.greater, given["min_value"])
    below = _compared(values, pc.less_equal if given["include_max"] else pc.less, given["max_value"])
    return pc.and_kleene(above, below)


def _isin(values: pa.Array, given: Mapping[str, Any]) -> pa.Array:
    values = values.cast(_wide(values.type))
    found = pa.array(
        [item.as_py() for value in next(iter(given.values())) if (item := held(value, values.type)) is not None],
        values.type,
    )
    if pa.types.is_floating(values.type):  # 0.0 and -0.0 are one number
        found, values = pc.add(found, pa.scalar(0.0)), pc.add(values, pa.scalar(0.0))
    return pc.if_else(pc.is_null(values), pa.scalar(None, pa.bool_()), pc.is_in(values, value_set=found))


def _length(values: pa.Array, given: Mapping[str, Any]) -> pa.Array:
    exact = given["exact_value"]
    low, high = (exact, exact) if exact is not None else (given["min_value"], given["max_value"])
    length = pc.utf8_length(values)
    fits = pc.if_else(pc.is_null(values), pa.scalar(None, pa.bool_()), True)
    fits = fits if low is None else pc.and_kleene(fits, pc.greater_equal(length, low))
    return fits if high is None else pc.and_kleene(fits, pc.less_equal(length, high))


# What Python's expressions read otherwise than Arrow's: anywhere, and in texts that are not plain ASCII.
_OTHERWISE = re.compile(r"\(\?(?!:)|\{,|\[:|\\[0-9Z]")
_OF_CHARACTERS = re.compile(r"\\[dDwWsSbB]|\$")


def _pattern(start: str) -> _Check:
    def look(values: pa.Array, given: Mapping[str, Any]) -> pa.Array:
        pattern = given["pattern"]
        compiled = re.compile(pattern)
        search = compiled.match if start else compiled.search
        if not _OTHERWISE.search(pattern):
            try:
                fast = pc.match_substring_regex(values, f"{start}(?:{pattern})")
            except pa.ArrowException:
                return _searched(search, values)
            if not _OF_CHARACTERS.search(pattern):
                return fast
            odd = pc.match_substring_regex(values, r"[^\x01-\x09\x0c-\x1b\x20-\x7f]")
            if not pc.any(odd).as_py():
                return fast
            return pc.replace_with_mask(fast, pc.fill_null(odd, False), _searched(search, values.filter(odd)))
        return _searched(search, values)

    return look


def _searched(search: Callable[[str], object], values: pa.Array) -> pa.Array:
    return pa.array([None if text is None else search(text) is not None for text in values.to_pylist()], pa.bool_())


_CHECKS: dict[str, _Check] = {
    "equal_to": _compare(pc.equal),
    "not_equal_to": _compare(pc.not_equal),
    "greater_than": _compare(pc.greater),
    "greater_than_or_equal_to": _compare(pc.greater_equal),
    "less_than": _compare(pc.less),
    "less_than_or_equal_to": _compare(pc.less_equal),
    "in_range": _in_range,
    "isin": _isin,
    "unique_values_eq": _isin,  # whether the values may be there; that each one is, only the whole column shows
    "notin": lambda values, given: pc.invert(_isin(values, given)),
    "str_matches": _pattern(r"\A"),
    "str_contains": _pattern(""),
    "str_startswith": lambda values, given: pc.starts_with(values, given["string"]),
    "str_endswith": lambda values, given: pc.ends_with(values, given["string"]),
    "str_length": _length,
}
