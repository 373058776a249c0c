"""Idempotency keys of runs whose effects no ledger sees: one run has a key, and keeps it once it has succeeded."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa

from datapipe.errors import PlanError
from datapipe.store.rows import RunRow
from datapipe.store.schema import KEYS, RUNS
from datapipe.store.store import RunStore, insert_into

_FREE = frozenset({"failed", "cancelled", "lost", "skipped"})  # of runs that have not done what the key stands for


def take_key(store: RunStore, key: str, run_id: str) -> RunRow | None:
    """Take a key for a run; the run that has it already, if that goes on or has succeeded.

    Parameters
    ----------
    key : str
        The user's own.

    Returns
    -------
    RunRow or None
        None if the key is this run's now.
    """
    hashed = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    while True:
        with store.writing() as conn:
            insert = insert_into(conn, KEYS)
            conn.execute(insert.values(key=hashed, run_id=run_id).on_conflict_do_nothing(index_elements=["key"]))
            holder = str(conn.scalar(sa.select(KEYS.c.run_id).where(KEYS.c.key == hashed)))
        if holder == run_id:
            return None
        row = _known(store, holder)
        if row is not None and row.state not in _FREE:
            return row
        with store.writing() as conn:
            alive = sa.exists().where(RUNS.c.id == holder, RUNS.c.state.not_in(_FREE))  # it may have been tried again
            found = (KEYS.c.key == hashed, KEYS.c.run_id == holder, ~alive)
            mine = KEYS.update().where(*found).values(run_id=run_id)
            if conn.execute(mine).rowcount:
                return None


def _known(store: RunStore, run_id: str) -> RunRow | None:
    try:
        return store.run(run_id)
    except PlanError:  # its record was removed
        return None
