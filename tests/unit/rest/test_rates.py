"""Buckets of tokens: never more gets through than was agreed, and never less."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from datapipe.rest import rates
from datapipe.rest.rates import Rates

PAUSES = st.lists(st.floats(0, 90, allow_nan=False), max_size=60)


@given(st.integers(1, 20), PAUSES)
def test_never_more_than_a_bucket_and_what_has_flowed_in(per_minute: int, pauses: list[float]) -> None:
    now = 0.0
    bucket = Rates(per_minute, clock=lambda: now)
    through = 0
    for pause in pauses:
        now += pause
        through += bucket.wait("ann") == 0
        assert through <= per_minute + per_minute / 60 * now + 1e-6


@given(st.integers(1, 20), PAUSES)
def test_who_waits_as_long_as_told_gets_through(per_minute: int, pauses: list[float]) -> None:
    now = 0.0
    bucket = Rates(per_minute, clock=lambda: now)
    for pause in pauses:
        now += pause
        seconds = bucket.wait("ann")
        if seconds:
            assert seconds <= 60 / per_minute + 1e-6
            now += seconds + 1e-6
            assert bucket.wait("ann") == 0


def test_callers_do_not_share() -> None:
    bucket = Rates(1, clock=lambda: 0.0)
    assert [bucket.wait(name) == 0 for name in ("ann", "bob", "ann", "bob")] == [True, True, False, False]


def test_only_so_many_are_remembered(monkeypatch) -> None:
    monkeypatch.setattr(rates, "_MOST", 3)
    bucket = Rates(1, clock=lambda: 0.0)
    for name in "abcd":
        bucket.wait(name)
    assert list(bucket._buckets) == ["b", "c", "d"]
