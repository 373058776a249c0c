"""The databases that are written to, each looked at with its own client."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import psycopg
import pyarrow as pa
import pymysql
import pytest

from datapipe.data.stream import Stream, Workspace, scratch_directory
from datapipe.persistence import Loaded, write
from datapipe.plan import TableTarget, build

KINDS = ("postgresql", "mysql", "sqlite", "duckdb")
# For what other code decides than the database's own: CI asks a server and a file, and all are asked by hand.
on_two = pytest.mark.parametrize(
    "sink",
    [pytest.param(kind, marks=() if kind in {"postgresql", "sqlite"} else pytest.mark.soak) for kind in KINDS],
    indirect=True,
)

_COLUMNS = {
    "postgresql": """SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
                     WHERE a.attrelid = {text}::regclass AND a.attnum > 0 ORDER BY a.attnum""",
    "mysql": """SELECT column_name, column_type FROM information_schema.columns
                WHERE table_schema = DATABASE() AND table_name = {text} ORDER BY ordinal_position""",
    "sqlite": "SELECT name, type FROM pragma_table_info({text})",
    "duckdb": "SELECT column_name, column_type FROM (DESCRIBE {name})",
}
_KEYS = {
    "postgresql": """SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid
                     WHERE i.indrelid = {text}::regclass AND i.indisprimary AND a.attnum = ANY(i.indkey) ORDER BY 1""",
    "mysql": """SELECT column_name FROM information_schema.statistics
                WHERE table_schema = DATABASE() AND table_name = {text} AND index_name = 'PRIMARY' ORDER BY 1""",
    "sqlite": "SELECT name FROM pragma_table_info({text}) WHERE pk > 0 ORDER BY 1",
    "duckdb": """SELECT unnest(constraint_column_names) FROM duckdb_constraints()
                 WHERE constraint_type = 'PRIMARY KEY' AND table_name = {text} ORDER BY 1""",
}
_MYSQL = {
    "VARCHAR": "VARCHAR(100)",
    "TIMESTAMP": "DATETIME(6)",
    "TIMESTAMPTZ": "TIMESTAMP(6) NULL",
    "REAL": "FLOAT",
    "DOUBLE PRECISION": "DOUBLE",
}


@dataclass(frozen=True)
class Sink:
    """One database."""

    kind: str
    url: str

    def write(self, data: pa.Table | Stream, table: str = "t", **options: Any) -> Loaded:
        """Write in one run, as the engine does."""
        stream = data if isinstance(data, Stream) else streamed(data)
        target = build(TableTarget, {"table_name": table, "dest_db_url": self.url, **options})
        with scratch_directory() as scratch:
            return write(target, stream, Workspace(scratch=scratch))

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements with the database's own client; the rows of the last one."""
        if self.kind == "postgresql":
            with psycopg.connect(self.url, autocommit=True) as conn:
                for statement in statements:
                    cursor = conn.execute(statement.encode())
                return cursor.fetchall() if cursor.description else []
        if self.kind == "mysql":
            return mysql_rows(self.url, *statements)
        connect = sqlite3.connect if self.kind == "sqlite" else duckdb.connect
        conn = connect(self.path)
        try:
            for statement in statements:
                rows = conn.execute(statement).fetchall()
            conn.commit()
            return rows
        finally:
            conn.close()

    @property
    def schema(self) -> str:
        """The schema a table is in that names none."""
        return {"postgresql": "public", "mysql": urlsplit(self.url).path[1:]}.get(self.kind, "main")

    def declared(self, type_: str) -> str:
        """The database's own word for a type of standard SQL."""
        return _MYSQL.get(type_, type_) if self.kind == "mysql" else type_

    @property
    def path(self) -> Path:
        """The database's file."""
        return Path(self.url.partition(":///")[2])

    def rows(self, table: str = "t") -> list[tuple[Any, ...]]:
        """The table's rows in the order of their text, NULLs and all."""
        return sorted(self.sql(f'SELECT * FROM "{table}"'), key=repr)

    def columns(self, table: str = "t") -> dict[str, str]:
        """The catalogue's types."""
        return dict(self.sql(_COLUMNS[self.kind].format(**_both(self.kind, table))))

    def keys(self, table: str = "t") -> list[str]:
        """The catalogue's primary key."""
        return [name for (name,) in self.sql(_KEYS[self.kind].format(**_both(self.kind, table)))]

    def tables(self) -> list[str]:
        """Every table there is, temporary ones and internal ones included."""
        query = {
            "postgresql": """SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                             WHERE relkind = 'r' AND nspname NOT IN ('pg_catalog', 'information_schema')""",
            "mysql": "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
            "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
            "duckdb": "SELECT table_name FROM duckdb_tables()",
        }
        return sorted(name for (name,) in self.sql(query[self.kind]))


def mysql_rows(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements by PyMySQL with the quotes of standard SQL; the rows of the last one."""
    with mysql_connected(url) as conn, conn.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


def mysql_many(url: str, statement: str, rows: list[tuple[Any, ...]]) -> None:
    """Run a statement for many rows."""
    with mysql_connected(url) as conn, conn.cursor() as cursor:
        cursor.executemany(statement, rows)


def mysql_connected(url: str, **options: Any) -> Any:
    """A connection by PyMySQL, in autocommit, with the quotes of standard SQL and in UTC."""
    place = urlsplit(url)
    account = {"user": place.username, "password": place.password or "", "database": place.path[1:]}
    mode = "SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES,NO_BACKSLASH_ESCAPES'), time_zone = '+00:00'"
    return pymysql.connect(
        host=place.hostname, port=place.port or 3306, autocommit=True, init_command=mode, **account, **options
    )


def _both(kind: str, table: str) -> dict[str, str]:
    name = '"' + table.replace('"', '""') + '"'
    text = name if kind == "postgresql" else table
    return {"name": name, "text": "'" + text.replace("'", "''") + "'"}


def streamed(table: pa.Table, rows: int | None = None) -> Stream:
    """The table as a stream, in batches of so many rows."""
    return Stream(table.schema, iter(table.to_batches(max_chunksize=rows)), table.num_rows)


def failing(table: pa.Table, error: BaseException) -> Stream:
    """A stream that gives a table and then raises."""

    def batches() -> Iterator[pa.RecordBatch]:
        yield from table.to_batches(max_chunksize=2)
        raise error

    return Stream(table.schema, batches())


def table(**columns: Iterable[Any]) -> pa.Table:
    """An Arrow table; each column's type is found from its values."""
    return pa.table({name: pa.array(list(values)) for name, values in columns.items()})


def errors_at_once(work: Callable[[], object], threads: int = 3) -> list[Exception]:
    """What fails when several threads do something at the same time."""
    errors: list[Exception] = []

    def attempt() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  # looked at by the test
            errors.append(error)

    started = [threading.Thread(target=attempt) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return errors
