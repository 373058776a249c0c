"""The ways a value can take, and the databases at both ends, each looked at with its own client."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import psycopg

import datapipe
from datapipe.pipeline import Pipeline

CLASSES = {int: "integer", float: "real", str: "text", bytes: "blob", type(None): "null"}


def direct(source: Pipeline) -> Pipeline:
    """Nothing between the two databases."""
    return source


def by_sql(source: Pipeline) -> Pipeline:
    """Through DuckDB."""
    return source.sql("SELECT * FROM input_data")


def by_frame(source: Pipeline) -> Pipeline:
    """Through pandas."""
    return source.apply(lambda frame: frame)


def by_batches(source: Pipeline) -> Pipeline:
    """Through pandas, a few rows at a time."""
    return source.apply(lambda frame: frame, per_batch=True)


ROADS = (direct, by_sql, by_frame)


@dataclass(frozen=True)
class Postgresql:
    """A PostgreSQL database."""

    url: str
    conn: psycopg.Connection[Any] = field(repr=False)

    def run(self, *statements: str) -> None:
        """Run statements, which may have any characters in them."""
        for statement in statements:
            self.conn.execute(statement.encode())

    def fresh(self, *statements: str) -> None:
        """The same, when the tables of the test before are gone, and the ledger that knows who created them."""
        self.run("DROP TABLE IF EXISTS source, target", "DROP SCHEMA IF EXISTS _datapipe CASCADE", *statements)

    def texts(self, table: str = "target") -> list[str | None]:
        """What the server says the values of column v are, in the order of id."""
        return [text for (text,) in self.conn.execute(f"SELECT v::text FROM {table} ORDER BY id").fetchall()]

    def type(self, table: str = "target") -> str:
        """What the server says the type of column v is."""
        query = (
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'v'"
        )
        row = self.conn.execute(query, (table,)).fetchone()
        return str(row[0]) if row else ""

    def exists(self, table: str = "target") -> bool:
        """Whether there is such a table."""
        return self.conn.execute("SELECT to_regclass(%s)", (table,)).fetchone() != (None,)

    def read(self) -> Pipeline:
        """The source table."""
        return datapipe.read("source", source=self.url)


@dataclass(frozen=True)
class Sqlite:
    """A SQLite file."""

    url: str

    @cached_property
    def conn(self) -> sqlite3.Connection:
        """A connection of the test's own."""
        return sqlite3.connect(self.url.removeprefix("sqlite:///"), isolation_level=None)

    def values(self) -> list[tuple[str, Any]]:
        """Storage class and value of column v, in the order of id."""
        return self.conn.execute("SELECT typeof(v), v FROM target ORDER BY id").fetchall()

    def type(self) -> str:
        """The declared type of column v."""
        return str(self.conn.execute("SELECT type FROM pragma_table_info('target') WHERE name = 'v'").fetchone()[0])

    def exists(self) -> bool:
        """Whether the target table is there."""
        return bool(self.conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'target'").fetchall())


def stored(values: list[Any]) -> list[tuple[str, Any]]:
    """Values with the storage class they must have."""
    return [(CLASSES[type(value)], value) for value in values]
