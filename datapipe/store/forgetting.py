"""Old runs leave the record when somebody asks for it; nothing goes by itself."""

from __future__ import annotations

import sqlalchemy as sa

from datapipe.store.rows import FINAL
from datapipe.store.schema import KEYS, LOGS, PARTITIONS, RUNS, SHARES, STEPS
from datapipe.store.store import RunStore

_DAY = 86_400.0
_AT_ONCE = 500  # so that nobody who records a run waits for long


def old_runs(store: RunStore, days: float) -> int:
    """How many runs :func:`forget_runs` would remove."""
    with store.reading() as conn:
        return conn.scalar(sa.select(sa.func.count()).select_from(RUNS).where(_is_old(store, days))) or 0


def forget_runs(store: RunStore, days: float) -> int:
    """Remove runs that ended so long ago, with their steps and logs; how many.

    Those that have an idempotency key in the store itself (notebooks) stay: their record is what keeps them from being
    done twice. Loads of tables have theirs in the ledger beside the data, which is left alone.

    Parameters
    ----------
    days : float
        Since their end; of runs that were lost, since their last sign of life.
    """
    some = sa.select(RUNS.c.id).where(_is_old(store, days)).limit(_AT_ONCE)
    total = 0
    while True:
        with store.writing() as conn:
            found = list(conn.scalars(some))
            for table in (STEPS, LOGS, SHARES, PARTITIONS):
                conn.execute(table.delete().where(table.c.run_id.in_(found)))
            conn.execute(RUNS.delete().where(RUNS.c.id.in_(found), _is_old(store, days)))
        total += len(found)
        if len(found) < _AT_ONCE:
            return total


def _is_old(store: RunStore, days: float) -> sa.ColumnElement[bool]:
    last = sa.func.coalesce(RUNS.c.ended, RUNS.c.heartbeat, RUNS.c.created)
    needed = sa.select(KEYS.c.run_id)
    over = RUNS.c.state.in_((*FINAL, "lost"))
    return sa.and_(over, last < store.ago(days * _DAY), RUNS.c.id.not_in(needed))
