"""How rows get into a table: one algorithm for every database, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from datapipe.data.casting import cast_column, check_names
from datapipe.data.names import find_name, quoted
from datapipe.data.stream import Stream, Workspace
from datapipe.errors import DataError
from datapipe.persistence import statements
from datapipe.persistence.tables import Column, Layout, Table, check_unique, find_keys, match_columns
from datapipe.plan import TableTarget, WriteStrategy

STAGE = Table("_datapipe_stage")


@dataclass(frozen=True)
class Wire:
    """How a column is sent: its Arrow type, and the type the server casts it to if it is sent as text."""

    arrow: pa.DataType
    cast: str | None = None
    sent: str = "text"  # the staging column's type when there is a cast


@dataclass(frozen=True)
class Loaded:
    """What a write did."""

    rows: int
    deduplicated: int = 0
    created: bool = False


class Session(Protocol):
    """One open transaction on a database."""

    def layout(self, table: Table) -> Layout | None:
        """The table's layout, or None if there is none."""

    def column_type(self, field: pa.Field) -> str:
        """The type to create a column with."""

    def wire(self, field: pa.Field, column: Column) -> Wire:
        """How to send a field into a column."""

    def create_schema(self, name: str) -> str | None:
        """The statement that creates a schema, if it is not there."""

    def execute(self, sql: str) -> int:
        """Run a statement; the number of rows it touched."""

    def scalar(self, sql: str) -> Any:
        """The first value of a query's first row."""

    def copy(
        self, table: Table, columns: Sequence[Column], schema: pa.Schema, batches: Iterator[pa.RecordBatch]
    ) -> int:
        """Bulk-load batches of exactly ``schema``; the number of rows."""


@dataclass(frozen=True)
class Load:
    """What a write will do, decided before the first row."""

    table: Table
    strategy: WriteStrategy
    ddl: tuple[str, ...]
    columns: tuple[Column, ...]
    wires: tuple[Wire, ...]
    keys: tuple[str, ...]  # as the data name them
    latest: str | None
    names: tuple[str, ...]  # of the data

    @property
    def staged(self) -> bool:
        """Whether rows go through a temporary table first."""
        return self.strategy is WriteStrategy.UPSERT or any(wire.cast for wire in self.wires)

    @property
    def stage_columns(self) -> tuple[Column, ...]:
        """The temporary table's columns."""
        return tuple(
            Column(column.name, wire.sent if wire.cast else column.type)
            for column, wire in zip(self.columns, self.wires, strict=True)
        )

    @property
    def target_keys(self) -> tuple[str, ...]:
        """The keys as the target names them."""
        return tuple(self.columns[self.names.index(key)].name for key in self.keys)

    def statements(self) -> tuple[str, ...]:
        """Every statement, in order, for people."""
        lines = list(self.ddl)
        if self.strategy is WriteStrategy.REPLACE:
            lines.append(statements.delete(self.table))
        into = STAGE if self.staged else self.table
        if self.staged:
            lines.append(statements.create_stage(STAGE, self.stage_columns))
        lines.append(f"COPY {into.sql} ({quoted([column.name for column in self.columns])})")
        if self.staged:
            lines.append(self.merge("all"))
        return tuple(lines)

    def merge(self, rows: str) -> str:
        """The statement from the temporary table into the target."""
        casts = tuple(wire.cast for wire in self.wires)
        latest = self.columns[self.names.index(self.latest)].name if self.latest else None
        source = statements.stage_rows(STAGE, self.columns, casts, self.target_keys, rows, latest)
        keys = self.target_keys if self.strategy is WriteStrategy.UPSERT else ()
        return statements.insert_from(self.table, self.columns, casts, source, keys)


