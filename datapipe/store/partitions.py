"""The partitions of one run, which several workers take one after the other: each is done by one, and counts once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from datapipe.store.schema import PARTITIONS, RUNS, SHARES
from datapipe.store.store import RunStore

SILENT = 10.0  # seconds without a sign of life after which a partition is taken over by the run's own worker


@dataclass(frozen=True)
class Part:
    """A partition that somebody is at, from 1, and for the how manieth time."""

    number: int
    attempt: int


@dataclass(frozen=True)
class Board:
    """The partitions of a run, as one of its workers sees them.

    Parameters
    ----------
    store : RunStore
    run_id : str
    lease : str
        Of the worker that has the run: with it, the partitions are this attempt's and no other's.
    holder : str
        Who asks; the lease itself for the worker that has the run.
    """

    store: RunStore
    run_id: str
    lease: str
    holder: str

    @property
    def leads(self) -> bool:
        """Whether this is the worker that has the run."""
        return self.holder == self.lease

    def open(self, count: int, about: Mapping[str, Any]) -> None:
        """Lay the partitions out; what an earlier attempt has left is forgotten."""
        rows = [{"run_id": self.run_id, "number": n, "state": "waiting", "tries": 0} for n in range(1, count + 1)]
        with self.store.writing() as conn:
            _forget(conn, self.run_id)
            conn.execute(SHARES.insert().values(run_id=self.run_id, lease=self.lease, about=json.dumps(dict(about))))
            conn.execute(PARTITIONS.insert(), rows)

    def close(self) -> None:
        """Forget the partitions, so that nobody goes on with them."""
        with self.store.writing() as conn:
            if conn.scalar(sa.select(SHARES.c.lease).where(SHARES.c.run_id == self.run_id)) == self.lease:
                _forget(conn, self.run_id)

    def take(self) -> Part | None:
        """The next partition: one that nobody has tried; for the run's own worker also one whose holder is silent."""
        known = PARTITIONS.c
        free = sa.and_(known.state == "waiting", known.tries == 0)
        if self.leads:
            silent = sa.and_(known.state == "running", known.heartbeat < self.store.ago(SILENT))
            free = sa.or_(known.state == "waiting", silent)
        while True:
            with self.store.writing() as conn:
                first = sa.select(sa.func.min(known.number)).where(known.run_id == self.run_id, free, self._ours)
                number = conn.scalar(first)
                if number is None:
                    return None
                taken = PARTITIONS.update().where(known.run_id == self.run_id, known.number == number, free, self._ours)
                values = {"state": "running", "holder": self.holder, "heartbeat": self.store.ago(0)}
                row = conn.execute(taken.values(tries=known.tries + 1, **values).returning(known.tries)).first()
            if row is not None:
                return Part(number, row.tries)

    def beat(self, part: Part) -> bool:
        """A sign of life of a partition's holder; whether it is to go on: nobody has stopped the run, or taken over."""
        values = {"heartbeat": self.store.ago(0)}
        with self.store.writing() as conn:
            mine = conn.execute(self._mine(part).values(**values)).rowcount > 0
            asked = sa.select(RUNS.c.cancel_requested).where(RUNS.c.id == self.run_id, RUNS.c.lease == self.lease)
            row = conn.execute(asked).first()
            return mine and row is not None and row.cancel_requested is None

    def done(self, part: Part, outcome: Mapping[str, Any]) -> bool:
        """Record what came of a partition; False if somebody else has it now."""
        values = {"state": "done", "outcome": json.dumps(dict(outcome))}
        with self.store.writing() as conn:
            return conn.execute(self._mine(part).values(**values)).rowcount > 0

    def give_back(self, part: Part) -> None:
        """Leave a partition to the run's own worker."""
        with self.store.writing() as conn:
            conn.execute(self._mine(part).values(state="waiting", holder=None))

    def outcomes(self) -> dict[int, Any]:
        """What came of those that are done, by number."""
        query = sa.select(PARTITIONS.c.number, PARTITIONS.c.outcome)
        done = query.where(PARTITIONS.c.run_id == self.run_id, PARTITIONS.c.state == "done", self._ours)
        with self.store.reading() as conn:
            return {row.number: json.loads(row.outcome) for row in conn.execute(done)}

    @property
    def _ours(self) -> sa.ColumnElement[bool]:
        return sa.exists().where(SHARES.c.run_id == self.run_id, SHARES.c.lease == self.lease)

    def _mine(self, part: Part) -> sa.Update:
        known = PARTITIONS.c
        mine = (known.run_id == self.run_id, known.number == part.number, known.tries == part.attempt)
        return PARTITIONS.update().where(*mine, known.state == "running", known.holder == self.holder, self._ours)


def shared_about(store: RunStore, run_id: str) -> tuple[str, dict[str, Any]] | None:
    """The lease of a run that is shared among workers, and what they need to know of it; None if it is not shared."""
    with store.reading() as conn:
        row = conn.execute(sa.select(SHARES.c.lease, SHARES.c.about).where(SHARES.c.run_id == run_id)).first()
    return (row.lease, json.loads(row.about)) if row is not None else None


def leave(store: RunStore, holder: str) -> None:
    """Leave to the runs' own workers what somebody was at who died."""
    held = (PARTITIONS.c.holder == holder, PARTITIONS.c.state == "running")
    with store.writing() as conn:
        conn.execute(PARTITIONS.update().where(*held).values(state="waiting", holder=None))


def _forget(conn: sa.Connection, run_id: str) -> None:
    conn.execute(PARTITIONS.delete().where(PARTITIONS.c.run_id == run_id))
    conn.execute(SHARES.delete().where(SHARES.c.run_id == run_id))
