"""A run at one moment: how fast it is, how long it still takes, and what is not told."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapipe.display import RunView, StepView, aged, paced
from datapipe.display.words import duration, rate


def reading(rows: int, total: int | None, elapsed: float, pace: tuple[tuple[float, int], ...]) -> RunView:
    step = StepView("ingestion", "read", rows_out=rows, total=total, state="running")
    return RunView("r", "running", steps=(step,), elapsed=elapsed, pace=pace)


def steady(rate_: int, seconds: int) -> tuple[tuple[float, int], ...]:
    return tuple((float(second), rate_ * second) for second in range(seconds + 1))


def test_speed_is_that_of_the_last_seconds_and_foretells_the_end() -> None:
    pace = (*steady(1000, 10), *((10.0 + s, 10_000 + 500 * s) for s in range(1, 11)))
    view = reading(15_000, 20_000, 20.0, pace)
    assert view.speed == pytest.approx(500)
    assert view.left == pytest.approx(10)
    assert view.share == 0.75


def test_nothing_is_foretold_early_or_without_a_total() -> None:
    assert reading(1000, 10_000, 1.0, steady(1000, 1)).left is None, "before two seconds"
    assert reading(3000, 100_000, 3.0, steady(1000, 3)).left is None, "before a twentieth"
    assert reading(3000, None, 3.0, steady(1000, 3)).left is None
    assert reading(10_000, 10_000, 10.0, steady(1000, 10)).left is None, "all are read"


def test_a_run_that_stalls_gets_slower_while_it_is_looked_at() -> None:
    view = reading(10_000, 20_000, 10.0, steady(1000, 10))
    later = aged(view, 5.0)
    assert (view.speed, later.elapsed) == (pytest.approx(1000), 15.0)
    assert later.speed == pytest.approx(500)


def test_what_has_ended_grows_no_older() -> None:
    ended = dataclasses.replace(reading(10, 10, 2.0, ()), state="succeeded")
    assert aged(ended, 60.0) is ended
    assert ended.speed == 5


def test_silence_grows_with_time() -> None:
    view = dataclasses.replace(reading(10, 100, 2.0, ()), silence=3.0)
    assert aged(view, 10.0).silence == 13.0


@given(st.lists(st.tuples(st.floats(0.01, 3.0), st.integers(0, 5000)), max_size=400))
def test_points_are_few_in_order_and_the_last_ones_are_kept(moves: list[tuple[float, int]]) -> None:
    pace: tuple[tuple[float, int], ...] = ()
    now, rows = 0.0, 0
    for seconds, more in moves:
        now, rows = now + seconds, rows + more
        pace = paced(pace, now, rows)
    assert len(pace) <= 200
    assert list(pace) == sorted(pace)
    if pace:
        assert pace[-1][1] <= rows
        assert rows - pace[-1][1] <= 20 * 5000, "a point that is left out was within 0.2 s"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 ms"), (0.9996, "1.0 s"), (59.96, "60.0 s"), (60, "1:00"), (3600, "1:00:00")]
)
def test_times_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("speed", "text"),
    [(0, "0 rows/s"), (999.6, "1e+03 rows/s"), (1000, "1,000 rows/s"), (1_234_567, "1,230,000 rows/s")],
)
def test_speeds_have_three_digits(speed: float, text: str) -> None:
    assert rate(speed) == text.replace("1e+03", "1,000")
