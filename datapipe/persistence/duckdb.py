"""DuckDB files: rows from Arrow in one transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pyarrow as pa

from datapipe.data import duck
from datapipe.data.connections import to_url
from datapipe.data.duckerrors import FirstError
from datapipe.data.names import quote, quoted
from datapipe.data.stream import MIB, Workspace
from datapipe.data.types import duckdb_type, normal_field, tag
from datapipe.errors import DataError, DatapipeError, PlanError, TransientError
from datapipe.persistence import statements
from datapipe.persistence.duckalter import alter, check_dependents
from datapipe.persistence.filelocks import try_lock
from datapipe.persistence.session import Wire, Words
from datapipe.persistence.tables import Column, Ddl, Layout, Table, check_views
from datapipe.plan import DatabaseUrl
from datapipe.schemas import SchemaChange
from datapipe.schemas.kinds import Kind, kind_of

_BATCHES = "_datapipe_batches"
_HERE = (
    "lower(table_name) = lower($table) AND lower(schema_name) = lower($schema) AND database_name = current_database()"
)
_COLUMNS = f"""
SELECT column_name, data_type, is_nullable, column_default IS NOT NULL FROM duckdb_columns()
WHERE {_HERE} ORDER BY column_index"""
_UNIQUE = f"""
SELECT constraint_column_names FROM duckdb_constraints()
WHERE {_HERE} AND constraint_type IN ('PRIMARY KEY', 'UNIQUE')"""
# Columns of a key, a check or a foreign key cannot be retyped.
_HELD = f"""
SELECT constraint_column_names FROM duckdb_constraints() WHERE {_HERE} AND constraint_type <> 'NOT NULL'"""
_DEPENDENTS = f"""
SELECT 'index ' || index_name FROM duckdb_indexes() WHERE {_HERE}
UNION SELECT 'table ' || table_name FROM duckdb_constraints()
WHERE constraint_type = 'FOREIGN KEY' AND lower(referenced_table) = lower($table) AND $schema <> ''
UNION SELECT 'a generated column' FROM duckdb_tables() WHERE {_HERE} AND contains(sql, ' GENERATED ALWAYS ')"""
_INDEXES = f"SELECT CAST(expressions AS VARCHAR[]) FROM duckdb_indexes() WHERE {_HERE} AND is_unique"


@dataclass(frozen=True)
class DuckdbSession:
    """One transaction on a DuckDB file."""

    binary: ClassVar[None] = None
    bulk: ClassVar[str] = "INSERT INTO {table} ({columns}) SELECT * FROM " + _BATCHES
    words: ClassVar[Words] = Words(now="strftime(now() AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ')", together=True)
    con: duckdb.DuckDBPyConnection
    first: FirstError
    database: str
    locks: contextlib.ExitStack

    def lock(self, name: str, owner: str) -> str | None:
        return try_lock(self.database, name, owner, self.locks)

    def turn(self, place: str) -> str:  # noqa: ARG002  # one writer at a time, whatever the table
        return "the DuckDB database"

    def place(self, table: Table) -> str:
        return f"{table.schema or 'main'}.{table.name}".lower()

    def begin(self) -> None:
        self.con.execute("BEGIN").complete()

    def define(self, statements: Sequence[str]) -> None:
        for ddl in statements:
            self.con.execute(ddl).complete()

    def commit(self) -> None:
        self.con.execute("COMMIT").complete()

    def exists(self, table: Table) -> bool:
        return bool(self.con.execute(f"SELECT 1 FROM duckdb_tables() WHERE {_HERE}", _place(table)).fetchall())

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.con.execute(sql, list(values)).fetchall()

    def merge(
        self, table: Table, columns: Sequence[Column], casts: Sequence[str | None], source: str, keys: Sequence[str]
    ) -> tuple[str, ...]:
        return statements.insert_from(table, columns, casts, source, keys)

    def layout(self, table: Table, *, keyed: bool) -> Layout | None:  # noqa: ARG002  # it costs little
        rows = self.con.execute(_COLUMNS, _place(table)).fetchall()
        if not rows:
            return None
        arrow = self.con.sql(f"SELECT * FROM {table.sql} LIMIT 0").to_arrow_table().schema
        held = self.con.execute(_HELD, _place(table)).fetchall()
        fixed = {name for (names,) in held for name in names}
        depended = bool(self._dependents(table))
        columns = tuple(
            Column(name, type_, nullable, optional, _exact_type(arrow.field(index)), fixed=depended or name in fixed)
            for index, (name, type_, nullable, optional) in enumerate(rows)
        )
        return Layout(columns, self._unique(table))

    def _dependents(self, table: Table) -> list[str]:
        """What keeps DuckDB from altering the columns of a table."""
        return [name for (name,) in self.con.execute(_DEPENDENTS, _place(table)).fetchall()]

    def _unique(self, table: Table) -> tuple[frozenset[str], ...]:
        constraints = self.con.execute(_UNIQUE, _place(table)).fetchall()
        indexes = self.con.execute(_INDEXES, _place(table)).fetchall()
        return tuple(frozenset(names) for (names,) in constraints) + tuple(
            frozenset(_unquoted(name) for name in names) for (names,) in indexes
        )

    def column_type(self, field: pa.Field, *, key: bool = False) -> str:  # noqa: ARG002  # every type can be one
        return duckdb_type(field)

    def kind(self, column: Column) -> Kind:
        return kind_of(column.type)

    def alter(self, table: Table, changes: Sequence[SchemaChange]) -> tuple[Ddl, ...]:
        check_dependents(table, changes, self._dependents(table))
        views = self.con.execute("SELECT view_name, sql FROM duckdb_views() WHERE NOT internal").fetchall()
        check_views(table, changes, views)
        return alter(table, changes)

    def wire(self, field: pa.Field, column: Column) -> Wire:
        if column.arrow is None:  # created now, from this very field
            return Wire(field.type)
        special = column.type not in {"VARCHAR", "BLOB"} and column.arrow in (pa.string(), pa.binary(), pa.uuid())
        if not special or field.type == column.arrow == pa.uuid():
            return Wire(column.arrow)
        sure = (tag(field) or "").upper() in {column.type, f"{column.type}B"}
        return Wire(pa.string(), cast=column.type, direct=sure, sure=sure)

    def create_schema(self, name: str) -> str | None:
        query = "SELECT 1 FROM duckdb_schemas() WHERE schema_name = $name AND database_name = current_database()"
        found = self.con.execute(query, {"name": name}).fetchone()
        return None if found else f"CREATE SCHEMA {quote(name)}"

    def execute(self, sql: str) -> int:
        rows = self.con.execute(sql).fetchall()
        return int(rows[0][0]) if rows and isinstance(rows[0][0], int) else 0

    def attempt(self, statements: Sequence[str]) -> int:
        return sum(map(self.execute, statements))

    def numbered(self, table: Table) -> None:  # noqa: ARG002  # an error ends DuckDB's transactions
        return None

    def scalar(self, sql: str) -> Any:
        row = self.con.execute(sql).fetchone()
        return row[0] if row else None

    def refused(self, table: Table, column: str, cast: str) -> int | None:
        wrong = f"{quote(column)} IS NOT NULL AND TRY_CAST({quote(column)} AS {cast}) IS NULL"
        found: int | None = self.scalar(f"SELECT MIN(rowid) FILTER (WHERE {wrong}) - MIN(rowid) + 1 FROM {table.sql}")
        return found

    def copy(
        self,
        table: Table,
        columns: Sequence[Column],  # noqa: ARG002  # the schema says it all
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
    ) -> int:
        keys = "; ".join(", ".join(sorted(names)) for names in self._unique(table))
        reader = pa.RecordBatchReader.from_batches(schema, self.first.guard(batches))
        self.con.register(_BATCHES, reader)
        try:
            rows = self.execute(self.bulk.format(table=table.sql, columns=quoted(schema.names)))
        except duckdb.ConstraintException as error:
            if self.first.error is not None or "uplicate key" not in str(error):
                raise
            hint = "Use strategy='upsert', or make the key unique in a .sql() step"
            raise DataError(f"a key ({keys}) is there already, or comes twice in this run", hint=hint) from None
        self.con.unregister(_BATCHES)
        return rows


def _place(table: Table) -> dict[str, str]:
    return {"table": table.name, "schema": table.schema or "main"}


def _unquoted(name: str) -> str:
    """A column as an index writes it: quoted only where it has to be."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _exact_type(field: pa.Field) -> pa.DataType:
    """The type to send: the column's own unit of time, else a loss would go unseen."""
    return field.type if pa.types.is_timestamp(field.type) else normal_field(field).type


