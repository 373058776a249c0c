"""How rows get into a table: one algorithm for every database, in one transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from datapipe.data import compute as pc
from datapipe.data.casting import cast_column, check_names
from datapipe.data.names import find_name, quoted
from datapipe.data.stream import Stream, Workspace
from datapipe.data.types import describe, tag
from datapipe.errors import DataError, PlanError, SchemaError
from datapipe.persistence import statements
from datapipe.persistence.arrays import array_text
from datapipe.persistence.fitting import fit
from datapipe.persistence.marks import mark_name, marked, with_mark
from datapipe.persistence.session import ROW_NUMBER, STAGE, Session, Wire
from datapipe.persistence.tables import Column, Ddl, Layout, Table, check_unique, find_keys
from datapipe.plan import TableTarget, WriteStrategy
from datapipe.schemas import ColumnSpec, SchemaChange

Copy = Callable[[Table, Sequence[Column]], int]


@dataclass(frozen=True)
class Loaded:
    """What a write did."""

    rows: int
    deduplicated: int = 0
    unchanged: int = 0  # rows that are nothing but a key, which is there
    deleted: int = 0  # rows whose keys the source no longer has
    created: bool = False
    replayed: Mapping[str, Any] | None = None  # the result of the run that did it, if it was another one
    skipped: str | None = None  # the run that is at it, if this one left it to that
    columns: tuple[ColumnSpec, ...] = ()  # of the target, after the load
    subject: str | None = None  # the target, as the schema registry calls it


@dataclass(frozen=True)
class Load:
    """What a write will do, decided before the first row."""

    table: Table
    strategy: WriteStrategy
    ddl: tuple[Ddl, ...]
    columns: tuple[Column, ...]
    wires: tuple[Wire, ...]
    keys: tuple[str, ...]  # as the data name them
    latest: str | None
    names: tuple[str, ...]  # of the data, as far as they are written
    layout: Layout | None = None  # of the table that is there, as it is when the rows come
    changes: tuple[SchemaChange, ...] = ()  # to that table
    left_out: tuple[str, ...] = ()  # of the data
    mark: str | None = None  # the table's column that says since when a row is no longer at the source

    @property
    def notes(self) -> tuple[str, ...]:
        """What the load does besides writing rows, for people."""
        count = f"{len(self.left_out)} column{'s' if len(self.left_out) > 1 else ''}"
        shown = ", ".join(self.left_out)
        left = (f"left out {count} that table {self.table} lacks: {shown}",) if self.left_out else ()
        return (*map(str, self.changes), *left)

    @property
    def staged(self) -> bool:
        """Whether rows go through a temporary table first."""
        return self.strategy is WriteStrategy.UPSERT or not all(wire.direct for wire in self.wires)

    @property
    def sent_schema(self) -> pa.Schema:
        """The columns as they are sent."""
        return pa.schema([pa.field(c.name, w.arrow) for c, w in zip(self.columns, self.wires, strict=True)])

    @property
    def stage_columns(self) -> tuple[Column, ...]:
        """The temporary table's columns."""
        return tuple(
            Column(column.name, "text" if wire.cast else column.type, nullable=not wire.required)
            for column, wire in zip(self.columns, self.wires, strict=True)
        )

    @property
    def target_keys(self) -> tuple[str, ...]:
        """The keys as the target names them."""
        return tuple(self.columns[self.names.index(key)].name for key in self.keys)

    def statements(self, session: Session) -> tuple[str, ...]:
        """Every statement, in order, for people."""
        lines = [line for ddl in self.ddl for line in (ddl.sql, ddl.cost and f"-- {ddl.cost}") if line]
        if self.strategy is WriteStrategy.REPLACE:
            lines.append(statements.delete(self.table))
        into = STAGE if self.staged else self.table
        if self.staged:
            lines.append(statements.create_stage(STAGE, self.stage_columns, session.words.options))
        lines.append(session.bulk.format(table=into.sql, columns=quoted([column.name for column in self.columns])))
        if self.staged:
            lines += self.merge(session, STAGE.sql)
        return tuple(lines)

    @property
    def casts(self) -> tuple[str | None, ...]:
        """The type the server makes of each column of the temporary table."""
        return tuple(wire.cast for wire in self.wires)

    def merge(self, session: Session, source: str) -> tuple[str, ...]:
        """The statements from the rows of the temporary table into the target."""
        keys = self.target_keys if self.strategy is WriteStrategy.UPSERT else ()
        return session.merge(self.table, self.columns, self.casts, source, keys)


