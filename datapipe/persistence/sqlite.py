"""SQLite: bound rows in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datapipe.data.connections import shared
from datapipe.data.names import quote, quoted
from datapipe.data.stream import Workspace, resized
from datapipe.data.types import sqlite_field, sqlite_type
from datapipe.errors import DataError, DatapipeError, FatalError, PlanError, TransientError
from datapipe.persistence.load import Wire
from datapipe.persistence.tables import Column, Layout, Table
from datapipe.plan import DatabaseUrl

_STORED = (pa.int64(), pa.float64(), pa.string(), pa.binary())
_ROWS = 10_000


@dataclass(frozen=True)
class SqliteSession:
    """One transaction on a SQLite database."""

    raw: sqlite3.Connection

    def layout(self, table: Table) -> Layout | None:
        prefix = f"{quote(table.schema)}." if table.schema else ""
        rows = self.raw.execute(f"PRAGMA {prefix}table_info({quote(table.name)})").fetchall()
        if not rows:
            return None
        keys = [(place, name) for _, name, _, _, _, place in rows if place]
        columns = tuple(
            # A lone INTEGER PRIMARY KEY is the rowid, which SQLite fills in.
            Column(name, type_, not required and not place, default is not None or (len(keys) == 1 and bool(place)))
            for _, name, type_, required, default, place in rows
        )
        unique = [frozenset(name for _, name in keys)] if keys else []
        for _, index, is_unique, _, partial in self.raw.execute(f"PRAGMA {prefix}index_list({quote(table.name)})"):
            if is_unique and not partial:
                names = [row[2] for row in self.raw.execute(f"PRAGMA {prefix}index_info({quote(index)})")]
                unique.append(frozenset(names))
        return Layout(columns, tuple(unique))

    def column_type(self, field: pa.Field) -> str:
        return sqlite_type(field)

    def wire(self, field: pa.Field, column: Column) -> Wire:
        declared = sqlite_field(column.name, column.type)
        return Wire(declared.type if declared is not None else field.type)

    def create_schema(self, name: str) -> str | None:
        attached = [row[1] for row in self.raw.execute("PRAGMA database_list")]
        if name in attached:
            return None
        raise PlanError(f"SQLite has no schema {name!r}", hint="Leave schema= out, or quote a dot with schema='main'")

    def execute(self, sql: str) -> int:
        return self.raw.execute(sql).rowcount

    def scalar(self, sql: str) -> Any:
        row = self.raw.execute(sql).fetchone()
        return row[0] if row else None

    def copy(
        self, table: Table, columns: Sequence[Column], schema: pa.Schema, batches: Iterator[pa.RecordBatch]
    ) -> int:
        marks = ", ".join("?" for _ in schema)
        text = f"INSERT INTO {table.sql} ({quoted(schema.names)}) VALUES ({marks})"
        rows = 0
        for batch in resized(batches, rows=_ROWS):
            stored = [_stored(values, name, rows) for values, name in zip(batch.columns, schema.names, strict=True)]
            self.raw.executemany(text, zip(*(values.to_pylist() for values in stored), strict=True))
            rows += batch.num_rows
        return rows


def _stored(values: pa.Array, name: str, done: int) -> pa.Array:
    """A column as one of SQLite's own storage classes, exactly."""
    t = pa.types
    type_ = values.type
    if t.is_boolean(type_) or t.is_integer(type_):
        return values.cast(pa.int64())
    if t.is_floating(type_):
        nan = pc.is_nan(values)
        if pc.any(nan).as_py():
            row = done + nan.index(True).as_py() + 1
            raise DataError(
                f"column {name!r}, row {row}: SQLite cannot hold NaN", column=name, row=row, hint="Make it NULL in SQL"
            )
        return values.cast(pa.float64())
    if type_ == pa.uuid():
        return pa.array([None if v is None else str(v) for v in values.to_pylist()], pa.string())
    if t.is_timestamp(type_):
        text = pc.strftime(values, "%Y-%m-%d %H:%M:%S")
        return pc.binary_join_element_wise(text, "+00:00", "") if type_.tz else text
    return values if type_ in _STORED else values.cast(pa.string())


@contextmanager
def sqlite_session(url: DatabaseUrl, work: Workspace) -> Iterator[SqliteSession]:
    """A transaction that commits when the block ends well and rolls back when it does not."""
    with shared().connect(url) as conn:
        raw: sqlite3.Connection = conn.connection.driver_connection  # type: ignore[assignment]  # by our URL
        before = raw.isolation_level
        raw.rollback()
        raw.isolation_level = None  # transactions are begun and ended here, DDL included
        try:
            with work.cancel.hook(raw.interrupt):
                raw.execute("BEGIN IMMEDIATE")
                yield SqliteSession(raw)
                work.cancel.check()
                raw.execute("COMMIT")
        except sqlite3.Error as error:
            work.cancel.check()
            raise _translate(error) from None
        finally:
            if raw.in_transaction:
                raw.execute("ROLLBACK")
            raw.isolation_level = before


def _translate(error: sqlite3.Error) -> DatapipeError:
    text = str(error)
    if isinstance(error, sqlite3.IntegrityError):
        return DataError(f"SQLite: {text}", hint="Correct the rows, or the constraint")
    if "locked" in text or "busy" in text:
        return TransientError(f"SQLite: {text}", hint="Another writer holds the file; try again")
    if "full" in text or "readonly" in text or "unable to open" in text:
        return FatalError(f"SQLite: {text}", hint="Check the disk, the path and its permissions")
    return PlanError(f"SQLite: {text}", hint="Check the names in the plan")
