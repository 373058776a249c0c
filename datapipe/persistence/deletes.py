"""Which rows of a table the source no longer has: all its keys beside the table, and one statement that compares."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pyarrow as pa

from datapipe.data import compute as pc
from datapipe.data.casting import cast_batch
from datapipe.data.names import quote, quoted
from datapipe.data.stream import Stream, Workspace
from datapipe.errors import FatalError
from datapipe.persistence import statements
from datapipe.persistence.load import Load, Loaded, run_load, sent
from datapipe.persistence.session import Session
from datapipe.persistence.tables import Column, Layout, Table

KEYS = Table("_datapipe_keys")
OpenKeys = Callable[[Workspace], AbstractContextManager[Stream]]


@dataclass(frozen=True)
class Comparison:
    """A load's target beside all keys of its source.

    Parameters
    ----------
    load : Load
        As it was planned.
    removes : bool
        Whether rows that are gone are removed, rather than marked.
    """

    load: Load
    removes: bool

    def run(self, session: Session, layout: Layout, stream: Stream, work: Workspace, open_keys: OpenKeys) -> Loaded:
        """Write the stream, as :func:`run_load` does, and mark or remove the rows whose keys the source has no more."""
        read = functools.partial(self._stage, session, open_keys, stream.schema, work)
        loaded = run_load(session, self.load, layout, stream, work, then=read)
        touched = [session.execute(sql) for sql in self._comparing(session)]
        session.execute(f"{session.words.drop} {KEYS.sql}")
        return dataclasses.replace(loaded, deleted=touched[0])

    def _stage(self, session: Session, open_keys: OpenKeys, schema: pa.Schema, work: Workspace) -> None:
        """Bring the keys into a temporary table, as rows of ``schema`` bring theirs.

        The scan begins here, after all rows of the load were read: no row of theirs can be missing in it.
        """
        session.execute(self._create(session))
        fields = pa.schema([schema.field(name) for name in self.load.keys])
        with open_keys(work) as stream:
            given = dataclasses.replace(stream, schema=fields, batches=_keyed(stream.batches, fields))
            session.copy(KEYS, self._columns, self._keys.sent_schema, sent(given, self._keys))
        work.cancel.check()

    def statements(self, session: Session) -> tuple[str, ...]:
        """Every statement, in order, for people."""
        bulk = session.bulk.format(table=KEYS.sql, columns=quoted([column.name for column in self._columns]))
        return ("-- all keys of the source", self._create(session), bulk, *self._comparing(session))

    def _create(self, session: Session) -> str:
        return statements.create_keys(KEYS, self._columns, session.words.lookup, session.words.options)

    def _comparing(self, session: Session) -> tuple[str, ...]:
        load = self.load
        there = statements.is_among(load.table, KEYS, self._keys.columns, self._keys.casts)
        if self.removes:
            return (f"DELETE FROM {load.table.sql} WHERE NOT {there}",)
        if load.mark is None:
            raise FatalError(f"table {load.table} has no column for the mark", hint="This is a fault; report it")
        mark, update = quote(load.mark), f"UPDATE {load.table.sql} SET"
        return (
            f"{update} {mark} = {session.words.moment} WHERE {mark} IS NULL AND NOT {there}",
            f"{update} {mark} = NULL WHERE {mark} IS NOT NULL AND {there}",
        )

    @property
    def _keys(self) -> Load:
        """The load, as if its rows had nothing but the keys."""
        load = self.load
        places = [load.names.index(key) for key in load.keys]
        columns, wires = tuple(load.columns[p] for p in places), tuple(load.wires[p] for p in places)
        return dataclasses.replace(load, columns=columns, wires=wires, names=load.keys, latest=None, left_out=())

    @property
    def _columns(self) -> tuple[Column, ...]:
        """Those of the temporary table, whose texts are compared as the target's are."""
        return tuple(map(_alike, self._keys.stage_columns, self._keys.columns))


def _alike(stage: Column, column: Column) -> Column:
    """A column of the temporary table that compares its texts as the target's does."""
    if not column.collation:
        return stage
    return dataclasses.replace(stage, type=column.declared or stage.type, collation=column.collation)


def _keyed(batches: Iterator[pa.RecordBatch], fields: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The keys in the types in which the rows have them; what has none is no row of the target."""
    first_row = 1
    for batch in batches:
        found = cast_batch(batch, fields, first_row=first_row)
        first_row += batch.num_rows
        there = functools.reduce(pc.and_, [column.is_valid() for column in found.columns])
        yield found if there.true_count == found.num_rows else found.filter(there)