def plan_load(session: Session, target: TableTarget, schema: pa.Schema, created: Callable[[], bool]) -> Load:
    """Decide how a stream of ``schema`` is written to ``target``; reads the catalogue, changes nothing.

    Parameters
    ----------
    created : callable
        Whether datapipe has created the table, as the ledger knows.

    Raises
    ------
    PlanError
        If the keys are not in the data or have no unique index.
    SchemaError
        If the table and the data differ, and the ``schema_mode`` does not allow it.
    """
    check_names(schema.names, what="the data")
    table = Table(target.table_name, target.schema_)
    keys, wanted = find_keys(target, schema.names), with_mark(schema, target)
    latest = find_name(target.latest, schema.names) if target.latest else None
    keyed = bool(keys) and target.strategy in (WriteStrategy.UPSERT, WriteStrategy.INSERT)
    layout = session.layout(table, keyed=keyed)
    if layout is None:
        load = _creation(session, target, schema, wanted, keys)
    else:
        found = marked(session, fit(session, layout, schema, table, target, created), table, target, created)
        kept = [(f, c) for f, c in zip(schema, found.columns, strict=True) if c is not None]
        left_out = tuple(f.name for f, c in zip(schema, found.columns, strict=True) if c is None)
        _check_kept(table, keys, latest, left_out)
        wires = tuple(session.wire(field, column) for field, column in kept)
        columns, names = tuple(column for _, column in kept), tuple(field.name for field, _ in kept)
        ddl = session.alter(table, found.changes) if found.changes else ()
        mark = mark_name(found.layout) if target.deletes == "mark" else None
        load = Load(
            table=table,
            strategy=target.strategy,
            ddl=ddl,
            columns=columns,
            wires=wires,
            keys=keys,
            latest=latest,
            names=names,
            layout=found.layout,
            changes=found.changes,
            left_out=left_out,
            mark=mark,
        )
        if keyed:
            check_unique(found.layout, load.target_keys, table, target.strategy, session.words.mark)
    if latest:
        _check_order(schema.field(latest), load.wires[load.names.index(latest)])
    return load


def _creation(
    session: Session, target: TableTarget, schema: pa.Schema, wanted: pa.Schema, keys: tuple[str, ...]
) -> Load:
    """A load that creates its table, with the columns of ``wanted``."""
    table = Table(target.table_name, target.schema_)
    made = tuple(Column(f.name, session.column_type(f, key=f.name in keys), f.name not in keys) for f in wanted)
    make_schema = session.create_schema(table.schema) if table.schema else None
    create = statements.create_table(table, made, keys, session.words.options)
    ddl = tuple(Ddl(sql) for sql in (make_schema, create) if sql)
    columns, mark = made[: len(schema)], next((column.name for column in made[len(schema) :]), None)
    wires = tuple(session.wire(field, column) for field, column in zip(schema, columns, strict=True))
    latest = find_name(target.latest, schema.names) if target.latest else None
    return Load(table, target.strategy, ddl, columns, wires, keys, latest, tuple(schema.names), mark=mark)


def _check_kept(table: Table, keys: Sequence[str], latest: str | None, left_out: Sequence[str]) -> None:
    needed = [name for name in (*keys, latest) if name in left_out]
    if needed:
        hint = "Add the column to the table, or use schema_mode='evolve', which does"
        raise SchemaError(f"table {table} lacks {needed[0]!r}, which the write needs", column=needed[0], hint=hint)


def _check_order(field: pa.Field, wire: Wire) -> None:
    """Refuse to look for the latest row where the server would compare numbers or times as text."""
    is_text = pa.types.is_string(field.type) and (tag(field) or "text").startswith(("text", "char", "varchar"))
    as_text = pa.types.is_string(wire.arrow) and not wire.cast and not is_text
    if as_text or not wire.ordered:
        raise PlanError(
            f"latest {field.name!r} is {describe(field)} in the data and text in the table, which has another order",
            hint="Choose the winner in a .sql() step: SELECT … QUALIFY row_number() OVER (PARTITION BY …) = 1",
        )


