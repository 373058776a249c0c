"""Requests with an idempotency key: each is answered once, and the same answer is given to its repetitions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from datapipe.errors import IdempotencyConflict, InProgress
from datapipe.store.schema import REQUESTS
from datapipe.store.store import RunStore, insert_into

KEPT = 86_400.0  # seconds that an answer is kept; a repetition after that is a request of its own
_ABANDONED = 60.0  # seconds after which whoever began to answer has died


@dataclass(frozen=True)
class Answer:
    """What was answered: the HTTP status, and the body as JSON values."""

    status: int
    body: Any


def take_request(store: RunStore, key: str, fingerprint: str, run_id: str) -> Answer | str:
    """The answer to a request that was made before; the id of the run to begin, if this one is the first.

    Parameters
    ----------
    key : str
        Of owner and caller, hashed.
    fingerprint : str
        Of what is requested, hashed.
    run_id : str
        A new id. Where somebody died while answering, the run's id is the one that was given then.

    Raises
    ------
    IdempotencyConflict
        If the key was used for another request.
    InProgress
        If the request is being answered right now.

    Examples
    --------
    >>> store = RunStore(sa.create_engine("sqlite://"))
    >>> take_request(store, "k", "f", "r1")
    'r1'
    >>> answer_request(store, "k", Answer(202, {"run_id": "r1"}))
    >>> take_request(store, "k", "f", "r2")
    Answer(status=202, body={'run_id': 'r1'})
    """
    with store.writing() as conn:
        conn.execute(REQUESTS.delete().where(REQUESTS.c.created < store.ago(KEPT)))
        values = {"key": key, "fingerprint": fingerprint, "run_id": run_id}
        times = {"created": store.ago(0), "taken": store.ago(0)}
        insert = insert_into(conn, REQUESTS).values(**values, **times)
        added = insert.on_conflict_do_nothing(index_elements=["key"]).returning(REQUESTS.c.run_id)
        if conn.execute(added).first() is not None:
            return run_id
        row = conn.execute(sa.select(REQUESTS).where(REQUESTS.c.key == key)).one()
        if row.fingerprint != fingerprint:
            hint = "Use a new key for each request, and the same one only to repeat it as it was"
            raise IdempotencyConflict("the Idempotency-Key was used for another request", hint=hint)
        if row.status is not None:
            return Answer(row.status, json.loads(row.answer))
        dead = (REQUESTS.c.key == key, REQUESTS.c.taken < store.ago(_ABANDONED))
        if conn.execute(REQUESTS.update().where(*dead).values(taken=store.ago(0))).rowcount:
            return str(row.run_id)
    raise InProgress("the same request is being answered right now", hint="Repeat it in a moment")


def answer_request(store: RunStore, key: str, answer: Answer) -> None:
    """Keep the answer for repetitions."""
    with store.writing() as conn:
        mine = REQUESTS.update().where(REQUESTS.c.key == key)
        conn.execute(mine.values(status=answer.status, answer=json.dumps(answer.body)))


def forget_request(store: RunStore, key: str) -> None:
    """Nothing came of a request: it may be made again, corrected."""
    with store.writing() as conn:
        conn.execute(REQUESTS.delete().where(REQUESTS.c.key == key, REQUESTS.c.status.is_(None)))
