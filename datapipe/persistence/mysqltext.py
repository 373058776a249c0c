"""Arrow columns as MySQL reads them: text that INSERT and LOAD DATA both take, with every value checked.

The server changes some values without an error: it pads, rounds, cuts blanks, takes a number for the place of a
member. What it would change is refused here, with the row.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from datapipe.data import compute as pc
from datapipe.data.casting import cast_column
from datapipe.data.layouts import hex_text, uuid_text
from datapipe.errors import DataError

_DECLARED = re.compile(r"(?P<name>\w+)(?:\((?P<size>[^)']*)\))?(?P<unsigned>.* unsigned)?")
_MEMBER = re.compile(r"'((?:[^']|'')*)'")
_WIDTHS = {
    "tinyint": (pa.int8(), pa.uint8()),
    "smallint": (pa.int16(), pa.uint16()),
    "mediumint": (pa.int32(), pa.uint32()),
    "int": (pa.int32(), pa.uint32()),
    "bigint": (pa.int64(), pa.uint64()),
}
_TYPES = {
    "date": pa.date32(),
    "time": pa.time64("us"),
    "datetime": pa.timestamp("us"),
    "timestamp": pa.timestamp("us", "UTC"),
    "year": pa.int16(),
    "uuid": pa.uuid(),
    **dict.fromkeys(("tinyblob", "blob", "mediumblob", "longblob", "binary", "varbinary"), pa.binary()),
    **dict.fromkeys(("tinytext", "text", "mediumtext", "longtext", "char", "varchar", "json"), pa.string()),
    **dict.fromkeys(("enum", "set", "inet4", "inet6"), pa.string()),
}
Encode = Callable[[pa.Array, str, int], pa.Array]
Refuse = Callable[[pa.Array], pa.Array]  # which values the server would change


@dataclass(frozen=True)
class Declared:
    """A column type as the catalogue spells it, in its parts."""

    name: str
    size: str = ""
    unsigned: bool = False
    text: str = ""

    @classmethod
    def of(cls, text: str) -> Declared:
        match = _DECLARED.match(text.lower())
        if match is None:
            return cls(text, text=text)
        return cls(match["name"], match["size"] or "", bool(match["unsigned"]), text)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers in its brackets."""
        return tuple(int(part) for part in self.size.split(",") if part.strip().isdigit())


def sent_type(declared: str, given: pa.DataType) -> pa.DataType | None:
    """The Arrow type whose text the column takes exactly; None if there is none.

    Examples
    --------
    >>> sent_type("decimal(10,2)", pa.float64()), sent_type("int(11) unsigned", pa.int64())
    (Decimal128Type(decimal128(10, 2)), DataType(uint32))
    """
    found = Declared.of(declared)
    if found.name in _WIDTHS:
        return pa.bool_() if pa.types.is_boolean(given) else _WIDTHS[found.name][found.unsigned]
    if found.name == "decimal":
        digits, places = found.numbers or (10, 0)
        return pa.decimal128(digits, places) if digits <= 38 else pa.string()
    if found.name in {"float", "double"} and not found.size:
        return pa.float32() if found.name == "float" else pa.float64()
    if found.name == "year" and found.numbers == (2,):
        return None  # 2024 would become 24
    if found.name == "bit":
        return pa.bool_() if pa.types.is_boolean(given) and found.numbers == (1,) else pa.string()
    return _TYPES.get(found.name)


def encoder(declared: str, sent: pa.DataType) -> Encode:
    """How a column's values, in the type they are sent in, become text; a NULL is the word NULL.

    Raises (when called)
    --------------------
    DataError
        Naming the first row whose value the server would change.

    Examples
    --------
    >>> encode = encoder("enum('a','b')", pa.string())
    >>> encode(pa.array(["b", None]), "kind", 1).to_pylist()
    ["'b'", 'NULL']

    The server would take a number for the place of a member:

    >>> encode(pa.array(["1"]), "kind", 7)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    datapipe.errors.DataError: column 'kind', row 7: the value does not fit enum('a','b') exactly. ...
    """
    found = Declared.of(declared)
    write, refuse = _writer(found, sent), _refusal(found, sent)

    def encode(values: pa.Array, name: str, first_row: int) -> pa.Array:
        if refuse is not None:
            wrong = pc.fill_null(refuse(values), False)
            if pc.any(wrong).as_py():
                row = first_row + wrong.index(True).as_py()
                odd = " (MySQL has no NaN, no infinity and no -0)" if pa.types.is_floating(sent) else ""
                shown = declared.partition(" collate ")[0].removesuffix(" null")
                message = f"column {name!r}, row {row}: the value does not fit {shown} exactly{odd}"
                raise DataError(message, column=name, row=row, hint="Convert it in a .sql() step")
        return pc.fill_null(write(values, name, first_row), "NULL")

    return encode


