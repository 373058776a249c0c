"""What a column type can hold, whatever database declares it; and which of two types holds the other."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import pyarrow as pa

from datapipe.data.types import INTERVAL, TIMESTAMP, TIMESTAMPTZ, tagged

_DIGITS = 38  # of a decimal that Arrow carries


@dataclass(frozen=True)
class Kind:
    """The values of a type.

    Parameters
    ----------
    family : str
        ``integer``, ``decimal``, ``float``, ``text``, ``boolean``, ``date``, ``time``, ``timestamp``,
        ``timestamptz``, ``binary``, ``uuid``, ``json``, ``interval``; for any other type, its own name.
    low, high : int
        The range of an integer.
    precision, scale : int, optional
        The digits of a decimal, and how many of them are decimal places; None where any number of digits fits.
    length : int, optional
        The characters of a text, the bytes of binary data, the digits of a second's fraction; None where any fit.
    bits : int
        The size of a float.
    """

    family: str
    low: int = 0
    high: int = 0
    precision: int | None = None
    scale: int | None = None
    length: int | None = None
    bits: int = 0

    def field(self, name: str) -> pa.Field:
        """A field that carries such values; of a family without a carrier, a text of that type."""
        if self.family == "integer":
            return pa.field(name, next(t for low, high, t in _INTEGERS if low <= self.low and self.high <= high))
        if self.family == "decimal":
            if self.precision is None or self.precision > _DIGITS:
                return tagged(name, "numeric" if self.precision is None else f"numeric({self.precision},{self.scale})")
            return pa.field(name, pa.decimal128(self.precision, self.scale or 0))
        if self.family == "float":
            return pa.field(name, pa.float32() if self.bits == 32 else pa.float64())
        if self.family == "text" and self.length is not None:
            return tagged(name, f"varchar({self.length})")
        found = _CARRIERS.get(self.family)
        return pa.field(name, found) if found is not None else tagged(name, self.family)


def _integer(bits: int, *, unsigned: bool = False) -> Kind:
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return Kind("integer", low, high)


_INTEGERS: tuple[tuple[int, int, pa.DataType], ...] = tuple(
    (kind.low, kind.high, type_)
    for kind, type_ in (
        (_integer(8), pa.int8()),
        (_integer(16), pa.int16()),
        (_integer(32), pa.int32()),
        (_integer(64), pa.int64()),
        (_integer(64, unsigned=True), pa.uint64()),
    )
)
_CARRIERS: dict[str, pa.DataType] = {
    "text": pa.string(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": TIMESTAMP,
    "timestamptz": TIMESTAMPTZ,
    "binary": pa.binary(),
    "uuid": pa.uuid(),
    "interval": INTERVAL,
}
_BITS = {
    "tinyint": 8,
    "int1": 8,
    "smallint": 16,
    "int2": 16,
    "mediumint": 24,
    "integer": 32,
    "int": 32,
    "int4": 32,
    "bigint": 64,
    "int8": 64,
}
_UNSIGNED = {"utinyint": 8, "usmallint": 16, "uinteger": 32, "ubigint": 64}
_FLOATS = {"real": 32, "float4": 32, "float": 32, "double precision": 64, "double": 64, "float8": 64}
_WORDS = {
    "bool": "boolean",
    "boolean": "boolean",
    "date": "date",
    "time": "time",
    "time without time zone": "time",
    "timestamp": "timestamp",
    "timestamp without time zone": "timestamp",
    "datetime": "timestamp",
    "timestamptz": "timestamptz",
    "timestamp with time zone": "timestamptz",
    "bytea": "binary",
    "blob": "binary",
    "longblob": "binary",
    "varbinary": "binary",
    "uuid": "uuid",
    "uuid text": "uuid",
    "json": "json",
    "jsonb": "json",
    "json text": "json",
    "interval": "interval",
}
_TEXTS = {"text", "varchar", "character varying", "longtext", "clob", "name", "bpchar", "char", "character", "nvarchar"}
_MYSQL_LENGTHS = {"tinytext": 255, "mediumtext": 16_777_215, "tinyblob": 255}
_TYPE = re.compile(
    r"(?P<name>[a-z][a-z0-9_ ]*?)\s*(?:\(\s*(?P<a>\d+)\s*(?:,\s*(?P<b>\d+)\s*)?\))?(?P<rest> [a-z ]+)?\Z"
)


@functools.lru_cache(maxsize=1024)  # a load asks several times for each of its columns
def kind_of(declared: str) -> Kind:
    """The kind of a type in a database's words.

    Examples
    --------
    >>> kind_of("numeric(10,2)") == kind_of("DECIMAL(10, 2)"), kind_of("int unsigned").high, kind_of("point").family
    (True, 4294967295, 'point')
    """
    text = declared.strip().lower()
    match = _TYPE.match(text)
    if not match:
        return Kind(text)
    name, rest = match["name"], (match["rest"] or "").strip()
    first = int(match["a"]) if match["a"] else None
    second = int(match["b"]) if match["b"] else None
    whole = f"{name} {rest}".strip()
    number = _number(whole.removesuffix(" unsigned"), first, second, unsigned=whole.endswith(" unsigned"))
    return number or _other(whole, first) or Kind(text)


def _number(name: str, first: int | None, second: int | None, *, unsigned: bool) -> Kind | None:
    if name == "tinyint" and first == 1 and not unsigned:
        return Kind("boolean")  # as MySQL has it
    if name in _BITS:
        return _integer(_BITS[name], unsigned=unsigned)
    if name in _UNSIGNED:
        return _integer(_UNSIGNED[name], unsigned=True)
    if name in _FLOATS:
        return Kind("float", bits=_FLOATS[name])
    if name in {"numeric", "decimal", "decimal text", "numeric text"}:
        return Kind("decimal", precision=first, scale=None if first is None else second or 0)
    return None


def _other(name: str, first: int | None) -> Kind | None:
    if name in _TEXTS:
        return Kind("text", length=1 if name in {"char", "character"} and first is None else first)
    if name in _MYSQL_LENGTHS:
        return Kind("binary" if name.endswith("blob") else "text", length=_MYSQL_LENGTHS[name])
    family = _WORDS.get(name)
    if family is None:
        return None
    is_time = family.startswith("time")
    return Kind(family, length=(None if first == 6 else first) if is_time or family == "binary" else None)


def holds(outer: Kind, inner: Kind) -> bool:
    """Whether every value of ``inner`` is one of ``outer``, exactly.

    Examples
    --------
    >>> holds(kind_of("bigint"), kind_of("int")), holds(kind_of("numeric(5,2)"), kind_of("numeric(5,3)"))
    (True, False)
    """
    if inner.family == "integer" and outer.family in {"integer", "decimal", "float"}:
        if outer.family == "integer":
            return outer.low <= inner.low and inner.high <= outer.high
        limit = 2 ** (24 if outer.bits == 32 else 53) if outer.family == "float" else 10 ** _whole_digits(outer) - 1
        return -limit <= inner.low and inner.high <= limit
    if outer.family != inner.family:
        return False
    if outer.family == "decimal":
        if outer.precision is None or inner.precision is None:
            return outer.precision is None
        return _whole_digits(outer) >= _whole_digits(inner) and (outer.scale or 0) >= (inner.scale or 0)
    if outer.family == "float":
        return outer.bits >= inner.bits
    return outer.length is None or (inner.length is not None and inner.length <= outer.length)


def _whole_digits(kind: Kind) -> int:
    return 131_072 if kind.precision is None else kind.precision - (kind.scale or 0)


def joined(one: Kind, other: Kind) -> Kind | None:
    """The smallest kind that holds both; None if they are of different classes.

    Examples
    --------
    >>> joined(kind_of("numeric(10,2)"), kind_of("numeric(8,4)")) == kind_of("numeric(12,4)")
    True
    >>> joined(kind_of("text"), kind_of("int")) is None
    True
    """
    if holds(one, other):
        return one
    if holds(other, one):
        return other
    families = {one.family, other.family}
    if families == {"integer"}:
        low, high = min(one.low, other.low), max(one.high, other.high)
        fits = next((kind for kind in map(_integer, (8, 16, 32, 64)) if kind.low <= low and high <= kind.high), None)
        return fits or Kind("decimal", precision=20, scale=0)
    if families <= {"integer", "decimal"}:
        whole, scale = max(map(_digits_of, (one, other))), max(one.scale or 0, other.scale or 0)
        return Kind("decimal", precision=whole + scale, scale=scale) if whole + scale <= _DIGITS else Kind("decimal")
    return None


def _digits_of(kind: Kind) -> int:
    return len(str(max(-kind.low, kind.high))) if kind.family == "integer" else _whole_digits(kind)
