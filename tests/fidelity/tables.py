"""Tables of any columns with any values, as the text their database reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

Texts = st.SearchStrategy[str]


@dataclass(frozen=True)
class Source:
    """Columns c0, c1, … by their declared types, and rows of text or values; None is NULL."""

    types: list[str]
    rows: list[list[Any]]


def edged(low: int, high: int) -> st.SearchStrategy[int]:
    """Whole numbers, the outermost ones often."""
    return st.sampled_from([low, high, 0, -1, 1]).filter(lambda n: low <= n <= high) | st.integers(low, high)


ANY_TEXT = st.sampled_from(
    ["", "NULL", "\\N", "nan", " ", "a\tb", "a\r", "\u2028", "'\"\\", "e\u0301", "007", "1e5"]
) | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
# A year of four digits, before and after it, and what PostgreSQL calls infinity.
FAR = st.sampled_from(["infinity", "-infinity", "0044-03-15 BC", "12000-01-01", "0001-01-01", "9999-12-31"])
DAYS = FAR | st.dates().map(str)
MOMENTS = (
    FAR | st.datetimes().map(str) | st.sampled_from(["1969-12-31 23:59:59.999999", "294276-12-31 23:59:59.999999"])
)
CLOCKS = st.just("24:00:00") | st.times().map(str)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(ANY_TEXT, inner, max_size=2),
    max_leaves=4,
).map(json.dumps) | st.sampled_from(['{"b":1.10,  "b":2}', "12345678901234567890.10"])


def units(precision: int, scale: int) -> Texts:
    """Decimals of a precision and scale."""
    return edged(1 - 10**precision, 10**precision - 1).map(lambda n: f"{n}e{-scale}")


def floats(width: int) -> Texts:
    """Floating numbers, the not so finite ones too."""
    return st.floats(width=width).map(repr)


SCALARS: dict[str, Texts] = {
    "boolean": st.sampled_from(["true", "false"]),
    "smallint": edged(-(2**15), 2**15 - 1).map(str),
    "integer": edged(-(2**31), 2**31 - 1).map(str),
    "bigint": edged(-(2**63), 2**63 - 1).map(str),
    "real": floats(32),
    "double precision": floats(64),
    "numeric": st.sampled_from(["NaN", "Infinity", "1.10"]) | units(30, 9) | units(60, 40) | units(5, -30),
    "text": ANY_TEXT,
    "date": DAYS,
    "time": CLOCKS,
    "timestamp": MOMENTS,
    "timestamptz": MOMENTS,
    "interval": st.tuples(edged(-9999, 9999), edged(-9999, 9999), edged(-(2**62), 2**62)).map(
        lambda parts: "{} mon {} day {} microseconds".format(*parts)
    ),
    "uuid": st.uuids().map(str),
    "inet": st.ip_addresses().map(str),
    "jsonb": JSON.filter(lambda text: "\\u0000" not in text),
}
OTHERS: dict[str, Texts] = {
    "bytea": st.binary(max_size=5).map(lambda value: "\\x" + value.hex()),
    "varchar(4)": ANY_TEXT.map(lambda text: text[:4]),
    "char(4)": ANY_TEXT.map(lambda text: text[:4]),
    "timetz": CLOCKS.map(lambda text: text + "+05:30"),
    "timestamp(2)": MOMENTS,
    "timestamptz(0)": MOMENTS,
    "json": JSON,
    "bit(3)": st.text("01", min_size=3, max_size=3),
    "money": edged(-(2**63), 2**63 - 1)
    .map(lambda cents: f"{cents // 100}.{cents % 100:02}")
    .filter(lambda text: "-" not in text),
    "int4range": st.sampled_from(["empty", "[1,5)", "(,5)"]),
}


def literal(items: list[str | None]) -> str:
    """An array, as PostgreSQL reads it."""
    written = ["NULL" if item is None else '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items]
    return "{" + ",".join(written) + "}"


def arrays(items: Texts) -> Texts:
    """Arrays of such items; a few have two dimensions."""
    flat = st.lists(st.none() | items, max_size=3).map(literal)
    return flat | flat | flat | flat.filter(lambda text: text != "{}").map(lambda text: "{" + text + "}")


@st.composite
def declared(draw: st.DrawFn) -> tuple[str, Texts]:
    """A type of PostgreSQL and its values."""
    form = draw(st.sampled_from(["scalar", "scalar", "numeric", "array", "other"]))
    if form == "numeric":
        precision = draw(st.integers(1, 45))
        scale = draw(st.integers(0, precision))
        values = units(precision, scale)
        return f"numeric({precision},{scale})", st.just("NaN") | values if draw(st.booleans()) else values
    choices = OTHERS if form == "other" else SCALARS
    name = draw(st.sampled_from(sorted(choices)))
    return (f"{name}[]", arrays(choices[name])) if form == "array" else (name, choices[name])


@st.composite
def postgresql_tables(draw: st.DrawFn) -> Source:
    """A table of PostgreSQL."""
    chosen = draw(st.lists(declared(), min_size=1, max_size=4))
    rows = st.lists(st.tuples(*(st.none() | values for _, values in chosen)).map(list), min_size=1, max_size=5)
    return Source([name for name, _ in chosen], draw(rows))


LITE_NUMBERS = edged(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
LITE_TIMES = (
    st.dates().map(str)
    | st.datetimes().map(str)
    | st.datetimes().map(lambda moment: f"{moment.isoformat()}+02:00")
    | st.times().map(str)
    | st.sampled_from(["2024-02-30", "0000-00-00", "24:00:00", "2024-01-01T10:00Z"])
)
LITE_TEXTS = ANY_TEXT | LITE_NUMBERS.map(str) | st.sampled_from(["1.10", "1" * 30 + ".5", "NaN", "a\0b"])
LITE_TYPES: dict[str, st.SearchStrategy[Any]] = {
    "INTEGER": edged(-(2**63), 2**63 - 1),
    "BOOLEAN": st.sampled_from([0, 1]),
    "REAL": LITE_NUMBERS,
    "DECIMAL(9,2)": st.integers(-(10**9), 10**9).map(lambda cents: cents / 100),
    "DECIMAL(30,3)": LITE_NUMBERS,
    "NUMERIC": LITE_NUMBERS,
    "DECIMAL TEXT": st.sampled_from(["NaN", "1.10"]) | units(30, 9),
    "TEXT": LITE_TEXTS,
    "BLOB": st.binary(max_size=5),
    "": LITE_NUMBERS | LITE_TEXTS,
    "DATE": LITE_TIMES,
    "DATETIME": LITE_TIMES,
    "TIMESTAMPTZ": LITE_TIMES,
    "TIME": LITE_TIMES,
    "UUID TEXT": st.uuids().map(str),
    "JSON TEXT": JSON,
}
LITE_ANY = LITE_NUMBERS | LITE_TEXTS | LITE_TIMES | st.binary(max_size=5)


@st.composite
def sqlite_tables(draw: st.DrawFn) -> Source:
    """A table of SQLite, in which some columns hold what their type does not say."""
    types = draw(st.lists(st.sampled_from(sorted(LITE_TYPES)), min_size=1, max_size=4))
    values = [LITE_ANY if draw(st.integers(0, 9)) == 0 else LITE_TYPES[name] for name in types]
    rows = st.lists(st.tuples(*(st.none() | value for value in values)).map(list), min_size=1, max_size=5)
    return Source(types, draw(rows))
