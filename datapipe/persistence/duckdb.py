"""DuckDB files: rows from Arrow in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from datapipe.data.duckerrors import FirstError
from datapipe.data.names import quoted
from datapipe.data.stream import MIB, Workspace
from datapipe.data.types import duckdb_type, normal_field
from datapipe.persistence.load import Wire
from datapipe.persistence.tables import Column, Layout, Table
from datapipe.plan import DatabaseUrl

_BATCHES = "_datapipe_batches"
_COLUMNS = """
SELECT column_name, data_type, is_nullable, column_default IS NOT NULL FROM duckdb_columns()
WHERE table_name = $table AND schema_name = $schema AND database_name = current_database() ORDER BY column_index"""
_UNIQUE = """
SELECT constraint_column_names FROM duckdb_constraints()
WHERE table_name = $table AND schema_name = $schema AND database_name = current_database()
  AND constraint_type IN ('PRIMARY KEY', 'UNIQUE')"""


@dataclass(frozen=True)
class DuckdbSession:
    """One transaction on a DuckDB file."""

    con: duckdb.DuckDBPyConnection
    first: FirstError

    def layout(self, table: Table) -> Layout | None:
        place = {"table": table.name, "schema": table.schema or "main"}
        rows = self.con.execute(_COLUMNS, place).fetchall()
        if not rows:
            return None
        arrow = self.con.sql(f"SELECT * FROM {table.sql} LIMIT 0").to_arrow_table().schema
        columns = tuple(
            Column(name, type_, nullable, optional, normal_field(arrow.field(index)).type)
            for index, (name, type_, nullable, optional) in enumerate(rows)
        )
        unique = self.con.execute(_UNIQUE, place).fetchall()
        return Layout(columns, tuple(frozenset(names) for (names,) in unique))

    def column_type(self, field: pa.Field) -> str:
        return duckdb_type(field)

    def wire(self, field: pa.Field, column: Column) -> Wire:
        if column.arrow is None or column.type == "UUID":
            return Wire(field.type)
        return Wire(column.arrow)

    def create_schema(self, name: str) -> str | None:
        known = [row[0] for row in self.con.execute("SELECT schema_name FROM duckdb_schemas()").fetchall()]
        return None if name in known else f"CREATE SCHEMA {quoted([name])}"

    def execute(self, sql: str) -> int:
        rows = self.con.execute(sql).fetchall()
        return int(rows[0][0]) if rows and isinstance(rows[0][0], int) else 0

    def scalar(self, sql: str) -> Any:
        rows = self.con.execute(sql).fetchall()
        return rows[0][0] if rows else None

    def copy(
        self, table: Table, columns: Sequence[Column], schema: pa.Schema, batches: Iterator[pa.RecordBatch]
    ) -> int:
        reader = pa.RecordBatchReader.from_batches(schema, self.first.guard(batches))
        self.con.register(_BATCHES, reader)
        rows = self.execute(f"INSERT INTO {table.sql} ({quoted(schema.names)}) SELECT * FROM {_BATCHES}")
        self.con.unregister(_BATCHES)
        return rows


@contextmanager
def duckdb_session(url: DatabaseUrl, work: Workspace) -> Iterator[DuckdbSession]:
    """A transaction that commits when the block ends well and rolls back when it does not."""
    path = (url.full or url.safe).split("://", 1)[1].removeprefix("/").partition("?")[0]
    first = FirstError()
    try:
        con = duckdb.connect(path or ":memory:")
    except (duckdb.Error, OSError) as error:
        raise first.explain(error, work.cancel) from None
    try:
        con.execute(f"SET memory_limit='{max(work.memory // 2, 64 * MIB) // MIB}MiB'").complete()
        con.execute("SET TimeZone='UTC'").complete()
        with work.cancel.hook(con.interrupt):
            con.execute("BEGIN").complete()
            yield DuckdbSession(con, first)
            work.cancel.check()
            con.execute("COMMIT").complete()
    except (duckdb.Error, OSError, RuntimeError) as error:
        raise first.explain(error, work.cancel) from None
    finally:
        con.close()  # rolls back what was not committed
