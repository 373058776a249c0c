"""PostgreSQL's types: how a column of each is asked for and decoded, so that every value is exact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from datapipe.data import compute as pc
from datapipe.data.casting import cast_column
from datapipe.data.names import quote
from datapipe.data.types import INTERVAL, TIMESTAMP, TIMESTAMPTZ, tagged
from datapipe.errors import DataError

_NATIVE: dict[int, pa.DataType] = {
    16: pa.bool_(),
    17: pa.binary(),
    19: pa.string(),
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    25: pa.string(),
    700: pa.float32(),
    701: pa.float64(),
    1082: pa.date32(),
    1083: pa.time64("us"),
    1114: TIMESTAMP,
    1184: TIMESTAMPTZ,
    1186: INTERVAL,
    2950: pa.uuid(),
}
# One-dimensional arrays of these; ADBC would flatten more dimensions without a word.
_ARRAYS: dict[int, tuple[pa.DataType, str]] = {
    1000: (pa.bool_(), "bool[]"),
    1005: (pa.int16(), "int2[]"),
    1007: (pa.int32(), "int4[]"),
    1009: (pa.string(), "text[]"),
    1015: (pa.string(), "varchar[]"),
    1016: (pa.int64(), "int8[]"),
    1021: (pa.float32(), "float4[]"),
    1022: (pa.float64(), "float8[]"),
    1115: (TIMESTAMP, "timestamp[]"),
    1182: (pa.date32(), "date[]"),
    1185: (TIMESTAMPTZ, "timestamptz[]"),
}
_NUMERIC, _OID, _BPCHAR, _VARCHAR, _INTERVAL, _MONEY = 1700, 26, 1042, 1043, 1186, 790
_FIRST_USER_OID = 16384

Decode = Callable[[pa.Array, int], pa.Array]


@dataclass(frozen=True)
class Refusal:
    """Values that the server or its driver refuses without saying where: a condition on {0}, what is wrong, a cure."""

    condition: str
    problem: str
    cure: str


_AS_TEXT = "CAST({0} AS text)"
_NAN = Refusal("{0} = 'NaN'", "no other type of decimals has NaN", "NULLIF({0}, 'NaN')")
_SHAPED = Refusal(
    "array_ndims({0}) > 1 OR array_lower({0}, 1) <> 1",
    "the array has several dimensions, or does not begin at 1",
    _AS_TEXT,
)
_LONG = Refusal(
    "NOT isfinite({0}) OR abs(extract(hour FROM {0})) >= 2562047",
    "the interval has more than 292 years of hours",
    _AS_TEXT,
)
_INFINITE = ("the value is infinite, or beyond every other type", "CASE WHEN isfinite({0}) THEN {0} END")
_MIDNIGHT = ("no other type has a time of 24:00", _AS_TEXT)
# The values that are what Arrow shows. PostgreSQL's infinities arrive as times before its first day (4713 BC).
_WITHIN = {
    TIMESTAMP: (pa.int64(), -210_866_803_200_000_000, 2**63 - 1, _INFINITE),
    TIMESTAMPTZ: (pa.int64(), -210_866_803_200_000_000, 2**63 - 1, _INFINITE),
    pa.date32(): (pa.int32(), -2_451_000, 2**31 - 1, _INFINITE),
    pa.time64("us"): (pa.int64(), 0, 86_399_999_999, _MIDNIGHT),
}


@dataclass(frozen=True)
class Column:
    """How one result column is asked for and decoded."""

    field: pa.Field
    expression: str  # with {} for the column
    decode: Decode
    refusal: Refusal | None = None


def needs_declared(oid: int) -> bool:
    """Whether :func:`column_of` uses the declared name of a type."""
    return oid not in _NATIVE and oid not in _ARRAYS and oid < _FIRST_USER_OID


def refused(column: str, row: int, problem: str, cure: str) -> DataError:
    """The error for one value that has no counterpart; the cure is an expression for the query."""
    hint = f"Decide in the query, for example {cure}".replace("{0}", quote(column))
    return DataError(f"column {column!r}, row {row}: {problem}", column=column, row=row, hint=hint)


def column_of(name: str, oid: int, typmod: int, declared: str) -> Column:
    """The column for a type.

    Parameters
    ----------
    name : str
    oid, typmod : int
        The type, as the server describes a result.
    declared : str
        Its name, as ``format_type`` gives it; only used for types that Arrow lacks.
    """
    if oid in _NATIVE:
        return Column(
            pa.field(name, _NATIVE[oid]), "{}", _finite(name, _NATIVE[oid]), _LONG if oid == _INTERVAL else None
        )
    if oid in _ARRAYS:
        element, array = _ARRAYS[oid]
        # Nothing but a text that is no array makes the server stop here.
        shaped = f"CASE WHEN {_SHAPED.condition} THEN ('no list' || left({{0}}::text, 0))::{array} ELSE {{0}} END"
        return Column(pa.field(name, pa.list_(element)), shaped, _finite(name, pa.list_(element)), _SHAPED)
    if oid == _NUMERIC and typmod >= 4:
        return _numeric(name, typmod, declared)
    if oid == _NUMERIC:
        return Column(tagged(name, "numeric"), "{}::text", _as(name, pa.string()))
    if oid == _MONEY:  # its own text is in the words of the server's locale
        return Column(tagged(name, declared), "{}::numeric::text", _as(name, pa.string()))
    if oid == _OID:
        return Column(pa.field(name, pa.int64()), "{}::int8", _as(name, pa.int64()))
    if oid in {_BPCHAR, _VARCHAR}:
        short = declared.replace("character varying", "varchar").replace("character", "char")
        field = pa.field(name, pa.string()) if short == "varchar" else tagged(name, short)
        return Column(field, "{}", _as(name, pa.string()))
    if oid < _FIRST_USER_OID:
        return Column(tagged(name, declared), "{}::text", _as(name, pa.string()))
    return Column(pa.field(name, pa.string()), "{}::text", _as(name, pa.string()))


def _numeric(name: str, typmod: int, declared: str) -> Column:
    precision = ((typmod - 4) >> 16) & 0xFFFF
    scale = (((typmod - 4) & 0x7FF) ^ 0x400) - 0x400
    if scale < 0:
        precision, scale = precision - scale, 0
    if precision > 38 or scale > precision:
        return Column(tagged(name, declared), "{}::text", _as(name, pa.string()))
    type_ = pa.decimal128(precision, scale)
    if precision > 18:
        return Column(pa.field(name, type_), "{}::text", _as(name, type_))
    # As a whole number of units it needs no text on the way, and is as exact.
    expression = "({} * " + str(10**scale) + ")::int8" if scale else "{}::int8"
    return Column(pa.field(name, type_), expression, lambda values, _: _from_units(values, type_), _NAN)


def _from_units(values: pa.Array, type_: pa.DataType) -> pa.Array:
    wide = values.cast(pa.decimal128(19, 0))
    return pa.Array.from_buffers(type_, len(wide), wide.buffers(), wide.null_count, wide.offset)


def _as(name: str, type_: pa.DataType) -> Decode:
    def decode(values: pa.Array, first_row: int) -> pa.Array:
        return cast_column(values, type_, column=name, first_row=first_row)

    return decode


def _finite(name: str, type_: pa.DataType) -> Decode:
    """Refuse what PostgreSQL calls infinity and 24:00, alone or in a list: Arrow would show some other time."""
    is_list = pa.types.is_list(type_)
    element = type_.value_type if is_list else type_
    if element not in _WITHIN:
        return _as(name, type_)
    number, first, last, (problem, cure) = _WITHIN[element]

    def decode(values: pa.Array, first_row: int) -> pa.Array:
        numbers = (values.flatten() if is_list else values).view(number)
        ends = pc.min_max(numbers).as_py()  # a comparison with a number of Python's would load pandas
        if ends["min"] is not None and not first <= ends["min"] <= ends["max"] <= last:
            wrong = pc.or_(pc.less(numbers, first), pc.greater(numbers, last))
            index = pc.index(wrong, True).as_py()
            row = pc.list_parent_indices(values)[index].as_py() if is_list else index
            raise refused(name, first_row + row, problem, _AS_TEXT if is_list else cure)
        return cast_column(values, type_, column=name, first_row=first_row)

    return decode
