"""Refused rows beside the data: written in the load's own transaction, and read again to be replayed."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from datapipe.data.names import quoted
from datapipe.data.rejects import Rejects
from datapipe.data.stream import Workspace
from datapipe.errors import StaleRun
from datapipe.persistence.internal import Values, column_types, creation, ledger_table, rejects_table
from datapipe.persistence.session import Session
from datapipe.persistence.sessions import open_session
from datapipe.persistence.tables import Column, Table
from datapipe.plan import TableTarget

_COLUMNS: dict[str, Values] = {
    "run_id": "key",
    "step": "key",
    "row_number": "number",
    "target": "key",
    "column_name": "text",
    "check_name": "text",
    "reason": "text",
    "data": "text",
    "fields": "text",  # of the step's input, on the first of its rows
    "replayed": "key",  # the run that has loaded the row since
}
_WRITTEN = pa.schema([(name, pa.int64() if kind == "number" else pa.string()) for name, kind in _COLUMNS.items()])


@dataclass(frozen=True)
class Replay:
    """Refused rows that a load is to bring in: they are marked in its transaction, so that no other load does.

    Parameters
    ----------
    run_id, step : str
        Of the run that refused them, and its validation.
    rows : int
    number : int
        Of that step in the plan.
    replaced : bool
        Whether that run had replaced the target, so that its rows must still be those that are there.
    """

    run_id: str
    step: str
    rows: int
    number: int = 1
    replaced: bool = False


def rejects_ddl(session: Session) -> tuple[str, ...]:
    """The statements that create the table."""
    return creation(session, rejects_table(session), _COLUMNS, ("run_id",))


def record_rejects(session: Session, place: str, run_id: str, rejects: Rejects) -> None:
    """Write a run's refused rows."""
    columns = tuple(Column(name, type_) for name, type_ in column_types(session, _COLUMNS).items())
    session.copy(rejects_table(session), columns, _WRITTEN, _written(place, run_id, rejects))


def _written(place: str, run_id: str, rejects: Rejects) -> Iterator[pa.RecordBatch]:
    seen: set[str] = set()
    for batch in rejects.batches():
        step = batch.column("step")[0].as_py()
        fields = (
            [None] * batch.num_rows
            if step in seen
            else [_packed(rejects.schemas[step])] + [None] * (batch.num_rows - 1)
        )
        seen.add(step)
        given = {name: batch.column(name) for name in batch.schema.names}
        given |= {
            name: pa.array([value] * batch.num_rows, pa.string())
            for name, value in (("run_id", run_id), ("target", place), ("replayed", None))
        }
        given["fields"] = pa.array(fields, pa.string())
        yield pa.RecordBatch.from_arrays([given[name] for name in _COLUMNS], schema=_WRITTEN)


def _packed(schema: pa.Schema) -> str:
    return base64.b64encode(schema.serialize()).decode()


def mark_replayed(session: Session, place: str, replay: Replay, run_id: str) -> None:
    """Note that this load brings the refused rows in.

    Raises
    ------
    StaleRun
        If another load has done so since they were read, or has replaced the rows that they belong to.
    """
    if replay.replaced:
        _check_there(session, place, replay)
    table = rejects_table(session).sql
    where = "run_id = ? AND step = ? AND target = ?"
    # First the update, which waits for another one: a count before it may be of rows that are taken meanwhile.
    update = f"UPDATE {table} SET replayed = ? WHERE {where} AND replayed IS NULL"
    session.query(update, run_id, replay.run_id, replay.step, place)
    count = f"SELECT COUNT(*) FROM {table} WHERE {where} AND replayed = ?"
    marked = session.query(count, replay.run_id, replay.step, place, run_id)[0][0]
    if int(marked) != replay.rows:
        hint = "Look at them again: attach(run_id).rejects()"
        raise StaleRun(f"another run has replayed rejected rows of run {replay.run_id} meanwhile", hint=hint)


def _check_there(session: Session, place: str, replay: Replay) -> None:
    """Refuse to add to rows that a later run has put in the place of those the refused ones belong to."""
    loads = ledger_table(session).sql
    text = f"SELECT run_id, generation FROM {loads} WHERE target = ? AND strategy = 'replace' ORDER BY generation DESC"
    own = session.query(f"SELECT MAX(generation) FROM {loads} WHERE target = ? AND run_id = ?", place, replay.run_id)
    for run_id, generation in session.query(f"{text} LIMIT 1", place):
        if int(generation) > int(own[0][0] or 0):
            hint = "Rows of that run's own are there now; the rejected ones stay in quarantine"
            raise StaleRun(f"run {run_id} has replaced {place} since", hint=hint)


def find_rejects(target: TableTarget, run_id: str, work: Workspace) -> pa.Table:
    """The refused rows of a run that was to write to a target, in order."""
    with open_session(target, work, create=False) as session:
        session.begin()
        table = rejects_table(session)
        if not session.exists(table):
            return _WRITTEN.empty_table()
        place = session.place(Table(target.table_name, target.schema_))
        text = f"SELECT {quoted(tuple(_COLUMNS))} FROM {table.sql} WHERE run_id = ? AND target = ?"
        rows = session.query(f"{text} ORDER BY {quoted(['step', 'row_number'])}", run_id, place)
    columns = [pa.array([row[index] for row in rows], field.type) for index, field in enumerate(_WRITTEN)]
    return pa.Table.from_arrays(columns, schema=_WRITTEN)


def fields_of(found: pa.Table) -> pa.Schema:
    """The columns that the rows of one step had."""
    packed = next(text for text in found.column("fields").to_pylist() if text)
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(packed)))