def run_load(
    session: Session,
    load: Load,
    layout: Layout,
    stream: Stream,
    work: Workspace,
    then: Callable[[], object] = lambda: None,
) -> Loaded:
    """Write the stream. The caller has run the DDL, which made the table's ``layout``, and commits.

    ``then`` is called when the stream was read to its end, and before a staged row goes into the table.
    """
    if load.strategy is WriteStrategy.REPLACE:
        session.execute(statements.delete(load.table))
    load, copy = _encoded(session, load, layout, stream) or _converted(session, load, stream)
    if not load.staged:
        rows = copy(load.table, load.columns)
        work.cancel.check()
        return Loaded(rows, created=load.layout is None)
    session.execute(statements.create_stage(STAGE, load.stage_columns, session.words.options))
    rows = copy(STAGE, load.stage_columns)
    work.cancel.check()
    then()
    loaded = merge_stage(session, load, rows, work)
    session.execute(f"{session.words.drop} {STAGE.sql}")
    return loaded


def merge_stage(session: Session, load: Load, rows: int, work: Workspace) -> Loaded:
    """Take the rows of the stage, so many, to the target."""
    _check_casts(session, load)
    written, repeats = _merged_at_once(session, load), 0
    if written is None:
        source = _distinct(session, load) if load.strategy is WriteStrategy.UPSERT else STAGE.sql
        repeats = 0 if source == STAGE.sql else rows - int(session.scalar(f"SELECT COUNT(*) FROM {source}"))
        written = _merge(session, load, source, rows)
    work.cancel.check()
    only_keys = load.strategy is WriteStrategy.UPSERT and len(load.keys) == len(load.columns)
    unchanged = rows - repeats - written if only_keys else 0
    return Loaded(written, deduplicated=repeats, unchanged=unchanged, created=load.layout is None)


def _converted(session: Session, load: Load, stream: Stream) -> tuple[Load, Copy]:
    """How rows are carried into a table: each value checked, in the type that is sent."""
    batches = sent(stream, load)
    return load, lambda table, columns: session.copy(table, columns, load.sent_schema, batches)


def _encoded(session: Session, load: Load, layout: Layout, stream: Stream) -> tuple[Load, Copy] | None:
    """The same without a look at the values, where the source sends just what the table takes."""
    binary, encoded = session.binary, stream.encoded
    if binary is None or encoded is None or load.left_out:
        return None
    declared = {column.name: column for column in layout.columns}
    columns = [declared[column.name] for column in load.columns]
    keys = {column.name for column in columns if column.name in load.target_keys}
    is_upsert = load.strategy is WriteStrategy.UPSERT
    if is_upsert and any(column.type.removesuffix("[]") == "json" for column in columns):
        return None  # of which PostgreSQL cannot tell whether two are equal, so that they are staged as text
    is_checked = is_upsert or not any(c.nullable for c in columns if c.name in keys)
    if not (is_checked and binary.takes(encoded.types, columns)):
        return None
    wires = tuple(Wire(pa.binary(), required=column.name in keys) for column in columns)
    return replace(load, wires=wires), lambda table, columns: binary.copy(table, columns, keys, encoded.blocks)


def _merged_at_once(session: Session, load: Load) -> int | None:
    """The rows of an upsert that needs no look at its keys, which is a pass over all rows; None if it does."""
    is_upsert = load.strategy is WriteStrategy.UPSERT and load.latest is None and len(load.keys) < len(load.columns)
    if not (is_upsert and session.words.unrepeated):
        return None
    try:
        return session.attempt(load.merge(session, STAGE.sql))
    except DataError:  # a key comes twice, or a row is refused, which is to be named
        return None


def _merge(session: Session, load: Load, source: str, rows: int) -> int:
    numbered = session.numbered(STAGE)
    if source != STAGE.sql or numbered is None:  # a row that stands for several has no number
        return sum(session.execute(statement) for statement in load.merge(session, source))
    try:
        return session.attempt(load.merge(session, source))
    except DataError as error:
        row = _first_refused(session, load, numbered, rows)
        raise DataError(f"{error.message} (row {row})", column=error.column, row=row, hint=error.hint) from None


