"""Requests with a key, the same on SQLite and PostgreSQL: one is carried out, all others get its answer."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from datapipe.errors import IdempotencyConflict, InProgress
from datapipe.store import RunStore
from datapipe.store.requests import KEPT, Answer, answer_request, forget_request, take_request
from datapipe.store.schema import REQUESTS

ANSWER = Answer(202, {"run_id": "r1", "pipeline_id": "ü"})


def aged(store: RunStore, **columns: float) -> None:
    """Make all requests older, by so many seconds."""
    with store.writing() as conn:
        conn.execute(REQUESTS.update().values({name: store.ago(seconds) for name, seconds in columns.items()}))


def test_the_first_is_given_a_run_and_the_others_its_answer(store: RunStore) -> None:
    assert take_request(store, "k", "f", "r1") == "r1"
    answer_request(store, "k", ANSWER)
    for number in range(3):
        assert take_request(store, "k", "f", f"r{number + 2}") == ANSWER
    assert take_request(store, "other", "f", "r9") == "r9"


def test_another_request_is_a_conflict_whether_it_was_answered_or_not(store: RunStore) -> None:
    take_request(store, "k", "f", "r1")
    for _ in range(2):
        with pytest.raises(IdempotencyConflict):
            take_request(store, "k", "g", "r2")
        answer_request(store, "k", ANSWER)


def test_while_it_is_answered_it_is_in_progress(store: RunStore) -> None:
    take_request(store, "k", "f", "r1")
    with pytest.raises(InProgress):
        take_request(store, "k", "f", "r2")


def test_who_takes_over_from_the_dead_gets_the_same_run(store: RunStore) -> None:
    take_request(store, "k", "f", "r1")
    aged(store, taken=61)
    assert take_request(store, "k", "f", "r2") == "r1"
    with pytest.raises(InProgress):
        take_request(store, "k", "f", "r3")


def test_what_came_to_nothing_is_forgotten_and_what_was_answered_is_not(store: RunStore) -> None:
    take_request(store, "k", "f", "r1")
    forget_request(store, "k")
    assert take_request(store, "k", "g", "r2") == "r2"
    answer_request(store, "k", ANSWER)
    forget_request(store, "k")
    assert take_request(store, "k", "g", "r3") == ANSWER


def test_an_answer_is_kept_for_a_day(store: RunStore) -> None:
    take_request(store, "k", "f", "r1")
    answer_request(store, "k", ANSWER)
    aged(store, created=KEPT - 60)
    assert take_request(store, "k", "f", "r2") == ANSWER
    aged(store, created=KEPT + 60)
    assert take_request(store, "k", "g", "r3") == "r3"
    with store.reading() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(REQUESTS)) == 1


def test_of_many_at_once_one_is_carried_out(store: RunStore) -> None:
    names = [f"r{number}" for number in range(12)]
    barrier, taken, told = threading.Barrier(len(names)), [], []

    def take(name: str) -> None:
        barrier.wait()
        try:
            taken.append(take_request(store, "k", "f", name))
        except InProgress:
            told.append(name)

    threads = [threading.Thread(target=take, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1 and len(told) == 11 and taken[0] in names
