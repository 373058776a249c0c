"""Pandera's built-in checks over Arrow arrays: the same verdicts, at the speed of a kernel, exact for decimals."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
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


def _pattern(start: str) -> _Check:
    def look(values: pa.Array, given: Mapping[str, Any]) -> pa.Array:
        pattern = given["pattern"]
        compiled = re.compile(pattern)
        try:
            return pc.match_substring_regex(values, f"{start}(?:{compiled.pattern})")
        except pa.ArrowException:  # what only Python's expressions know, such as a look ahead
            search = compiled.match if start else compiled.search
            return pa.array([None if text is None else bool(search(text)) for text in values.to_pylist()], pa.bool_())

    return look


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
