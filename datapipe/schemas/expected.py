"""The types a contract names: kinds of values in Python's words, sizes in pandas' or a database's."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa

from datapipe.data.types import TIMESTAMP, TIMESTAMPTZ, describe
from datapipe.errors import PlanError, did_you_mean
from datapipe.schemas.kinds import Kind, holds, kind_of

_INTEGER = Kind("integer", -(2**63), 2**63 - 1)
# Words for any size of a kind: the families they take, and what values are converted to.
_ANY: dict[str, tuple[tuple[str, ...], pa.DataType]] = {
    "int": (("integer",), pa.int64()),
    "integer": (("integer",), pa.int64()),
    "int64": (("integer",), pa.int64()),
    "float": (("float",), pa.float64()),
    "float64": (("float",), pa.float64()),
    "decimal": (("decimal",), pa.decimal128(38, 9)),
    "numeric": (("decimal",), pa.decimal128(38, 9)),
    "number": (("integer", "float", "decimal"), pa.float64()),
    "str": (("text",), pa.string()),
    "string": (("text",), pa.string()),
    "text": (("text",), pa.string()),
    "object": (("text",), pa.string()),
    "category": (("text",), pa.string()),
    "bool": (("boolean",), pa.bool_()),
    "boolean": (("boolean",), pa.bool_()),
    "datetime": (("timestamp", "timestamptz"), TIMESTAMP),
    "datetime64": (("timestamp", "timestamptz"), TIMESTAMP),
    "timestamp": (("timestamp", "timestamptz"), TIMESTAMP),
    "timestamptz": (("timestamptz",), TIMESTAMPTZ),
    "date": (("date",), pa.date32()),
    "time": (("time",), pa.time64("us")),
    "timedelta64": (("interval",), pa.month_day_nano_interval()),
    "interval": (("interval",), pa.month_day_nano_interval()),
    "bytes": (("binary",), pa.binary()),
    "binary": (("binary",), pa.binary()),
    "uuid": (("uuid",), pa.uuid()),
    "json": (("json",), pa.string()),
}
# pandas' and Arrow's words for a size, in a database's.
_SIZED = {
    "int8": "tinyint",
    "int16": "smallint",
    "int32": "integer",
    "uint8": "utinyint",
    "uint16": "usmallint",
    "uint32": "uinteger",
    "uint64": "ubigint",
    "float16": "real",
    "float32": "real",
    "double": "double",
}
_ARROW = re.compile(r"(?P<name>.+)\[pyarrow\]\Z")
_DECIMAL = re.compile(r"decimal(?:32|64|128|256)\((\d+), ?(-?\d+)\)\Z")
_MOMENT = re.compile(r"(?:datetime64|timestamp)\[(?:s|ms|us|ns)(?P<zone>, ?[^\]]+)?\]\Z")
_SQL = {"integer", "decimal", "float", "text", "timestamp", "timestamptz", "time", "binary"}


@dataclass(frozen=True)
class Expected:
    """The type a contract names.

    Parameters
    ----------
    families : tuple of str
        The kinds of values.
    kind : Kind, optional
        Their size, if the contract names one.
    arrow : pyarrow.DataType
        What values are converted to.
    """

    families: tuple[str, ...]
    kind: Kind | None
    arrow: pa.DataType

    def takes(self, field: pa.Field) -> bool:
        """Whether a field is of the type."""
        found = kind_of(describe(field))
        if self.kind is not None:
            return found.family in self.families and holds(self.kind, found)
        # What a database has beyond the usual, such as inet, travels as text.
        return found.family in self.families or (self.families == ("text",) and _is_other_text(field, found))


def _is_other_text(field: pa.Field, found: Kind) -> bool:
    return pa.types.is_string(field.type) and found.family not in {f for families, _ in _ANY.values() for f in families}


def expected(word: str) -> Expected:
    """The type a word stands for.

    Raises
    ------
    PlanError
        If it stands for none.

    Examples
    --------
    >>> expected("int").takes(pa.field("id", pa.int32())), expected("int16").takes(pa.field("id", pa.int32()))
    (True, False)
    """
    text = word.strip().lower()
    arrow = _ARROW.match(text)
    text = arrow["name"] if arrow else text
    moment, decimal = _MOMENT.match(text), _DECIMAL.match(text)
    if moment:
        text = "timestamptz" if moment["zone"] else "datetime64"
    if decimal:
        text = f"numeric({decimal[1]},{decimal[2]})"
    if text.startswith(("date32", "date64", "time32", "time64", "large_")):
        text = re.sub(r"large_|\d\d\[\w+\]", "", text)
    text = re.sub(r"^timedelta64\[\w+\]$", "timedelta64", text)
    if text in _ANY:
        families, target = _ANY[text]
        return Expected(families, None, target)
    kind = kind_of(_SIZED.get(text, text))
    if kind.family not in _SQL:
        raise PlanError(f"no type is called {word!r}", hint=did_you_mean(word, [*_ANY, *_SIZED], what="types"))
    if kind.family == "text":  # its length is a check of the values
        return Expected(("text",), None, pa.string())
    target = kind.field("").type
    return Expected((kind.family,), kind, pa.decimal128(38, 9) if pa.types.is_string(target) else target)
