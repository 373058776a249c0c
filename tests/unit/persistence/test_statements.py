"""The SQL of a write, run on SQLite's own engine where its meaning matters."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from datapipe.persistence import statements
from datapipe.persistence.tables import Column, Table

STAGE = Table("stage")
COLUMNS = (Column("id", "INTEGER"), Column("name", "TEXT"), Column("at", "INTEGER"))
NO_CASTS = (None, None, None)


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with sqlite3.connect(":memory:") as conn:
        conn.execute(statements.create_stage(STAGE, COLUMNS))
        yield conn
    conn.close()


def staged(db: sqlite3.Connection, *rows: tuple[Any, ...]) -> None:
    db.executemany("INSERT INTO stage VALUES (?, ?, ?)", rows)


def test_a_table_has_its_keys_and_what_must_be() -> None:
    sql = statements.create_table(
        Table('odd "name', "s"), [Column("a b", "bigint", nullable=False), Column("c", "text")], ["a b"]
    )
    assert sql == 'CREATE TABLE "s"."odd ""name" (\n  "a b" bigint NOT NULL,\n  "c" text,\n  PRIMARY KEY ("a b")\n)'


def test_a_table_without_keys() -> None:
    assert statements.create_table(Table("t"), [Column("a", "text")], []) == 'CREATE TABLE "t" (\n  "a" text\n)'


def test_rows_are_deleted_not_truncated() -> None:
    assert statements.delete(Table("t")) == 'DELETE FROM "t"'


def test_merging_without_keys_only_inserts() -> None:
    (sql,) = statements.insert_from(Table("t"), COLUMNS, ("uuid", None, None), '"stage"', [])
    assert sql == (
        'INSERT INTO "t" ("id", "name", "at")\nSELECT CAST("id" AS uuid), "name", "at" FROM "stage" WHERE true'
    )


def test_merging_by_keys_updates_the_rest() -> None:
    (sql,) = statements.insert_from(Table("t"), COLUMNS, NO_CASTS, '"stage"', ["id"])
    assert sql.endswith('ON CONFLICT ("id") DO UPDATE SET "name" = EXCLUDED."name", "at" = EXCLUDED."at"')


def test_merging_of_nothing_but_keys_updates_nothing() -> None:
    (sql,) = statements.insert_from(Table("t"), COLUMNS[:1], (None,), '"stage"', ["id"])
    assert sql.endswith('ON CONFLICT ("id") DO NOTHING')


def rows(db: sqlite3.Connection, latest: str | None) -> list[tuple[Any, ...]]:
    source = statements.stage_rows(STAGE, COLUMNS, NO_CASTS, ["id"], latest)
    return sorted(db.execute(f"SELECT * FROM {source}").fetchall())


def test_equal_rows_are_one(db: sqlite3.Connection) -> None:
    staged(db, (1, "a", 1), (1, "a", 1), (1, "b", 1), (2, None, 5), (2, None, 5))
    assert len(rows(db, None)) == 3


def test_the_latest_row_of_each_key_stays_and_null_is_the_oldest(db: sqlite3.Connection) -> None:
    staged(db, (1, "a", 1), (1, "b", 2), (1, "b", 2), (2, "c", None), (2, "d", -5), (3, "e", None))
    assert rows(db, "at") == [(1, "b", 2), (2, "d", -5), (3, "e", None)]


def test_ties_stay_so_that_they_are_seen(db: sqlite3.Connection) -> None:
    staged(db, (1, "a", 2), (1, "b", 2))
    source = statements.stage_rows(STAGE, COLUMNS, NO_CASTS, ["id"], "at")
    assert db.execute(statements.clashing_keys(source, COLUMNS, NO_CASTS, ["id"])).fetchone() == (1,)


def test_repeated_keys_are_found(db: sqlite3.Connection) -> None:
    query = statements.repeated_keys(STAGE, COLUMNS, NO_CASTS, ["id"])
    staged(db, (1, "a", 1), (2, "a", 1))
    assert db.execute(query).fetchone() is None
    staged(db, (2, "a", 1))
    assert db.execute(query).fetchone() is not None


def test_keys_are_compared_as_what_they_are_cast_to(db: sqlite3.Connection) -> None:
    conn = db
    conn.execute("CREATE TEMPORARY TABLE texts (id text, name text)")
    conn.executemany("INSERT INTO texts VALUES (?, ?)", [("1", "a"), ("01", "b")])
    columns, casts = (Column("id", "INTEGER"), Column("name", "TEXT")), ("INTEGER", None)
    source = statements.stage_rows(Table("texts"), columns, casts, ["id"], None)
    assert conn.execute(statements.clashing_keys(source, columns, casts, ["id"])).fetchone() == (1,)
