"""No more messages than Jupyter and its users bear."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from datapipe.jupyter.budget import Budget


@given(st.lists(st.tuples(st.floats(0.0, 0.5), st.integers(1, 12)), max_size=200))
def test_in_no_second_are_there_more(asked: list[tuple[float, int]]) -> None:
    now = 0.0
    budget = Budget(14, lambda: now)
    sent: list[tuple[float, int]] = []
    for pause, messages in asked:
        now += pause
        if budget.take(messages):
            sent.append((now, messages))
    for start, _ in sent:
        assert sum(count for time, count in sent if 0 <= time - start < 1.0) <= 14


def test_what_was_not_sent_may_be_sent_later() -> None:
    now = 0.0
    budget = Budget(10, lambda: now)
    assert budget.take(10) and not budget.take()
    now = 1.0
    assert budget.take(10)


def test_who_needs_much_room_is_not_starved_by_those_who_need_little() -> None:
    now = 0.0
    budget = Budget(10, lambda: now)
    large, larger = object(), object()
    assert budget.take(5)
    now = 0.5
    assert not budget.take(8, queued=large) and not budget.take(9, queued=larger)
    assert not budget.take(1), "there would be room, but it is not its turn"
    now = 1.0
    assert budget.take(8, queued=large) and not budget.take(1)
    budget.leave(larger)
    assert budget.take(1)


def test_what_must_be_sent_waits_only_so_long() -> None:
    clock = iter(range(100))
    budget = Budget(1, lambda: next(clock) / 10)
    assert budget.take()
    budget.wait(1, 0.3)
    budget.wait(1, 2.0)
    assert not budget.take()