def is_hex(declared: str) -> bool:
    """Whether a column's values are sent as hexadecimal digits."""
    return bool(_TYPES.get(Declared.of(declared).name) == pa.binary())


def is_bits(declared: str) -> bool:
    """Whether a column's values are sent as numbers that stand for bits."""
    return Declared.of(declared).name == "bit"


def _writer(declared: Declared, sent: pa.DataType) -> Encode:
    t = pa.types
    if declared.name == "bit" and t.is_string(sent):
        return lambda values, *_: pa.array([v and str(int(v, 2)) for v in values.to_pylist()], pa.string())
    if t.is_boolean(sent):
        return lambda values, *_: values.cast(pa.int8()).cast(pa.string())
    if t.is_binary(sent):
        return lambda values, *_: _quoted(hex_text(values))
    if sent == pa.uuid():
        return lambda values, *_: _quoted(uuid_text(values.storage))
    if t.is_timestamp(sent):
        return lambda values, *_: _quoted(pc.strftime(values.cast(pa.timestamp("us")), "%Y-%m-%d %H:%M:%S"))
    if t.is_string(sent):
        return lambda values, *_: _quoted(pc.replace_substring(values, "'", "''"))
    if declared.name == "year":  # '0' would be 2000
        return lambda values, *_: _quoted(pc.utf8_lpad(values.cast(pa.string()), 4, "0"))
    if t.is_floating(sent):  # a float's own digits may round to one that the server has not
        return lambda values, *_: _quoted(values.cast(pa.float64()).cast(pa.string()))
    # Numbers with a point are quoted too: as a literal, 1E-8 would be a double.
    mark = "" if t.is_integer(sent) else "'"
    return lambda values, name, row: _quoted(cast_column(values, pa.string(), column=name, first_row=row), mark)


def _quoted(texts: pa.Array, mark: str = "'") -> pa.Array:
    return pc.binary_join_element_wise(mark, texts, mark, "")


def _refusal(declared: Declared, sent: pa.DataType) -> Refuse | None:
    t, name, numbers = pa.types, declared.name, declared.numbers
    if t.is_floating(sent):
        return lambda values: pc.or_(pc.invert(pc.is_finite(values)), _is_negative_zero(values))
    if name == "decimal" and t.is_string(sent):
        digits, places = numbers
        exact = rf"^-?0*\d{{1,{digits - places}}}(\.\d{{0,{places}}}0*)?$"
        return lambda values: pc.invert(pc.match_substring_regex(values, exact))
    if name == "char":  # blanks at the end are no part of it
        return lambda values: pc.ends_with(values, pattern=" ")
    if name == "binary":
        return lambda values: pc.not_equal(pc.binary_length(values), numbers[0])
    if name == "bit" and t.is_string(sent):
        return lambda values: pc.invert(pc.match_substring_regex(values, rf"^[01]{{{numbers[0]}}}$"))
    if name == "year":
        return lambda values: pc.and_(pc.not_equal(values, 0), pc.or_(pc.less(values, 1901), pc.greater(values, 2155)))
    if name in {"enum", "set"}:
        return _members(declared)
    return _moments(sent, (*numbers, 0)[0])


def _members(declared: Declared) -> Refuse:
    members = [member.replace("''", "'") for member in _MEMBER.findall(declared.text)]

    def is_wrong(value: str) -> bool:
        if declared.name == "enum":
            return value not in members
        chosen = value.split(",") if value else []
        places = [members.index(part) if part in members else -1 for part in chosen]
        return -1 in places or places != sorted(set(places))

    def refuse(values: pa.Array) -> pa.Array:
        bad = [value for value in pc.unique(values).to_pylist() if value is not None and is_wrong(value)]
        return pc.is_in(values, pa.array(bad, pa.string()))

    return refuse


def _moments(sent: pa.DataType, places: int) -> Refuse | None:
    """Times finer than the column, and dates that MySQL has not."""
    t = pa.types
    unit = 10 ** (6 - places)
    if t.is_time(sent):
        return lambda values: pc.not_equal(_rest(values.view(pa.int64()), unit), 0)
    if not t.is_timestamp(sent) and not t.is_date(sent):
        return None

    def refuse(values: pa.Array) -> pa.Array:
        years = pc.year(values)
        outside = pc.or_(pc.less(years, 0), pc.greater(years, 9999))
        if t.is_date(sent):
            return outside
        return pc.or_(outside, pc.not_equal(_rest(values.view(pa.int64()), unit), 0))

    return refuse


def _rest(values: pa.Array, unit: int) -> pa.Array:
    return pc.subtract(values, pc.multiply(pc.divide(values, unit), unit))


def _is_negative_zero(values: pa.Array) -> pa.Array:
    return pc.and_(pc.equal(values, 0), pc.equal(values.cast(pa.string()), "-0"))
