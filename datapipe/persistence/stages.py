"""Parts of a run's rows in tables beside the target, written by several workers, until one of them merges all."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from datapipe.data.connections import resolve
from datapipe.data.names import quote
from datapipe.data.stream import Stream, Workspace
from datapipe.errors import DatapipeError, TransientError
from datapipe.persistence import ledger, statements
from datapipe.persistence.load import Load, Loaded, merge_stage, plan_load, sent
from datapipe.persistence.session import STAGE, CommitLost, Session
from datapipe.persistence.sessions import STEP, open_session
from datapipe.persistence.tables import Column, Table
from datapipe.plan import FileTarget, TableTarget, Target, WriteStrategy
from datapipe.settings import settings

_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = ? AND starts_with(table_name, ?)"
# Where the schema is not there yet, it is created with the ledger.
_MAY = """
SELECT CASE WHEN to_regnamespace(?) IS NULL THEN has_database_privilege(current_database(), 'CREATE')
            ELSE has_schema_privilege(?, 'CREATE') END"""
_CONNECTIONS = 4  # that a run uses at most: for its key, its stages, a part, and itself
_HASHED = 12  # characters of a hash in a table's name
_NAME = re.compile(rf"{STAGE.name}_([0-9a-f]{{{_HASHED}}}_[0-9a-f]{{{_HASHED}}})_\d+_\d+")


@dataclass(frozen=True)
class Staged:
    """Rows that lie in tables beside the target already, each with a part of them, ready to be merged.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of the rows that were written there.
    tables : sequence of Table
    columns : sequence of Column
        Of each table.
    rows : int
        In all of them.
    """

    schema: pa.Schema
    tables: Sequence[Table]
    columns: Sequence[Column]
    rows: int


@dataclass(frozen=True)
class Stages:
    """The tables of one attempt of a run: who owns them is told by a lock, as of everything a run leaves.

    Parameters
    ----------
    run_id, lease : str
        The run, and the attempt.
    """

    run_id: str
    lease: str

    def table(self, number: int, attempt: int) -> Table:
        """The table of a part; another one for each attempt at it, so that none is written twice."""
        return Table(f"{self._prefix}{number}_{attempt}", settings().internal_schema)

    @property
    def _of_run(self) -> str:
        return f"{STAGE.name}_{_hash(self.run_id)}_"

    @property
    def _prefix(self) -> str:
        return f"{self._of_run}{_hash(self.lease)}_"

    @contextmanager
    def held(self, target: TableTarget, work: Workspace) -> Iterator[None]:
        """Own the tables; those of attempts that are over are dropped before, what is left of this one afterwards."""
        self._drop(target, work, self._of_run)
        try:
            with open_session(target, work) as session:
                session.lock(str(lock_of(self.table(0, 0).name)), self.run_id)
                yield
        finally:  # if this cannot drop what is left, the next attempt or a cleanup does
            with contextlib.suppress(DatapipeError):
                self._drop(target, Workspace(scratch=work.scratch), self._prefix)

    def _drop(self, target: TableTarget, work: Workspace, prefix: str) -> None:
        with open_session(target, work) as session:
            found = session.query(_TABLES, settings().internal_schema, prefix)
            locks = {str(name): lock for (name,) in found if (lock := lock_of(name)) is not None}
            free = {lock for lock in set(locks.values()) if session.lock(lock, self.run_id) is None}
            dead = [
                statements.drop_table(Table(n, settings().internal_schema)) for n, lock in locks.items() if lock in free
            ]
            if dead:
                session.begin()
                session.define(dead)
                with contextlib.suppress(CommitLost):
                    session.commit()


def lock_of(name: str) -> str | None:
    """The lock that the owner of a part's table holds, from the table's name; None for another table."""
    found = _NAME.fullmatch(name)
    return f"stages {found.group(1)}" if found else None


def refusal(target: Target | None, work: Workspace) -> str | None:
    """Why rows for a target cannot be staged by several workers; None if they can."""
    if target is None or isinstance(target, FileTarget):
        return "only tables of PostgreSQL are written by several workers"
    url = resolve(target.dest_db_url, target.destination, default="DEST_DB_URL", step=STEP)
    if url.driver != "postgresql":
        return "only tables of PostgreSQL are written by several workers"
    name, most = settings().internal_schema, settings().pool_size + settings().pool_overflow
    if most < _CONNECTIONS:
        return f"it needs {_CONNECTIONS} connections of the target's pool, and there may be {most}"
    with open_session(target, work) as session:
        may = session.query(_MAY, quote(name), name)[0][0]
    return None if may else f"the role may not create tables in {name}"


def stage(target: TableTarget, stream: Stream, work: Workspace, table: Table) -> tuple[int, tuple[Column, ...]]:
    """Write rows into a table of their own, which is there whole or not at all; how many, and the table's columns."""
    try:
        with open_session(target, work) as session:
            session.begin()
            place = session.place(Table(target.table_name, target.schema_))
            load = plan_load(session, target, stream.schema, lambda: ledger.has_created(session, place))
            session.define([statements.create_part(table, load.stage_columns)])
            rows = session.copy(table, load.stage_columns, load.sent_schema, sent(stream, load))
            work.cancel.check()
            _commit(session)
    except DatapipeError as error:
        raise error.at(STEP) from error.__cause__
    return rows, load.stage_columns


def merge(session: Session, load: Load, staged: Staged, work: Workspace) -> Loaded:
    """Take staged rows to the target. The caller has run the DDL, and commits."""
    if load.strategy is WriteStrategy.REPLACE:
        session.execute(statements.delete(load.table))
    _gather(session, load, staged)
    loaded = merge_stage(session, load, staged.rows, work)
    session.define([statements.drop_view(STAGE), *map(statements.drop_table, staged.tables)])
    return loaded


def _gather(session: Session, load: Load, staged: Staged) -> None:
    """Make one stage of several.

    Raises
    ------
    TransientError
        If they are not what they were when they were written.
    """
    if tuple(staged.columns) != load.stage_columns:
        raise TransientError("the target was altered while its rows were staged", hint="Try again")
    session.define([statements.create_stage_view(STAGE, load.stage_columns, staged.tables)])
    # Such tables are empty after a crash of the server, or on another one that has taken its place.
    there = int(session.scalar(f"SELECT COUNT(*) FROM {STAGE.sql}"))
    if there != staged.rows:
        raise TransientError(f"{staged.rows:,} rows were staged, and {there:,} are there", hint="Try again")


def drop_part(target: TableTarget, work: Workspace, table: Table) -> None:
    """Drop a part that nobody wants."""
    with open_session(target, work) as session:
        session.begin()
        session.define([statements.drop_table(table)])
        _commit(session)


def _commit(session: Session) -> None:
    try:
        session.commit()
    except CommitLost:
        raise TransientError("the connection broke while rows were staged", hint="Try again") from None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_HASHED]
