"""No more messages than Jupyter and its users bear."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from datapipe.jupyter.budget import Budget


@given(st.lists(st.tuples(st.floats(0.0, 0.5), st.integers(1, 12)), max_size=200))
def test_in_no_second_are_there_twice_as_many(asked: list[tuple[float, int]]) -> None:
    now = 0.0
    budget = Budget(14, lambda: now)
    sent: list[tuple[float, int]] = []
    for pause, messages in asked:
        now += pause
        if budget.take(messages):
            sent.append((now, messages))
    for start, _ in sent:
        assert sum(count for time, count in sent if start <= time < start + 1.0) <= 28
    assert sum(count for _, count in sent) <= 14 * (1 + now) + 1e-6


def test_what_was_not_sent_may_be_sent_later() -> None:
    now = 0.0
    budget = Budget(10, lambda: now)
    assert budget.take(10) and not budget.take()
    now = 0.5
    assert budget.take(5) and not budget.take()
