"""The run store: what people see of runs, and what a queue re-queues from. The ledger decides about effects."""

from __future__ import annotations

import atexit
import dataclasses
import json
import os
import socket
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Any
from weakref import WeakSet

import sqlalchemy as sa

from datapipe.errors import FatalError, PlanError, TransientError
from datapipe.store.rows import FINAL, Claim, LogRow, Note, RunRow, StepRow
from datapipe.store.schema import LOGS, META, RUNS, STEPS, VERSION, migrate, version_of

# The time so many seconds ago, by the store's clock.
_AGO = {
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-{} seconds')",
    "postgresql": (
        "to_char((clock_timestamp() - make_interval(secs => {})) AT TIME ZONE 'UTC', "
        """'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""
    ),
}
# SQLite's locks belong to a process: a child would take them for its own if a connection were open when it is forked.
_unforked = threading.RLock()
_kept: WeakSet[sa.Engine] = WeakSet()  # engines of SQLite, which keep a connection


def close_kept() -> None:
    """Close the connections to SQLite that nobody uses; they are opened again when they are needed."""
    for engine in list(_kept):
        engine.dispose()


def _before_fork() -> None:
    _unforked.acquire()  # nobody uses one from here on
    close_kept()


os.register_at_fork(before=_before_fork, after_in_parent=_unforked.release, after_in_child=_unforked.release)
atexit.register(close_kept)
_LOCK = 7_021_962_001  # any number, the same for every process
_QUIET = 3.0  # seconds without a sign of life after which a worker vouches for its process
_MOST_CHILDREN = 500
ELSEWHERE = "Set DATAPIPE_HOME to a folder you may write, or DATAPIPE_METADATA_URL"
SILENT = 60.0  # seconds without a sign of life after which a run counts as lost


class RunStore:
    """Runs, their steps and logs, in one database.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Of SQLite or PostgreSQL.

    Examples
    --------
    >>> store = RunStore(sa.create_engine("sqlite://"))
    >>> store.add("r1", state="queued", source="users", target="members")
    >>> store.change("r1", state="running"), store.run("r1").state
    (True, 'running')
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        if engine.dialect.name not in _AGO:
            hint = "Set DATAPIPE_METADATA_URL to a postgresql:// or sqlite:// URL"
            raise PlanError(f"runs cannot be recorded in {engine.dialect.name}", hint=hint)
        if engine.dialect.name == "sqlite":
            _kept.add(engine)
        self._now = self.ago(0)
        with self.reading() as conn:
            is_current = version_of(conn) == VERSION
        if not is_current:
            with self.writing() as conn:
                if engine.dialect.name == "postgresql":
                    conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
                migrate(conn)
        with self.reading() as conn:
            self.id = str(conn.scalar(sa.select(META.c.value).where(META.c.name == "store_id")))

    def ago(self, seconds: float) -> sa.ColumnElement[str]:
        """The time so many seconds ago, by the store's clock, as SQL."""
        return sa.literal_column(_AGO[self._engine.dialect.name].format(seconds))

    def add(self, run_id: str, *, state: str, **values: Any) -> None:
        """Record a run that is new; ``values`` are columns of the table of runs."""
        values = {"pipeline_id": run_id, "correlation_id": run_id, **_texts(values)}
        if parent := values.get("parent_run_id"):  # what a run begins belongs to whose it is itself
            others = sa.select(RUNS.c.owner).where(RUNS.c.id == parent).scalar_subquery()
            values["owner"] = sa.func.coalesce(others, values.get("owner"))
        if state == "running":
            values |= {"started": self._now, "heartbeat": self._now}
        if state == "queued":
            values |= {"queued": self._now}
        with self.writing() as conn:
            conn.execute(RUNS.insert().values(id=run_id, state=state, created=self._now, **values))

    def remove(self, run_id: str) -> bool:
        """Forget a run that could not be queued; False if it has begun all the same."""
        with self.writing() as conn:
            return conn.execute(RUNS.delete().where(RUNS.c.id == run_id, RUNS.c.state == "queued")).rowcount > 0

    def change(self, run_id: str, *, when: Collection[str] = (), lease: str | None = None, **values: Any) -> bool:
        """Change a run, if it is in one of the states ``when`` and under this ``lease``; whether it was.

        A run that becomes ``running`` starts, one that comes to a final state ends, by the store's clock.
        """
        with self.writing() as conn:
            return self._change(conn, run_id, when, lease, values)

    def claim(self, run_id: str, lease: str, **place: Any) -> Claim | None:
        """Take a queued run; None if it is not there to take. From now on only the lease's owner writes to it."""
        asker = sa.func.coalesce(RUNS.c.owner, place.pop("owner", None))  # whose run it is, whoever does it
        found = {"state": "running", "lease": lease, "reason": None, **place, "owner": asker}
        found |= {"started": sa.func.coalesce(RUNS.c.started, self._now), "heartbeat": self._now}
        taken = RUNS.update().where(RUNS.c.id == run_id, RUNS.c.state == "queued").values(**found)
        with self.writing() as conn:
            row = conn.execute(taken.returning(RUNS.c.pipeline_id, RUNS.c.message)).first()
        return Claim(row.pipeline_id, json.loads(row.message or "{}")) if row is not None else None

    def give_back(self, run_id: str, lease: str) -> bool:
        """Put a run that did not end back into the queue, as if it had never begun; whether it was ours."""
        with self.writing() as conn:
            return self._change(conn, run_id, ("running", "lost"), lease, self._unbegun())

    def _unbegun(self) -> dict[str, Any]:
        """What a run becomes that did not end: queued again, or cancelled if that was asked for."""
        asked = RUNS.c.cancel_requested.is_not(None)
        return {
            "state": sa.case((asked, "cancelled"), else_="queued"),
            "ended": sa.case((asked, self._now), else_=None),
            "queued": self._now,
            **dict.fromkeys(("lease", "worker", "process", "started")),
        }

    def lose(self, run_id: str, lease: str | None, cap: int, silent: float = 0.0) -> RunRow | None:
        """Count that a run's worker died, and put the run back; the one that has lost ``cap`` of them has failed.

        Parameters
        ----------
        lease : str, optional
            The dead worker's; without it the worker died before it took the run.
        silent : float
            Only if it has given no sign of life for so many seconds.

        Returns
        -------
        RunRow or None
            The run as it is now; None if it had ended, or somebody else has it.
        """
        when = ("running", "lost") if lease else ("queued",)
        with self.writing() as conn:
            quiet = (RUNS.c.heartbeat < self.ago(silent),) if silent else ()
            if not self._change(conn, run_id, when, lease, {**self._unbegun(), "losses": RUNS.c.losses + 1}, *quiet):
                return None
            if (conn.scalar(sa.select(RUNS.c.losses).where(RUNS.c.id == run_id)) or 0) >= cap:
                self._change(conn, run_id, (), None, {"state": "failed", **_poisoned(cap)})
        return self.run(run_id)

    def end(
        self, run_id: str, lease: str | None, steps: Iterable[StepRow], notes: Iterable[Note] = (), **values: Any
    ) -> bool:
        """Record a run's last steps and notes and how it ended, at once; whether it was under this lease."""
        with self.writing() as conn:
            ended = self._change(conn, run_id, ("running", "lost"), lease, values)
            if ended:
                _put_steps(conn, run_id, steps)
                self._say(conn, run_id, notes)
            return ended

    def _change(
        self,
        conn: sa.Connection,
        run_id: str,
        when: Collection[str],
        lease: str | None,
        values: Mapping[str, Any],
        *further: sa.ColumnElement[bool],
    ) -> bool:
        found = _texts(values)
        state = found.get("state")
        if isinstance(state, str):
            found |= self._times(state)
        conditions = [RUNS.c.id == run_id, *further]
        conditions += [RUNS.c.state.in_(when)] if when else []
        conditions += [RUNS.c.lease == lease] if lease else []
        return conn.execute(RUNS.update().where(*conditions).values(**found)).rowcount > 0

    def _times(self, state: str) -> dict[str, Any]:
        """The times that a state brings with it."""
        if state == "running":
            return {"started": sa.func.coalesce(RUNS.c.started, self._now), "heartbeat": self._now}
        if state == "queued":
            return {"queued": self._now}
        return {"ended": self._now} if state in FINAL else {}

    def beat(
        self, run_id: str, steps: Iterable[StepRow] = (), lease: str | None = None, notes: Iterable[Note] = ()
    ) -> bool:
        """A sign of life, with how far the steps are, and what there is to say since the last one.

        Returns
        -------
        bool
            Whether the run is to stop: somebody has asked for it, or has taken it over.
        """
        with self.writing() as conn:
            found = {"heartbeat": self._now, "state": "running", "reason": None}
            ours = [RUNS.c.lease == lease] if lease else []
            alive = RUNS.update().where(RUNS.c.id == run_id, RUNS.c.state.in_(("running", "lost")), *ours)
            if conn.execute(alive.values(**found)).rowcount:
                _put_steps(conn, run_id, steps)
                self._say(conn, run_id, notes)
            row = conn.execute(sa.select(RUNS.c.cancel_requested, RUNS.c.lease).where(RUNS.c.id == run_id)).first()
            return row is not None and (row.cancel_requested is not None or bool(lease and row.lease != lease))

    def vouch(self, worker: str, running: Mapping[str, int]) -> None:
        """A sign of life for the runs that a worker knows to be in its processes, which may be too busy to give one.

        Parameters
        ----------
        running : mapping of str to int
            The process of each run.
        """
        quiet = (RUNS.c.worker == worker, RUNS.c.state == "running", RUNS.c.heartbeat < self.ago(_QUIET))
        ours = (RUNS.c.id.in_(running), RUNS.c.process.in_(running.values()))
        with self.writing() as conn:
            conn.execute(RUNS.update().where(*quiet, *ours).values(heartbeat=self._now))

    def cancel(self, run_id: str) -> bool:
        """Ask a run to stop: one that is queued, or lost where no worker takes it up again, is cancelled at once.

        Returns
        -------
        bool
            Whether it had not ended yet.
        """
        abandoned = sa.and_(RUNS.c.state == "lost", RUNS.c.queue.is_(None))
        waits = sa.or_(RUNS.c.state == "queued", abandoned)
        values = {
            "cancel_requested": self._now,
            "state": sa.case((waits, "cancelled"), else_=RUNS.c.state),
            "ended": sa.case((waits, self._now), else_=RUNS.c.ended),
            "losses": RUNS.c.losses + sa.case((abandoned, 1), else_=0),  # it may have taken effect before
        }
        with self.writing() as conn:
            return self._change(conn, run_id, ("queued", "running", "lost"), None, values)

    def message(self, run_id: str) -> dict[str, Any] | None:
        """What a worker needs for a run; None for one that was never sent to workers."""
        with self.reading() as conn:
            found = conn.scalar(sa.select(RUNS.c.message).where(RUNS.c.id == run_id))
        return json.loads(found) if found else None

    def waiting(self, seconds: float, *, limit: int = 1000) -> list[RunRow]:
        """The runs that were put into a queue so long ago and are still not begun, the oldest first."""
        waits = (RUNS.c.state == "queued", RUNS.c.message.is_not(None), RUNS.c.queued < self.ago(seconds))
        return self._rows(sa.select(*_COLUMNS, self._now.label("now")).where(*waits).order_by(RUNS.c.queued), limit)

    def silent(self, seconds: float) -> list[RunRow]:
        """The runs of workers that have given no sign of life for so long."""
        dead = (RUNS.c.state.in_(("running", "lost")), RUNS.c.queue.is_not(None), RUNS.c.heartbeat < self.ago(seconds))
        return self._rows(sa.select(*_COLUMNS, self._now.label("now")).where(*dead), 1000)

    def queued_at(self, run_ids: Collection[str]) -> dict[str, str]:
        """When the runs among these that are known were put into their queue."""
        query = sa.select(RUNS.c.id, RUNS.c.queued).where(RUNS.c.id.in_(run_ids), RUNS.c.queued.is_not(None))
        with self.reading() as conn:
            return {row.id: row.queued for row in conn.execute(query)}

    def queued_again(self, run_id: str, queued: str) -> bool:
        """Note that a run is put into its queue once more, if nobody else has done it; whether it was ours to do."""
        condition = (RUNS.c.id == run_id, RUNS.c.state == "queued", RUNS.c.queued == queued)
        with self.writing() as conn:
            return conn.execute(RUNS.update().where(*condition).values(queued=self._now)).rowcount > 0

    def say(self, run_id: str, kind: str, message: str, step: str | None = None) -> None:
        """Add a line to a run's log."""
        with self.writing() as conn:
            self._say(conn, run_id, [Note(kind, message, step)])

    def _say(self, conn: sa.Connection, run_id: str, notes: Iterable[Note]) -> None:
        for note in notes:
            # A user's message may hold what no database takes as text.
            text = note.message.encode("utf-8", "replace").decode().replace("\0", "")
            values = {"kind": note.kind, "step": note.step, "message": text}
            conn.execute(LOGS.insert().values(run_id=run_id, time=self._now, **values))

    def run(self, run_id: str) -> RunRow:
        """A run with its steps.

        Raises
        ------
        PlanError
            If there is none of this id.
        """
        with self.reading() as conn:
            query = sa.select(*_COLUMNS, self._now.label("now")).where(RUNS.c.id == run_id)
            found = conn.execute(query).mappings().first()
            if found is None:
                raise PlanError(f"no run has the id {run_id!r}", hint="datapipe runs lists those there are")
            steps = conn.execute(sa.select(STEPS).where(STEPS.c.run_id == run_id).order_by(STEPS.c.number)).mappings()
            return _run(found, [StepRow(**{name: row[name] for name in _STEP_NAMES}) for row in steps])

    def runs(self, *, limit: int = 50, **wanted: str | None) -> list[RunRow]:
        """The latest runs, without their steps: all, or those of a ``state``, ``name``, ``fingerprint`` or ``kind``."""
        query = sa.select(*_COLUMNS, self._now.label("now")).order_by(RUNS.c.created.desc(), RUNS.c.id)
        conditions = (RUNS.c[name] == value for name, value in wanted.items() if value is not None)
        return self._rows(query.where(*conditions), limit)

    def children(self, run_id: str, known: Collection[str] = ()) -> list[RunRow]:
        """The latest runs that a run has begun, the oldest first, without those ``known``; running ones with steps."""
        own = (RUNS.c.parent_run_id == run_id, RUNS.c.id.not_in(list(known)[-_MOST_CHILDREN:]))
        query = sa.select(*_COLUMNS, self._now.label("now")).where(*own)
        found = self._rows(query.order_by(RUNS.c.created.desc(), RUNS.c.id.desc()), _MOST_CHILDREN)
        return [self.run(row.id) if row.state == "running" else row for row in reversed(found)]

    def ahead(self, run_id: str) -> int:
        """How many runs wait before one in its queue."""
        own = sa.select(RUNS.c.queue, RUNS.c.queued).where(RUNS.c.id == run_id).cte()
        waits = (RUNS.c.state == "queued", RUNS.c.queue == own.c.queue, RUNS.c.queued < own.c.queued)
        with self.reading() as conn:
            return conn.scalar(sa.select(sa.func.count()).select_from(RUNS.join(own, sa.true())).where(*waits)) or 0

    def of_pipeline(self, pipeline_id: str) -> RunRow | None:
        """The latest run of a pipeline."""
        query = sa.select(*_COLUMNS, self._now.label("now")).where(RUNS.c.pipeline_id == pipeline_id)
        found = self._rows(query.order_by(RUNS.c.created.desc()), 1)
        return found[0] if found else None

    def beginning(self, text: str) -> list[str]:
        """The ids that begin with a text; two at most."""
        with self.reading() as conn:
            return list(conn.scalars(sa.select(RUNS.c.id).where(RUNS.c.id.startswith(text, autoescape=True)).limit(2)))

    def _rows(self, query: sa.Select[Any], limit: int) -> list[RunRow]:
        with self.reading() as conn:
            return [_run(row) for row in conn.execute(query.limit(limit)).mappings()]

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection without a transaction: SQLite's would wait for writers."""
        with self._guard(), _named(), self._engine.connect() as conn:
            yield conn.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A connection in a transaction, which is committed at the end."""
        with self._guard(), _named(), self._engine.begin() as conn:
            yield conn

    def _guard(self) -> AbstractContextManager[Any]:
        return _unforked if self._engine.dialect.name == "sqlite" else nullcontext()

    def logs(self, run_id: str, *, after: int = 0, first: int | None = None, last: int | None = None) -> list[LogRow]:
        """The lines of a run's log that are younger than one; only the ``first``, or the ``last``, so many of them."""
        query = sa.select(LOGS).where(LOGS.c.run_id == run_id, LOGS.c.id > after)
        ordered = query.order_by(LOGS.c.id if last is None else LOGS.c.id.desc()).limit(first or last)
        with self.reading() as conn:
            found = [LogRow(row.id, row.time, row.kind, row.step, row.message) for row in conn.execute(ordered)]
        return found if last is None else found[::-1]

    def find_lost(self) -> int:
        """Mark runs that have given no sign of life for a minute, or whose process is gone, as lost; how many.

        Those of workers are queued again as soon as a worker lives.
        """
        here = sa.and_(
            RUNS.c.host == socket.gethostname(), RUNS.c.worker.is_(None), RUNS.c.heartbeat < self.ago(_QUIET)
        )
        running = RUNS.c.state == "running"
        silent = RUNS.c.heartbeat < self.ago(SILENT)
        query = sa.select(RUNS.c.id, RUNS.c.process, silent.label("silent")).where(running, sa.or_(silent, here))
        with self.reading() as conn:
            found = conn.execute(query).all()
        lost = {row.id: f"no sign of life for {SILENT:.0f} s" for row in found if row.silent}
        lost |= {row.id: "its process has ended" for row in found if not row.silent and not _is_alive(row.process)}
        return sum(self._lose(run_id, reason) for run_id, reason in lost.items())

    def _lose(self, run_id: str, reason: str) -> int:
        dead = sa.and_(RUNS.c.id == run_id, RUNS.c.state == "running", RUNS.c.heartbeat < self.ago(min(_QUIET, SILENT)))
        with self.writing() as conn:
            return conn.execute(RUNS.update().where(dead).values(state="lost", reason=reason)).rowcount


def _is_alive(process: int | None) -> bool:
    """Whether a process of this machine may still be there."""
    try:
        os.kill(process or 0, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


@contextmanager
def _named() -> Iterator[None]:
    """The errors of SQLAlchemy as ours."""
    try:
        yield
    except sa.exc.IntegrityError:
        raise PlanError("a run with this id is recorded already", hint="Take another id") from None
    except sa.exc.SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise TransientError(f"the run store fails: {reason}", hint=ELSEWHERE) from None


def _texts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of columns, with mappings and lists as JSON."""
    return {name: json.dumps(value) if isinstance(value, (dict, list)) else value for name, value in values.items()}


def insert_into(conn: sa.Connection, table: sa.Table) -> Any:
    """An insert in the dialect of a connection, which knows ``ON CONFLICT``; that of another one is not loaded."""
    return import_module(f"sqlalchemy.dialects.{conn.dialect.name}").insert(table)


def _put_steps(conn: sa.Connection, run_id: str, steps: Iterable[StepRow]) -> None:
    rows = [{"run_id": run_id, **vars(step)} for step in steps]
    if rows:
        insert = insert_into(conn, STEPS)
        newest = {name: insert.excluded[name] for name in _STEP_NAMES if name != "number"}
        conn.execute(insert.on_conflict_do_update(index_elements=["run_id", "number"], set_=newest), rows)


def _poisoned(cap: int) -> dict[str, Any]:
    error = FatalError(
        f"the run was given up: {cap} workers died with it",
        hint="See the workers' logs for what ended them, such as too little memory; .retry() queues it again. "
        "Whether an attempt took effect before its worker died, the ledger beside the data knows",
    )
    return {"reason": f"worker_lost_{cap}x", "error": error.to_dict()}


_COLUMNS = [column for column in RUNS.columns if column.name != "message"]
_STEP_NAMES = [field.name for field in dataclasses.fields(StepRow)]


def _run(row: Any, steps: Sequence[StepRow] = ()) -> RunRow:
    values = dict(row)
    for name in ("result", "error", "outline"):
        values[name] = json.loads(values[name]) if values[name] else None
    values["outline"] = tuple((verb, what, where) for verb, what, where in values["outline"] or ())
    return RunRow(**values, steps=tuple(steps))
