"""The partitions of a run in both kinds of run store: each is held by one worker, and counts once."""

from __future__ import annotations

import threading
import time

import pytest

from datapipe.store import Board, Part, RunStore, shared_about
from datapipe.store import partitions as module

LEASE = "lease-1"


@pytest.fixture
def leader(store: RunStore) -> Board:
    store.add("r", state="queued", queue="q", message={})
    store.claim("r", LEASE, worker="w1")
    board = Board(store, "r", LEASE, LEASE)
    board.open(4, {"snapshot": "s"})
    return board


def helper(board: Board, name: str = "h") -> Board:
    return Board(board.store, board.run_id, board.lease, name)


def test_all_are_taken_once_in_order(leader):
    assert shared_about(leader.store, "r") == (LEASE, {"snapshot": "s"})
    taken = [board.take() for board in (leader, helper(leader), leader, helper(leader), leader, helper(leader))]
    assert taken == [Part(1, 1), Part(2, 1), Part(3, 1), Part(4, 1), None, None]


def test_workers_that_take_at_the_same_time_get_different_ones(leader):
    leader.open(60, {})
    taken: list[int] = []

    def work(name: str) -> None:
        board = helper(leader, name)
        while part := board.take():
            taken.append(part.number)
            assert board.done(part, {})

    threads = [threading.Thread(target=work, args=(f"h{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(1, 61))
    assert len(leader.outcomes()) == 60


def test_what_a_helper_gives_back_is_only_the_leaders(leader):
    other = helper(leader)
    part = other.take()
    other.give_back(part)
    assert helper(leader, "h2").take() == Part(2, 1)
    assert leader.take() == Part(1, 2)
    assert not other.done(part, {})  # its time is over


def test_a_silent_helper_loses_its_partition_to_the_leader(leader, monkeypatch):
    other = helper(leader)
    part = other.take()
    monkeypatch.setattr(module, "SILENT", 0.2)
    time.sleep(0.5)
    assert helper(leader, "h2").take() == Part(2, 1)
    assert leader.take() == Part(1, 2)
    assert not other.beat(part) and not other.done(part, {"rows": 1})
    assert leader.done(Part(1, 2), {"rows": 2}) and leader.outcomes() == {1: {"rows": 2}}


def test_a_sign_of_life_tells_whether_to_go_on(leader):
    other = helper(leader)
    part = other.take()
    assert other.beat(part)
    leader.store.cancel("r")
    assert not other.beat(part)


def test_a_new_attempt_begins_anew_and_the_old_one_ends(leader):
    other = helper(leader)
    part = other.take()
    again = Board(leader.store, "r", "lease-2", "lease-2")
    again.open(2, {"snapshot": "t"})
    assert not other.beat(part) and not other.done(part, {}) and other.take() is None
    leader.close()  # of an attempt that is over
    assert [again.take(), again.take(), again.take()] == [Part(1, 1), Part(2, 1), None]
    again.close()
    assert shared_about(leader.store, "r") is None
