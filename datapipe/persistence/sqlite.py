"""SQLite: bound rows in one transaction."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from operator import length_hint
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from sqlalchemy.pool import SingletonThreadPool

from datapipe.data import compute as pc
from datapipe.data.casting import cast_column
from datapipe.data.connections import shared, to_url
from datapipe.data.names import quote, quoted
from datapipe.data.stream import Workspace, resized
from datapipe.data.types import sqlite_field, sqlite_type
from datapipe.errors import DataError, DatapipeError, FatalError, PlanError, TransientError
from datapipe.persistence import statements
from datapipe.persistence.filelocks import try_lock
from datapipe.persistence.session import ROW_NUMBER, Wire, Words
from datapipe.persistence.sqlitealter import Stored, alter, is_numeric, sqlite_kind
from datapipe.persistence.tables import Column, Ddl, Layout, Table
from datapipe.plan import DatabaseUrl
from datapipe.schemas import SchemaChange
from datapipe.schemas.kinds import Kind

_STORED = (pa.int64(), pa.float64(), pa.string(), pa.binary())
_ROWS, _BYTES = 10_000, 2 << 20  # of a batch at most: as Python objects, rows take many times their size in Arrow
_PATIENCE = 5_000  # milliseconds that COMMIT waits for readers
_NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"


@dataclass(frozen=True)
class SqliteSession:
    """One transaction on a SQLite database."""

    binary: ClassVar[None] = None
    bulk: ClassVar[str] = "INSERT INTO {table} ({columns}) VALUES (…)"
    words: ClassVar[Words] = Words(
        now="strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z'",
        moment="strftime('%Y-%m-%d %H:%M:%f', 'now') || '000+00:00'",
        lookup="PRIMARY KEY ({keys}) ON CONFLICT IGNORE",
        schemas=False,
        together=True,
        stages="SELECT NULL, name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 15) = '_datapipe_stage'",
    )
    raw: sqlite3.Connection
    url: DatabaseUrl
    locks: ExitStack

    def lock(self, name: str, owner: str) -> str | None:
        return try_lock(_identity(self.url), name, owner, self.locks)

    def turn(self, place: str) -> str:  # noqa: ARG002  # one writer at a time, whatever the table
        return "the SQLite database"

    def place(self, table: Table) -> str:
        return f"{table.schema or 'main'}.{table.name}".lower()

    def begin(self) -> None:
        self.raw.execute("BEGIN IMMEDIATE")
        # Pages that do not fit the cache wait for no reader: ours may be reading this very file.
        self.raw.execute("PRAGMA busy_timeout = 0")

    def define(self, statements: Sequence[str]) -> None:
        for ddl in statements:
            self.raw.execute(ddl)

    def commit(self) -> None:
        self.raw.execute(f"PRAGMA busy_timeout = {_PATIENCE}")
        self.raw.execute("COMMIT")

    def exists(self, table: Table) -> bool:
        if table.schema:
            self.create_schema(table.schema)
        text = f"SELECT 1 FROM {table.prefix}sqlite_master WHERE type = 'table' AND lower(name) = lower(?)"
        return bool(self.query(text, table.name))

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.raw.execute(sql, values).fetchall()

    def merge(
        self, table: Table, columns: Sequence[Column], casts: Sequence[str | None], source: str, keys: Sequence[str]
    ) -> tuple[str, ...]:
        return statements.insert_from(table, columns, casts, source, keys)

    def layout(self, table: Table, *, keyed: bool) -> Layout | None:  # noqa: ARG002  # it costs little
        if table.schema:
            self.create_schema(table.schema)
        rows = self.raw.execute(f"PRAGMA {table.prefix}table_xinfo({quote(table.name)})").fetchall()
        if not rows:
            return None
        keys = [(name, type_) for _, name, type_, _, _, place, _ in rows if place]
        # A lone INTEGER PRIMARY KEY is the rowid, which SQLite fills in.
        rowid = keys[0][0] if len(keys) == 1 and keys[0][1].upper() == "INTEGER" else None
        unique = [frozenset(name for name, _ in keys)] if keys else []
        orders: dict[str, str] = {}  # of texts, which SQLite tells of indexes alone
        for _, index, is_unique, _, partial in self.raw.execute(
            f"PRAGMA {table.prefix}index_list({quote(table.name)})"
        ):
            if is_unique and not partial:
                parts = [row[2:6] for row in self.raw.execute(f"PRAGMA {table.prefix}index_xinfo({quote(index)})")]
                unique.append(frozenset(name for name, _, _, is_key in parts if is_key))
                orders |= {name: order for name, _, order, is_key in parts if is_key and order != "BINARY"}
        parents = {row[3] for row in self.raw.execute(f"PRAGMA {table.prefix}foreign_key_list({quote(table.name)})")}
        fixed = parents.union(*unique)
        columns = tuple(
            Column(
                name,
                type_,
                nullable=not required and not place,
                optional=default is not None or name == rowid or hidden > 0,
                collation=f"COLLATE {quote(orders[name])}" if name in orders else "",
                compared=f"{{}} COLLATE {quote(orders[name])}" if name in orders else "{}",
                generated=hidden > 0,
                fixed=name in fixed,
            )
            for _, name, type_, required, default, place, hidden in rows
        )
        return Layout(columns, tuple(unique))

    def column_type(self, field: pa.Field, *, key: bool = False) -> str:  # noqa: ARG002  # every type can be one
        return sqlite_type(field)

    def kind(self, column: Column) -> Kind:
        return sqlite_kind(column.name, column.type)

    def alter(self, table: Table, changes: Sequence[SchemaChange]) -> tuple[Ddl, ...]:
        where = "lower(tbl_name) = lower(?) AND sql IS NOT NULL"
        found = self.query(f"SELECT type, name, sql FROM {table.prefix}sqlite_master WHERE {where}", table.name)
        sql = next(sql for kind, _, sql in found if kind == "table")
        beside = tuple((kind, name, sql) for kind, name, sql in found if kind in {"index", "trigger"})
        return alter(table, changes, Stored(sql, self.scalar(f"PRAGMA {table.prefix}schema_version"), beside))

    def wire(self, field: pa.Field, column: Column) -> Wire:
        declared = sqlite_field(column.name, column.type)
        type_ = declared.type if declared is not None else field.type
        # Digits that are kept as text are compared as text.
        return Wire(type_, ordered=not (pa.types.is_decimal(type_) and "text" in column.type.lower()))

    def create_schema(self, name: str) -> str | None:
        attached = [row[1] for row in self.raw.execute("PRAGMA database_list")]
        if name.lower() in attached:
            return None
        raise PlanError(f"SQLite has no schema {name!r}", hint="Leave schema= out, or quote a dot with schema='main'")

    def execute(self, sql: str) -> int:
        return self.raw.execute(sql).rowcount

    def attempt(self, statements: Sequence[str]) -> int:
        self.raw.execute("SAVEPOINT attempt")
        try:
            rows = sum(map(self.execute, statements))
        except sqlite3.IntegrityError as error:
            if not self.raw.in_transaction:  # the constraint says ON CONFLICT ROLLBACK
                raise
            self.raw.execute("ROLLBACK TO attempt")
            raise _refused(error, self.url) from None
        self.raw.execute("RELEASE attempt")
        return rows

    def numbered(self, table: Table) -> str:
        return f"(SELECT *, _rowid_ AS {ROW_NUMBER} FROM {table.sql})"

    def scalar(self, sql: str) -> Any:
        row = self.raw.execute(sql).fetchone()
        return row[0] if row else None

    def refused(self, table: Table, column: str, cast: str) -> int | None:  # noqa: ARG002  # no text is cast here
        return None

    def _affinities(self, table: Table) -> dict[str, bool]:
        """Whether each column turns text that looks like a number into one (SQLite's NUMERIC affinity)."""
        rows = self.raw.execute(f"PRAGMA {table.prefix}table_info({quote(table.name)})")
        return {row[1]: is_numeric(row[2]) for row in rows}

    def copy(
        self,
        table: Table,
        columns: Sequence[Column],  # noqa: ARG002  # the schema says it all
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
    ) -> int:
        marks = ", ".join("?" for _ in schema)
        text = self.bulk.format(table=table.sql, columns=quoted(schema.names)).replace("(…)", f"({marks})")
        rows = 0
        numeric = self._affinities(table)
        for batch in _parts(batches):
            stored = [_stored(values, name, rows) for values, name in zip(batch.columns, schema.names, strict=True)]
            for values, given, name in zip(stored, batch.columns, schema.names, strict=True):
                if numeric.get(name) and pa.types.is_string(values.type):
                    _check_affinity(values, name, rows, number=pa.types.is_decimal(given.type))
            columns_left = [iter(values.to_pylist()) for values in stored]
            try:
                self.raw.executemany(text, zip(*columns_left, strict=True))
            except sqlite3.IntegrityError as error:
                taken = batch.num_rows - length_hint(columns_left[0])  # the last of them is the one
                raise _refused(error, self.url, rows + taken) from None
            rows += batch.num_rows
        return rows


def _parts(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in resized(batches, size=_BYTES):
        for start in range(0, batch.num_rows, _ROWS):
            yield batch.slice(start, _ROWS)


def _check_affinity(values: pa.Array, name: str, done: int, *, number: bool) -> None:
    """Refuse text that SQLite would store as another number, or as a number at all."""
    likely = pc.match_substring_regex(values, _NUMBER)
    if number:  # 15 digits survive its doubles
        digits = pc.replace_substring_regex(values, r"[eE].*|\D", "")
        likely = pc.and_(likely, pc.greater(pc.utf8_length(pc.utf8_ltrim(digits, "0")), 15))
    for index in pc.indices_nonzero(pc.fill_null(likely, False)).to_pylist():
        text = values[index].as_py()
        if not number or Decimal(str(float(text))) != Decimal(text):
            raise DataError(
                f"column {name!r}, row {done + index + 1}: SQLite would store the text as another number",
                column=name,
                row=done + index + 1,
                hint="Declare the column TEXT (DECIMAL TEXT for exact decimals)",
            )


def _stored(values: pa.Array, name: str, done: int) -> pa.Array:
    """A column as one of SQLite's own storage classes, exactly."""
    t = pa.types
    type_ = values.type
    if t.is_boolean(type_) or t.is_integer(type_):
        return cast_column(values, pa.int64(), column=name, first_row=done + 1)
    if t.is_floating(type_):
        nan = pc.is_nan(values)
        if pc.any(nan).as_py():
            row = done + nan.index(True).as_py() + 1
            hint = "Make it NULL in SQL"
            raise DataError(f"column {name!r}, row {row}: SQLite cannot hold NaN", column=name, row=row, hint=hint)
        return values.cast(pa.float64())
    if t.is_timestamp(type_):
        text = cast_column(values, pa.string(), column=name, first_row=done + 1)
        return pc.binary_join_element_wise(text, ":00", "") if type_.tz else text
    return values if type_ in _STORED else cast_column(values, pa.string(), column=name, first_row=done + 1)


@contextmanager
def sqlite_session(url: DatabaseUrl, work: Workspace) -> Iterator[SqliteSession]:
    """A session on a connection of its own, or on one of a lent engine."""
    with _connection(url) as raw, ExitStack() as locks:
        try:
            before = raw.isolation_level
            raw.rollback()
            raw.isolation_level = None  # transactions are begun and ended here, DDL included
            patience, checked = (
                raw.execute(f"PRAGMA {name}").fetchone()[0] for name in ("busy_timeout", "foreign_keys")
            )
            raw.execute("PRAGMA foreign_keys = ON")  # which SQLite otherwise does not check
            try:
                with work.cancel.hook(raw.interrupt):
                    yield SqliteSession(raw, url, locks)
            finally:
                if raw.in_transaction:
                    raw.execute("ROLLBACK")
                raw.execute("PRAGMA writable_schema = OFF")  # a failed change of a type may have left it on
                raw.execute(f"PRAGMA busy_timeout = {patience}")
                raw.execute(f"PRAGMA foreign_keys = {checked}")
                raw.isolation_level = before
        except sqlite3.Error as error:
            work.cancel.check()
            raise _translated(error, url) from None


def _identity(url: DatabaseUrl) -> str:
    """What tells one database from another: the file, or the engine of one in memory."""
    path = to_url(url).database
    return f"engine {id(url.engine)} {os.getpid()}" if not path or path == ":memory:" else str(Path(path).resolve())


@contextmanager
def _connection(url: DatabaseUrl) -> Iterator[sqlite3.Connection]:
    """A connection of our own, or, where there is more to it than a path, one of an engine."""
    engine = url.engine
    if engine is not None and isinstance(engine.pool, SingletonThreadPool):
        hint = "Create it with poolclass=StaticPool and connect_args={'check_same_thread': False}"
        raise PlanError("the engine's database in memory is another one in each thread", hint=hint)
    if engine is not None or to_url(url).query:
        with shared().connect(url) as pooled:
            yield pooled.connection.driver_connection  # type: ignore[misc]  # sqlite3's, by the URL
        return
    try:
        own = sqlite3.connect(to_url(url).database or ":memory:", check_same_thread=False)
    except sqlite3.Error as error:
        raise _translated(error, url) from None
    try:
        yield own
    finally:
        own.close()


def _translated(error: sqlite3.Error, url: DatabaseUrl) -> DatapipeError:
    """SQLite's error in our terms, without data values."""
    text, code = str(error), getattr(error, "sqlite_errorname", None) or ""
    if isinstance(error, sqlite3.IntegrityError):
        return _refused(error, url)
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_INTERRUPT")):
        return TransientError(f"{url.label}: {text}", hint="Another connection holds the database; try again")
    if code.startswith(("SQLITE_CANTOPEN", "SQLITE_NOTADB")):
        return PlanError(f"{url.label}: {text}", hint="Check that the path leads to a SQLite database, or to a folder")
    if code.startswith(("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOMEM")):
        return FatalError(f"{url.label}: {text}", hint="Check the disk, the file and its permissions")
    if isinstance(error, sqlite3.DataError):
        return DataError(f"{url.label}: {text}", hint="Correct the value, or cast it in a .sql() step")
    return PlanError(f"{url.label}: {text}", hint="Check the names in the plan")


def _refused(error: sqlite3.IntegrityError, url: DatabaseUrl, row: int | None = None) -> DataError:
    """A broken constraint, with the column where SQLite tells it."""
    text, where = str(error), f" (row {row})" if row else ""
    failed = re.fullmatch(r"(UNIQUE|NOT NULL) constraint failed: (.*)", text, re.S)
    names = failed.group(2).split(", ") if failed else []
    column = names[0].partition(".")[2] or None if len(names) == 1 else None
    hint = "Correct the rows, or the constraint"
    if failed and failed.group(1) == "UNIQUE":
        text = f"a key ({failed.group(2)}) is there already, or comes twice in this run"
        hint = "Use strategy='upsert', or make the key unique in a .sql() step"
    return DataError(f"{url.label}: {text}{where}", column=column, row=row, hint=hint)