def plan_load(session: Session, target: TableTarget, schema: pa.Schema) -> Load:
    """Decide how a stream of ``schema`` is written to ``target``; reads the catalogue, changes nothing.

    Raises
    ------
    PlanError
        If the keys are not in the data or have no unique index.
    SchemaError
        If the table and the data differ.
    """
    check_names(schema.names, what="the data")
    table = Table(target.table_name, target.schema_)
    keys = find_keys(target, schema.names)
    layout = session.layout(table)
    ddl: tuple[str, ...] = ()
    if layout is None:
        columns = tuple(Column(f.name, session.column_type(f), nullable=f.name not in keys) for f in schema)
        make_schema = session.create_schema(table.schema) if table.schema else None
        ddl = (*([make_schema] if make_schema else []), statements.create_table(table, columns, keys))
    else:
        columns = match_columns(layout, schema, table)
        named = tuple(columns[schema.names.index(key)].name for key in keys)
        if target.strategy in (WriteStrategy.UPSERT, WriteStrategy.INSERT):
            check_unique(layout, named, table, target.strategy)
    wires = tuple(session.wire(field, column) for field, column in zip(schema, columns, strict=True))
    latest = find_name(target.latest, schema.names) if target.latest else None
    return Load(table, target.strategy, ddl, columns, wires, keys, latest, tuple(schema.names))


def run_load(session: Session, load: Load, stream: Stream, work: Workspace) -> Loaded:
    """Write the stream. The caller commits, or rolls back if this raises."""
    for statement in load.ddl:
        session.execute(statement)
    if load.strategy is WriteStrategy.REPLACE:
        session.execute(statements.delete(load.table))
    schema = pa.schema([pa.field(c.name, w.arrow) for c, w in zip(load.columns, load.wires, strict=True)])
    batches = _sent(stream, schema, load)
    if not load.staged:
        rows = session.copy(load.table, load.columns, schema, batches)
        work.cancel.check()
        return Loaded(rows, created=bool(load.ddl))
    session.execute(statements.create_stage(STAGE, load.stage_columns))
    rows = session.copy(STAGE, load.stage_columns, schema, batches)
    work.cancel.check()
    kept = _distinct(session, load) if load.strategy is WriteStrategy.UPSERT else "all"
    written = session.execute(load.merge(kept))
    work.cancel.check()
    session.execute(f"DROP TABLE {STAGE.sql}")
    return Loaded(written, deduplicated=rows - written, created=bool(load.ddl))


def _sent(stream: Stream, schema: pa.Schema, load: Load) -> Iterator[pa.RecordBatch]:
    """The batches in the types that are sent, each value checked, no key NULL."""
    first_row = 1
    key_at = [load.names.index(key) for key in load.keys]
    for batch in stream.batches:
        for index in key_at:
            if batch.column(index).null_count:
                row = first_row + batch.column(index).is_null().index(True).as_py()
                name = load.names[index]
                raise DataError(f"key {name!r} is NULL in row {row}", column=name, row=row, hint="Filter such rows out")
        columns = [
            cast_column(values, field.type, column=name, first_row=first_row)
            for values, field, name in zip(batch.columns, schema, load.names, strict=True)
        ]
        first_row += batch.num_rows
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _distinct(session: Session, load: Load) -> str:
    """Which rows of the temporary table are to be merged: all, the distinct ones, or the latest of each key.

    Raises
    ------
    DataError
        If different rows share a key and nothing states the winner.
    """
    casts = tuple(wire.cast for wire in load.wires)
    if not session.scalar(statements.repeated_keys(STAGE, load.columns, casts, load.target_keys)):
        return "all"
    rows = "latest" if load.latest else "distinct"
    latest = load.columns[load.names.index(load.latest)].name if load.latest else None
    source = statements.stage_rows(STAGE, load.columns, casts, load.target_keys, rows, latest)
    clashes = session.scalar(statements.clashing_keys(source, load.columns, casts, load.target_keys))
    if clashes:
        keys = ", ".join(load.keys)
        hint = "Make the key unique in a .sql() step"
        if load.latest:
            hint += ", or break the tie there"
            raise DataError(
                f"different rows with one key ({keys}) have the same {load.latest}: {clashes} keys", hint=hint
            )
        hint += ", or state the winner: latest='updated_at'"
        raise DataError(f"different rows have one key ({keys}): {clashes} keys", hint=hint)
    return rows
