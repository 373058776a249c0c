"""The databases of the harness, each looked at with its own client."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, ClassVar
from urllib.parse import urlsplit

import psycopg
import pymysql

KINDS = ("postgresql", "sqlite", "mysql")


class Database:
    """A connection in autocommit, beside those of the runs."""

    ledger: ClassVar[str] = "_datapipe_loads"
    internal: ClassVar[frozenset[str]] = frozenset({"_datapipe_loads"})  # the tables that datapipe keeps
    mark: ClassVar[str] = "%s"
    names: ClassVar[str]  # a query for every table, those of other sessions included
    others: ClassVar[str]  # a query for the number of other connections

    def __init__(self, url: str, connection: Any) -> None:
        self.url, self._connection = url, connection

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement; its rows, if it has any."""
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall()) if cursor.description else []

    def insert(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows, in one transaction."""
        marks = ", ".join([self.mark] * len(rows[0]))
        self.query("BEGIN")
        with closing(self._connection.cursor()) as cursor:
            cursor.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        self.query("COMMIT")

    def tables(self) -> set[str]:
        """The names of all tables, temporary ones included."""
        return {name for (name,) in self.query(self.names)}

    def is_free(self) -> bool:
        """Whether no other connection is there; its locks end with it."""
        return self.query(self.others) == [(0,)]


class Postgresql(Database):
    """PostgreSQL."""

    ledger = "_datapipe.loads"
    internal = frozenset({"loads"})
    names = """SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE relkind = 'r' AND nspname NOT IN ('pg_catalog', 'information_schema')"""
    others = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""


class Mysql(Database):
    """MariaDB or MySQL."""

    internal = frozenset({"_datapipe_loads", "_datapipe_locks"})
    names = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
    others = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"


class Sqlite(Database):
    """SQLite, where a lock is all that a connection leaves to be seen."""

    mark = "?"
    names = "SELECT name FROM sqlite_master WHERE type = 'table'"

    def is_free(self) -> bool:
        with suppress(sqlite3.OperationalError):
            self.query("BEGIN IMMEDIATE")
            self.query("ROLLBACK")
            return True
        return False


@contextmanager
def open_database(kind: str, url: str) -> Iterator[Database]:
    """A connection of the harness's own."""
    if kind == "postgresql":
        with psycopg.connect(url, autocommit=True) as connection:
            yield Postgresql(url, connection)
    elif kind == "sqlite":
        with closing(sqlite3.connect(url.partition(":///")[2], isolation_level=None)) as connection:
            yield Sqlite(url, connection)
    else:
        parts = urlsplit(url)
        login = {"user": parts.username, "password": parts.password or "", "database": parts.path[1:]}
        connection = pymysql.connect(host=parts.hostname, port=parts.port or 3306, autocommit=True, **login)
        with connection:
            yield Mysql(url, connection)