def _first_refused(session: Session, load: Load, numbered: str, rows: int) -> int:
    """The first row that does not fit the target and the rows before it; half of what is left is tried at a time."""
    first, last = 1, rows
    while first < last:
        middle = (first + last) // 2
        part = f"(SELECT * FROM {numbered} AS n WHERE {ROW_NUMBER} BETWEEN {first} AND {middle}) AS p"
        try:
            session.attempt(load.merge(session, part))
            first = middle + 1
        except DataError:
            last = middle
    return first


def _check_casts(session: Session, load: Load) -> None:
    for name, column, wire in zip(load.names, load.columns, load.wires, strict=True):
        row = session.refused(STAGE, column.name, wire.cast) if wire.cast and not wire.sure else None
        if row is not None:
            message = f"column {name!r}, row {row}: the text does not fit {wire.cast} exactly"
            raise DataError(message, column=name, row=row, hint="Convert it in a .sql() step")


def sent(stream: Stream, load: Load) -> Iterator[pa.RecordBatch]:
    """The batches in the types that are sent, each value checked, no key NULL."""
    first_row, schema = 1, load.sent_schema
    required = [i for i, wire in enumerate(load.wires) if load.names[i] in load.keys or not wire.nulls]
    kept = [stream.schema.names.index(name) for name in load.names]
    for whole in stream.batches:
        batch = whole.select(kept) if load.left_out else whole
        for index in required:
            if batch.column(index).null_count:
                row = first_row + batch.column(index).is_null().index(True).as_py()
                name = load.names[index]
                what = "key" if name in load.keys else "NOT NULL column"
                message = f"{what} {name!r} is NULL in row {row}"
                raise DataError(message, column=name, row=row, hint="Filter such rows out")
        columns = [
            _as_sent(values, field.type, wire, name, first_row)
            for values, field, wire, name in zip(batch.columns, schema, load.wires, load.names, strict=True)
        ]
        first_row += batch.num_rows
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _as_sent(values: pa.Array, to: pa.DataType, wire: Wire, name: str, first_row: int) -> pa.Array:
    if wire.cast and pa.types.is_list(values.type):
        return array_text(values, column=name, first_row=first_row)
    found = cast_column(values, to, column=name, first_row=first_row)
    if wire.padded:
        found = pc.utf8_rtrim(found, characters=" ")
    if wire.longest is not None:
        _check_length(found, wire.longest, name, first_row)
    if wire.json:
        _check_json(found, name, first_row)
    return found


def _check_length(values: pa.Array, longest: int, name: str, first_row: int) -> None:
    too_long = pc.greater(pc.utf8_length(values), longest)
    if pc.any(too_long).as_py():
        row = first_row + too_long.index(True).as_py()
        message = f"column {name!r}, row {row}: the text has more than {longest} characters"
        raise DataError(message, column=name, row=row, hint="Shorten it in a .sql() step, or widen the column")


def _check_json(values: pa.Array, name: str, first_row: int) -> None:
    for row, text in enumerate(values.to_pylist(), first_row):
        if text is not None and not _is_json(text):
            message = f"column {name!r}, row {row}: the text is not JSON"
            raise DataError(message, column=name, row=row, hint="Correct it in a .sql() step")


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=int)  # NaN is no JSON, and no int
    except (ValueError, RecursionError):
        return False
    return True


def _distinct(session: Session, load: Load) -> str:
    """The rows of the temporary table to merge: all, the distinct ones, or the latest of each key.

    Raises
    ------
    DataError
        If different rows share a key and nothing states the winner.
    """
    columns, casts, keys = load.columns, load.casts, load.target_keys
    if not session.scalar(statements.repeated_keys(STAGE, columns, casts, keys)):
        return STAGE.sql
    latest = columns[load.names.index(load.latest)].name if load.latest else None
    source = statements.stage_rows(STAGE, columns, casts, keys, latest)
    clashes = session.scalar(statements.clashing_keys(source, columns, casts, keys))
    if not clashes:
        return source
    shown, count = ", ".join(load.keys), f"{clashes} key{'s' if clashes > 1 else ''}"
    hint = "Make the key unique in a .sql() step"
    if load.latest:
        raise DataError(
            f"different rows with one key ({shown}) have the same {load.latest}: {count}",
            hint=f"{hint}, or break the tie there",
        )
    raise DataError(
        f"different rows have one key ({shown}): {count}", hint=f"{hint}, or state the winner: latest='updated_at'"
    )
