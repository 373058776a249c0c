"""The statements that alter a table, as text."""

from __future__ import annotations

import sqlite3

import pytest

from datapipe.errors import SchemaError
from datapipe.persistence import mysqlalter, pgalter, sqlitealter
from datapipe.persistence.tables import Table
from datapipe.schemas import SchemaChange

T = Table("t", "s")


def widened(before: str, after: str, column: str = "n") -> SchemaChange:
    return SchemaChange("widened", column, before, after)


def added(column: str, type_: str) -> SchemaChange:
    return SchemaChange("added", column, None, type_)


def renamed(old: str, new: str) -> SchemaChange:
    return SchemaChange("renamed", old, old, new)


# --- PostgreSQL -----------------------------------------------------------------------------------------------


def test_postgresql_alters_everything_but_names_in_one_statement() -> None:
    found = pgalter.alter(T, [renamed("a", "b"), widened("integer", "bigint", "b"), added("c", "text")])
    assert [ddl.sql for ddl in found] == [
        'ALTER TABLE "s"."t" RENAME COLUMN "a" TO "b"',
        'ALTER TABLE "s"."t" ALTER COLUMN "b" TYPE bigint, ADD COLUMN "c" text',
    ]
    assert [ddl.cost.rpartition(", ")[2] for ddl in found] == ["no rewrite", "rewrites the table and its indexes"]


@pytest.mark.parametrize(
    ("before", "after", "rewrites"),
    [
        ("numeric(5,2)", "numeric(9,2)", False),
        ("numeric(5,2)", "numeric", False),
        ("numeric(5,2)", "numeric(9,3)", True),
        ("integer", "numeric(12,2)", True),
        ("character varying(5)", "varchar(9)", False),
        ("character varying(5)", "text", False),
        ("real", "double precision", True),
    ],
)
def test_postgresql_says_what_is_rewritten(before: str, after: str, rewrites: bool) -> None:
    (found,) = pgalter.alter(T, [widened(before, after)])
    assert ("rewrites the table" in found.cost) == rewrites


# --- MySQL ----------------------------------------------------------------------------------------------------

DEFINITION = '''CREATE TABLE "t" (
  "n" int(10) unsigned NOT NULL DEFAULT 5 COMMENT 'int(3), or so',
  "n ""odd""" varchar(20) CHARACTER SET latin1 DEFAULT 'x',
  PRIMARY KEY ("n")
)'''


def test_mysql_alters_everything_in_one_statement() -> None:
    changes = [renamed("n", "m"), renamed("x", "y"), widened("int unsigned", "bigint", "m"), added("c", "longtext")]
    (found,) = mysqlalter.alter(T, changes, DEFINITION)
    assert found.sql == (
        'ALTER TABLE "s"."t" RENAME COLUMN "x" TO "y", '
        """CHANGE COLUMN "n" "m" bigint NOT NULL DEFAULT 5 COMMENT 'int(3), or so', ADD COLUMN "c" longtext"""
    )
    assert found.cost == "commits before the rows come; copies the table, writers wait"


def test_mysql_finds_columns_of_any_name() -> None:
    (found,) = mysqlalter.alter(T, [widened("varchar(20)", "varchar(30)", 'n "odd"')], DEFINITION)
    assert "varchar(30) CHARACTER SET latin1 DEFAULT 'x'" in found.sql
    assert "not copied" in found.cost
    with pytest.raises(SchemaError, match="'gone'"):
        mysqlalter.alter(T, [widened("int", "bigint", "gone")], DEFINITION)


# --- SQLite ---------------------------------------------------------------------------------------------------

COLUMNS = [
    '"a" INT',
    "a INT NOT NULL",
    "[a] DECIMAL(5, 2) DEFAULT 1",
    "`a` UNSIGNED BIG INT CHECK (a > 0)",
    "'a' VARCHAR ( 3 ) COLLATE NOCASE",
    "A",
    "a /* int, text */ INT -- a, b\n REFERENCES p (id)",
    "a INT GENERATED ALWAYS AS (b + 1)",
    "a INT CONSTRAINT some UNIQUE",
]


ODD = ('"a a" INT DEFAULT (1 + (2))', "\"x, a y\" TEXT DEFAULT 'a, '' a b'")


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("others", [("b INT", "c INT"), ODD])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_type_is_changed_in_a_table_s_text(column: str, others: tuple[str, str], place: int) -> None:
    lines = [*others]
    lines.insert(place, column)
    lines += ["b INT"] * ("b INT" not in others)
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE p (id INTEGER PRIMARY KEY)")
    connection.execute(f'CREATE TABLE "a" ({", ".join(lines)})')
    (before,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'a'").fetchone()
    schema = connection.execute("PRAGMA table_xinfo(a)").fetchall()
    after = sqlitealter.retyped(before, "a", "DECIMAL TEXT(20,2)")
    connection.execute("DROP TABLE a")
    connection.execute(after)
    expected = [(*row[:2], "DECIMAL TEXT(20,2)", *row[3:]) if row[1] in "aA" else row for row in schema]
    assert connection.execute("PRAGMA table_xinfo(a)").fetchall() == expected
    connection.close()


def test_a_column_that_a_table_s_text_lacks_is_refused() -> None:
    with pytest.raises(SchemaError, match="'c'"):
        sqlitealter.retyped("CREATE TABLE c (a INT DEFAULT (c), b INT, CHECK (c > 1))", "c", "TEXT")
