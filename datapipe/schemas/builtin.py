"""Pandera's built-in checks over Arrow arrays: the same verdicts, at the speed of a kernel, exact for decimals."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

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
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise PlanError(
            f"the check {spec.label} does not go with {values.type} values",
            hint="Give arguments of the column's own type",
        ) from error


def scalar(value: Any, type_: pa.DataType) -> pa.Scalar:
    """An argument in the type of the values, or in the nearest one that holds it exactly."""
    if isinstance(value, str) and not pa.types.is_string(type_):
        return _moment(value, type_) if pa.types.is_temporal(type_) else pa.scalar(value).cast(type_)
    if isinstance(value, dt.datetime) and pa.types.is_timestamp(type_):
        zoned = value if value.tzinfo or not type_.tz else value.replace(tzinfo=dt.UTC)
        return pa.scalar(zoned if type_.tz else zoned.replace(tzinfo=None), type_)
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        value = float(value) if pa.types.is_floating(type_) else Decimal(value)
    found = pa.scalar(value)
    if pa.types.is_integer(found.type) and pa.types.is_floating(type_):
        return pa.scalar(float(value), type_)
    if pa.types.is_floating(found.type) and pa.types.is_decimal(type_):
        return pa.scalar(str(value)).cast(pa.decimal128(38, min(20, max(type_.scale, _places(value)))))
    return found


def _places(value: float) -> int:
    return len(format(value, "f").rstrip("0").partition(".")[2])


def _moment(text: str, type_: pa.DataType) -> pa.Scalar:
    if pa.types.is_timestamp(type_):
        return scalar(dt.datetime.fromisoformat(text), type_)
    if pa.types.is_time(type_):
        return pa.scalar(dt.time.fromisoformat(text), type_)
    return pa.scalar(text).cast(type_)


def _compare(compare: Callable[[pa.Array, pa.Scalar], pa.Array]) -> _Check:
    return lambda values, given: compare(values, scalar(next(iter(given.values())), values.type))


def _in_range(values: pa.Array, given: Mapping[str, Any]) -> pa.Array:
    low, high = (scalar(given[name], values.type) for name in ("min_value", "max_value"))
    above = (pc.greater_equal if given["include_min"] else pc.greater)(values, low)
    return pc.and_kleene(above, (pc.less_equal if given["include_max"] else pc.less)(values, high))


def _isin(values: pa.Array, given: Mapping[str, Any]) -> pa.Array:
    items = next(iter(given.values()))
    # A value that the column's type cannot hold is in no row of it.
    found = pa.array([held for item in items if (held := _held(item, values.type)) is not None], values.type)
    if pa.types.is_floating(values.type):  # 0.0 and -0.0 are one number
        found, values = pc.add(found, pa.scalar(0.0, values.type)), pc.add(values, pa.scalar(0.0, values.type))
    return pc.if_else(pc.is_null(values), pa.scalar(None, pa.bool_()), pc.is_in(values, value_set=found))


def _held(item: Any, type_: pa.DataType) -> Any:
    try:
        return scalar(item, type_).cast(type_).as_py()
    except pa.ArrowException:
        return None


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
    "notin": lambda values, given: pc.invert(_isin(values, given)),
    "str_matches": _pattern(r"\A"),
    "str_contains": _pattern(""),
    "str_startswith": lambda values, given: pc.starts_with(values, given["string"]),
    "str_endswith": lambda values, given: pc.ends_with(values, given["string"]),
    "str_length": _length,
}
