"""From SQLite, where a type belongs to the value: the exact value arrives, or an error names the column and the row."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fidelity.roads import ROADS, Postgresql, Sqlite, stored

import datapipe
from datapipe.errors import DataError
from datapipe.pipeline import Pipeline

Road = Callable[[Pipeline], Pipeline]
LARGEST, BIG = 2**63 - 1, 9007199254740993
UUID = "c0ffee00-0000-4000-8000-000000000001"


@dataclass(frozen=True)
class Case:
    """A declared type, SQL literals for its values, and what arrives."""

    declared: str
    literals: tuple[str, ...]
    type: str  # in PostgreSQL
    texts: tuple[str, ...]
    copied: str  # the declared type of a copy in SQLite
    stored: tuple[Any, ...]  # in that copy, which differs from the source in nothing but spelling
    framed: tuple[str, ...] | None = None  # where pandas gets a number without trailing zeros

    def __str__(self) -> str:
        return self.declared or "(none)"


CASES = (
    Case(
        "INTEGER",
        ("1", str(LARGEST), str(-LARGEST - 1), str(BIG)),
        "bigint",
        ("1", str(LARGEST), str(-LARGEST - 1), str(BIG)),
        "BIGINT",
        (1, LARGEST, -LARGEST - 1, BIG),
    ),
    # SQLite itself takes off leading zeros, and makes numbers of digits, before anyone reads.
    Case("INTEGER", ("'007'", "'1e5'", "1.0"), "bigint", ("7", "100000", "1"), "BIGINT", (7, 100000, 1)),
    Case("BIGINT UNSIGNED", (str(LARGEST),), "bigint", (str(LARGEST),), "BIGINT", (LARGEST,)),
    Case(
        "TEXT",
        ("'007'", "''", "'NULL'", "' 1 '", "'1.10'", "'2024-02-30'"),
        "text",
        ("007", "", "NULL", " 1 ", "1.10", "2024-02-30"),
        "TEXT",
        ("007", "", "NULL", " 1 ", "1.10", "2024-02-30"),
    ),
    Case(
        "VARCHAR(3)", ("'longer than declared'",), "text", ("longer than declared",), "TEXT", ("longer than declared",)
    ),
    Case("BLOB", ("x''", "x'00ff'"), "bytea", ("\\x", "\\x00ff"), "BLOB", (b"", b"\x00\xff")),
    Case("", ("1", str(BIG)), "bigint", ("1", str(BIG)), "BIGINT", (1, BIG)),
    Case("", ("'1'", "'1.0'"), "text", ("1", "1.0"), "TEXT", ("1", "1.0")),
    Case("", ("1.0", "2.5"), "double precision", ("1", "2.5"), "DOUBLE", (1.0, 2.5)),
    Case("", ("1", "2.5"), "double precision", ("1", "2.5"), "DOUBLE", (1.0, 2.5)),
    Case(
        "REAL",
        ("0.1", "5e-324", "9e999", "1"),
        "double precision",
        ("0.1", "5e-324", "Infinity", "1"),
        "DOUBLE",
        (0.1, 5e-324, float("inf"), 1.0),
    ),
    Case(
        "DECIMAL(9,2)", ("1.1", "7", "'1.10'"), "numeric(9,2)", ("1.10", "7.00", "1.10"), "DECIMAL(9,2)", (1.1, 7, 1.1)
    ),
    Case(
        "DECIMAL(30,3)",
        ("2.5", str(LARGEST)),
        "numeric(30,3)",
        ("2.500", f"{LARGEST}.000"),
        "DECIMAL TEXT(30,3)",
        ("2.500", f"{LARGEST}.000"),
    ),
    Case(
        "DECIMAL TEXT(30,3)",
        ("'12345678901234567890.123'",),
        "numeric(30,3)",
        ("12345678901234567890.123",),
        "DECIMAL TEXT(30,3)",
        ("12345678901234567890.123",),
    ),
    Case(
        "DECIMAL TEXT",
        ("'12345678901234567.50'",),
        "numeric",
        ("12345678901234567.50",),
        "DECIMAL TEXT",
        ("12345678901234567.50",),
        ("12345678901234567.5",),
    ),
    Case("NUMERIC", ("2.5", str(BIG)), "numeric", ("2.5", str(BIG)), "DECIMAL TEXT", ("2.5", str(BIG))),
    Case("BOOLEAN", ("true", "0"), "boolean", ("true", "false"), "BOOLEAN", (1, 0)),
    Case(
        "DATE",
        ("'2024-02-29'", "'0001-01-01'"),
        "date",
        ("2024-02-29", "0001-01-01"),
        "DATE",
        ("2024-02-29", "0001-01-01"),
    ),
    Case(
        "DATETIME",
        ("'2024-01-01 10:00'", "'2024-01-01T10:00:00.5'", "'2024-02-29'"),
        "timestamp without time zone",
        ("2024-01-01 10:00:00", "2024-01-01 10:00:00.5", "2024-02-29 00:00:00"),
        "TIMESTAMP",
        ("2024-01-01 10:00:00.000000", "2024-01-01 10:00:00.500000", "2024-02-29 00:00:00.000000"),
    ),
    Case(
        "TIMESTAMPTZ",
        ("'2024-01-01 10:00:00Z'", "'2024-01-01T10:00:00+02:00'"),
        "timestamp with time zone",
        ("2024-01-01 10:00:00+00", "2024-01-01 08:00:00+00"),
        "TIMESTAMPTZ",
        ("2024-01-01 10:00:00.000000+00:00", "2024-01-01 08:00:00.000000+00:00"),
    ),
    Case(
        "TIME",
        ("'10:00:00'", "'23:59:59.999999'"),
        "time without time zone",
        ("10:00:00", "23:59:59.999999"),
        "TIME",
        ("10:00:00.000000", "23:59:59.999999"),
    ),
    Case("UUID TEXT", (f"'{UUID}'", f"'{UUID.replace('-', '')}'"), "uuid", (UUID, UUID), "UUID TEXT", (UUID, UUID)),
    Case(
        "JSON TEXT",
        ('\'{"b":1.10, "b":12345678901234567890.10}\'', "'null'"),
        "json",
        ('{"b":1.10, "b":12345678901234567890.10}', "null"),
        "JSON TEXT",
        ('{"b":1.10, "b":12345678901234567890.10}', "null"),
    ),
)

# In row 2, after one that is right.
REFUSED = (
    ("INTEGER", "1", "'abc'"),
    ("INTEGER", "1", "2.5"),
    ("INTEGER", "1", "x'00ff'"),
    ("INTEGER", "1", "'12345678901234567890.123'"),
    ("REAL", "1", "'abc'"),
    ("TEXT", "'a'", "x'61'"),
    ("TEXT", "'a'", "CAST(x'ff' AS TEXT)"),
    ("BOOLEAN", "1", "7"),
    ("BOOLEAN", "1", "'t'"),
    ("NUMERIC", "1", "12345678901234567890.123"),
    ("DECIMAL(30,3)", "1", "'12345678901234567890.123'"),
    ("DECIMAL(9,2)", "1", "1.555"),
    ("DECIMAL(9,2)", "1", "'NaN'"),
    ("DECIMAL TEXT", "'1'", "'a'"),
    ("DATE", "'2024-02-29'", "'2024-02-30'"),
    ("DATE", "'2024-02-29'", "'0000-00-00'"),
    ("DATE", "'2024-02-29'", "'2024-1-1'"),
    ("DATE", "'2024-02-29'", "1704067200"),
    ("DATE", "'2024-02-29'", "2460000.5"),
    ("DATE", "'2024-02-29'", "'12000-01-01'"),
    ("DATETIME", "'2024-01-01 10:00:00'", "'2024-01-01 10:00:00Z'"),
    ("DATETIME", "'2024-01-01 10:00:00'", "'2024-01-01 10:00:00+02:00'"),
    ("DATETIME", "'2024-01-01 10:00:00'", "1704067200"),
    ("DATETIME", "'2024-01-01 10:00:00'", "'2024-01-01 10:00:00.1234567'"),
    ("TIMESTAMPTZ", "'2024-01-01 10:00:00Z'", "'2024-01-01 10:00:00'"),
    ("TIME", "'10:00:00'", "'24:00:00'"),
    ("UUID TEXT", f"'{UUID}'", "'c0ffee'"),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "source.db"


def filled(file: Path, declared: str, literals: tuple[str, ...]) -> Pipeline:
    """A table of the values in column v, and NULL at its end."""
    conn = sqlite3.connect(file, isolation_level=None)
    conn.execute(f"CREATE TABLE source (id INTEGER PRIMARY KEY, v {declared})")
    for literal in (*literals, "NULL"):
        conn.execute(f"INSERT INTO source (v) VALUES ({literal})")
    conn.close()
    return datapipe.read("source", source=f"sqlite:///{file}")


def ident(value: object) -> str:
    return getattr(value, "__name__", "") or str(value)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("road", ROADS, ids=ident)
def test_the_values_and_the_type_arrive(
    file: Path, postgresql: Postgresql, sqlite: Sqlite, case: Case, road: Road
) -> None:
    source = filled(file, case.declared, case.literals)
    postgresql.fresh("SET TimeZone TO 'UTC'")
    framed = case.framed if road.__name__ == "by_frame" else None
    road(source).write("target", to=postgresql.url).run()
    assert postgresql.texts() == [*(framed or case.texts), None]
    assert postgresql.type() == case.type
    road(source).write("target", to=sqlite.url).run()
    assert sqlite.values() == stored([*(framed or case.stored), None])
    assert sqlite.type() == case.copied


@pytest.mark.parametrize(("declared", "good", "bad"), REFUSED)
@pytest.mark.parametrize("road", ROADS, ids=ident)
def test_a_value_of_another_type_is_named_and_nothing_is_written(
    file: Path, sqlite: Sqlite, declared: str, good: str, bad: str, road: Road
) -> None:
    source = filled(file, declared, (good, bad))
    with pytest.raises(DataError, match="column 'v', row 2") as caught:
        road(source).write("target", to=sqlite.url).run()
    assert (caught.value.column, caught.value.row) == ("v", 2)
    assert caught.value.hint
    assert not sqlite.exists()


@pytest.mark.parametrize("literals", [("1", "'1'"), ("1.0", "'1.0'"), ("1", "x'01'")])
def test_a_column_without_a_type_that_holds_several_kinds_is_named_with_all_of_them(
    file: Path, literals: tuple[str, ...]
) -> None:
    source = filled(file, "", literals)
    with pytest.raises(
        DataError, match=r"'v' holds values of several kinds: (integer|real) in row 1, (text|blob) in row 2"
    ) as caught:
        source.collect()
    assert 'CAST("v" AS TEXT)' in str(caught.value.hint)
    text = datapipe.read("SELECT CAST(v AS TEXT) AS v FROM source WHERE id = 1", source=f"sqlite:///{file}")
    assert text.collect("arrow").column("v").to_pylist() == [literals[0]]


@pytest.mark.parametrize("text", ["'a' || char(0) || 'b'", "char(0)"])
def test_a_nul_character_stays_in_sqlite_and_is_named_before_postgresql(
    file: Path, postgresql: Postgresql, sqlite: Sqlite, text: str
) -> None:
    source = filled(file, "TEXT", ("'ok'", text))
    source.write("target", to=sqlite.url).run()
    assert sqlite.values()[1][1].count("\x00") == 1
    postgresql.fresh()
    with pytest.raises(DataError, match="column 'v', row 2"):
        source.write("target", to=postgresql.url).run()
    assert not postgresql.exists()


def test_a_computed_column_is_left_to_the_database(file: Path, sqlite: Sqlite) -> None:
    sqlite.conn.execute("CREATE TABLE target (id INTEGER, v INTEGER GENERATED ALWAYS AS (id * 2))")
    source = filled(file, "INTEGER", ("5",))
    with pytest.raises(DataError, match="column 'v' of target is generated always"):
        source.write("target", to=sqlite.url).run()
    source.sql("SELECT id FROM input_data WHERE id = 1").write("target", to=sqlite.url).run()
    assert sqlite.values() == [("integer", 2)]