@contextmanager
def duckdb_session(url: DatabaseUrl, work: Workspace) -> Iterator[DuckdbSession]:
    """A session on a connection of its own."""
    first = FirstError()
    try:
        con = duckdb.connect(to_url(url).database or ":memory:")
    except (duckdb.Error, OSError) as error:
        raise _unopened(str(error), url) from None
    try:
        with _memory(con, work), work.cancel.hook(con.interrupt), contextlib.ExitStack() as locks:
            con.execute("SET TimeZone='UTC'").complete()
            path = to_url(url).database or ":memory:"
            yield DuckdbSession(con, first, str(Path(path).resolve()), locks)
    except (duckdb.Error, OSError, RuntimeError) as error:
        raise first.explain(error, work.cancel) from None
    finally:
        con.close()  # rolls back what was not committed


@contextmanager
def _memory(con: duckdb.DuckDBPyConnection, work: Workspace) -> Iterator[None]:
    """The run's share of memory, and few threads, each of which fills row groups of its own.

    The settings as they were afterwards, because the user may have the same file open here.
    """
    before = con.execute("SELECT current_setting('memory_limit'), current_setting('threads')").fetchall()[0]
    _set(con, f"{duck.limit_of(work) // MIB}MiB", duck.threads_of(work))
    try:
        yield
    finally:
        with contextlib.suppress(duckdb.Error):
            _set(con, *before)


def _set(con: duckdb.DuckDBPyConnection, limit: str, threads: int) -> None:
    con.execute(f"SET memory_limit='{limit}'").complete()
    con.execute(f"SET threads={threads}").complete()


def _unopened(text: str, url: DatabaseUrl) -> DatapipeError:
    if "already attached" in text or "different configuration" in text:
        hint = "DuckDB writes to no file that is being read: write to another one, or collect() the rows first"
        return PlanError(f"{url.label} is open in this process already", hint=hint)
    if "Could not set lock" in text:
        return TransientError(f"{url.label} is open in another process", hint="Try again when it is closed")
    return PlanError(f"{url.label} cannot be opened as a DuckDB database", hint="Check that the path leads to one")
