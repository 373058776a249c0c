"""What the run store knows of many runs at once: a few aggregates, whatever their number."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from datapipe.store.rows import FINAL
from datapipe.store.schema import RUNS
from datapipe.store.store import RunStore

STATES = (*sorted(FINAL), "queued", "running", "lost")
_DAY, _HOUR = 86_400.0, 3_600.0
_MOST = 1000  # running runs that are named
_SECONDS = {
    "sqlite": "(julianday(ended) - julianday(started)) * 86400.0",
    "postgresql": "extract(epoch from ended::timestamptz - started::timestamptz)::float8",
}


@dataclass(frozen=True)
class StateTotal:
    """All runs of one state.

    Parameters
    ----------
    seconds : float
        How long those that have ended took, together.
    """

    state: str
    runs: int = 0
    rows_read: int = 0
    rows_written: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class QueueLoad:
    """The runs that wait for a worker in one queue.

    Parameters
    ----------
    oldest : float
        Seconds that the first of them has waited.
    """

    queue: str
    runs: int
    oldest: float


@dataclass(frozen=True)
class WorkerLoad:
    """What one worker does, and has done in the last day.

    Parameters
    ----------
    active : tuple of str
        The ids of the runs that it has taken and not ended.
    heartbeat : str, optional
        The last sign of life of one of those.
    silence : float, optional
        Seconds since then.
    processed, succeeded, failed : int
        Its runs of the last day that have ended; ``processed`` has the cancelled and skipped ones, too.
    rows_per_second : float, optional
        Rows it read in the runs that ended within the last hour, by the time these took.
    """

    worker: str
    active: tuple[str, ...] = ()
    heartbeat: str | None = None
    silence: float | None = None
    processed: int = 0
    succeeded: int = 0
    failed: int = 0
    rows_per_second: float | None = None


def totals(store: RunStore) -> tuple[StateTotal, ...]:
    """One value for each state a run can have.

    Examples
    --------
    >>> store = RunStore(sa.create_engine("sqlite://"))
    >>> store.add("r1", state="queued")
    >>> [(total.state, total.runs) for total in totals(store) if total.runs]
    [('queued', 1)]
    """
    with store.reading() as conn:
        sums = [sa.func.sum(column) for column in (RUNS.c.rows_read, RUNS.c.rows_written, _seconds(conn))]
        found = conn.execute(sa.select(RUNS.c.state, sa.func.count(), *sums).group_by(RUNS.c.state)).all()
    known = {state: StateTotal(state, n, int(read), int(wrote), took or 0.0) for state, n, read, wrote, took in found}
    return tuple(known.get(state, StateTotal(state)) for state in STATES)


def queue_loads(store: RunStore) -> tuple[QueueLoad, ...]:
    """The queues in which runs wait, by name."""
    query = sa.select(RUNS.c.queue, sa.func.count(), sa.func.min(RUNS.c.queued), store.ago(0))
    waiting = query.where(RUNS.c.state == "queued", RUNS.c.queue.is_not(None), RUNS.c.queued.is_not(None))
    with store.reading() as conn:
        found = conn.execute(waiting.group_by(RUNS.c.queue).order_by(RUNS.c.queue)).all()
    return tuple(QueueLoad(queue, count, _between(first, now)) for queue, count, first, now in found)


def worker_loads(store: RunStore) -> tuple[WorkerLoad, ...]:
    """The workers of the last day, by name."""
    held = sa.select(RUNS.c.worker, RUNS.c.id, RUNS.c.heartbeat, store.ago(0).label("now"))
    held = held.where(RUNS.c.state.in_(("running", "lost")), RUNS.c.worker.is_not(None)).order_by(RUNS.c.started)
    with store.reading() as conn:
        active = _by_worker(conn.execute(held.limit(_MOST)).all())
        done = _by_worker(row for row in conn.execute(_of_today(store, conn)) if row.state in FINAL)
    return tuple(_worker_load(name, active.get(name, []), done.get(name, [])) for name in sorted({*active, *done}))


def _of_today(store: RunStore, conn: sa.Connection) -> sa.Select[Any]:
    recent = sa.case((RUNS.c.ended > store.ago(_HOUR), 1))
    sums = (sa.func.sum(recent * RUNS.c.rows_read).label("rows"), sa.func.sum(recent * _seconds(conn)).label("seconds"))
    query = sa.select(RUNS.c.worker, RUNS.c.state, sa.func.count().label("runs"), *sums)
    # Not by state: SQLite would then read all runs that have ever ended.
    today = (RUNS.c.created > store.ago(_DAY), RUNS.c.worker.is_not(None))
    return query.where(*today).group_by(RUNS.c.worker, RUNS.c.state)


def _by_worker(rows: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.worker].append(row)
    return found


def _worker_load(name: str, active: list[Any], done: list[Any]) -> WorkerLoad:
    counts = {row.state: row.runs for row in done}
    rows, seconds = sum(row.rows or 0 for row in done), sum(row.seconds or 0.0 for row in done)
    heartbeat = max((row.heartbeat for row in active if row.heartbeat), default=None)
    return WorkerLoad(
        name,
        active=tuple(row.id for row in active),
        heartbeat=heartbeat,
        silence=_between(heartbeat, active[0].now) if heartbeat else None,
        processed=sum(counts.values()),
        succeeded=counts.get("succeeded", 0),
        failed=counts.get("failed", 0),
        rows_per_second=float(rows) / seconds if seconds else None,
    )


def _seconds(conn: sa.Connection) -> sa.ColumnElement[float]:
    return sa.literal_column(_SECONDS[conn.dialect.name], sa.Float)


def _between(first: str, last: str) -> float:
    return (dt.datetime.fromisoformat(last) - dt.datetime.fromisoformat(first)).total_seconds()
