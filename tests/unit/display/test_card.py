"""A run as a card: what it says, what a sanitiser leaves of it, how large it is, what it never says."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from datapipe.display import ErrorView, LogLine, RunView, StepView, live_card, run_card, run_card_text
from datapipe.display.picture import run_picture

DONE = StepView(
    "ingestion", "read", "table users on crm", "In[1]:1", "done", 0, 1000, total=1000, begun=0.1, seconds=2.0
)
APPLY = StepView("transformation step 1 (code)", "apply", "clean per batch", "In[1]:2", "running", 900, 800, begun=0.2)
WRITE = StepView("persistence", "write", "append into table members on mart", "In[1]:3")
RUNNING = RunView(
    "7d7d5f5c-8a5f-4a1c-9d0a-1f0e6a2f3b11",
    "running",
    "table users on crm",
    "table members on mart",
    "daily",
    steps=(dataclasses.replace(DONE, state="running", rows_out=900), APPLY, WRITE),
    elapsed=9.0,
    pace=tuple((float(s), 100 * s) for s in range(10)),
)
ERROR = ErrorView(
    "DataError",
    "function 'clean' failed",
    "transformation step 1 (code)",
    "Correct it",
    17,
    "price",
    "In[1]:5 in clean",
    "--> 5 return float(x)",
    {"price": "n/a", "id": "17"},
    "Traceback (most recent call last):\n  everything",
)
FAILED = dataclasses.replace(
    RUNNING, state="failed", error=ERROR, steps=(DONE, dataclasses.replace(APPLY, state="failed"), WRITE)
)


def view(state: str, **values: Any) -> RunView:
    return dataclasses.replace(RUNNING, state=state, **values)


def test_a_running_card_says_where_it_is_and_how_long_it_takes() -> None:
    for shown in (run_card(RUNNING), run_card_text(RUNNING)):
        assert "▶ RUNNING daily" in shown
        assert "at step 1 of 1: apply clean per batch" in shown
        assert "900 of 1,000 rows · 100 rows/s · ETA 0:01 · 0:09 so far" in shown
        assert "In[1]:2" in shown
    assert '<progress value="0.9000" max="1"' in run_card(RUNNING)


def test_a_bar_has_no_end_where_the_number_of_rows_is_unknown_and_only_where_it_is_replaced() -> None:
    steps = (dataclasses.replace(RUNNING.steps[0], total=None), *RUNNING.steps[1:])
    unknown = view("running", steps=steps)
    assert "<progress title=" in live_card(unknown, headed=False)
    assert "<progress" not in run_card(unknown), "it would move in a file for ever"


def test_a_failed_card_has_everything_to_mend_it() -> None:
    for shown in (run_card(FAILED), run_card_text(FAILED)):
        for part in (
            "✗ FAILED daily",
            "at step 1 of 1: apply clean per batch",
            "DataError: function",
            "Next: Correct it",
            "Row 17 of what came into the step, column price",
            "In[1]:5 in clean",
            "return float(x)",
            "n/a",
            "The target is unchanged",
            "✗ failed",
        ):
            assert part in shown
    assert "<details><summary>Full traceback</summary>" in run_card(FAILED)
    assert "everything" not in run_card_text(FAILED), "a terminal shows the traceback itself"


def test_what_was_rolled_back_is_counted() -> None:
    steps = (DONE, dataclasses.replace(WRITE, rows_in=700, state="failed"))
    assert "The target is unchanged: 700 rows rolled back." in run_card(dataclasses.replace(FAILED, steps=steps))
    unknown = dataclasses.replace(ERROR, kind="OutcomeUnknown")
    assert "not known" in run_card(dataclasses.replace(FAILED, error=unknown))


def test_a_cancelled_card_is_neutral() -> None:
    card = run_card(view("cancelled"))
    assert "■ CANCELLED daily" in card and "The target is unchanged." in card and "900 rows read" in card
    assert "■ stopped" in card
    assert "#c62828" not in card, "red is for failures"


def test_a_queued_card_says_how_many_are_before_it() -> None:
    assert "2 runs before it" in run_card(view("queued", steps=(), ahead=2))
    assert "next in its queue" in run_card_text(view("queued", steps=(), ahead=0))


def test_silence_is_told_and_a_bar_does_not_pretend() -> None:
    assert "no sign of life" not in run_card(view("running", silence=3.0))
    assert "⚠ no sign of life for 34.0 s" in run_card(view("running", silence=34.0))
    lost = run_card(view("lost", reason="no sign of life for a minute"))
    assert "⚠ LOST" in lost and "<progress" not in lost


def test_a_succeeded_card_has_a_picture_with_words() -> None:
    steps = tuple(dataclasses.replace(step, state="done", begun=0.0, seconds=8.0) for step in RUNNING.steps)
    done = view("succeeded", steps=steps, rows_written=900)
    card = run_card(done)
    assert "✓ SUCCEEDED daily" in card and "900 written" in card
    assert '<img src="data:image/svg+xml;base64,' in card
    picture = run_picture(done)
    assert picture is not None and picture[1] == "rows per second over the 9.0 s of the run, at most 100"
    assert picture[1] in card
    assert card.count('<div title="from 0.0 s to 8.0 s"') == 3, "each step in the time of the run"
    assert run_picture(dataclasses.replace(done, elapsed=0.2)) is None, "too short to see anything"


def test_everything_from_outside_is_escaped() -> None:
    bad = "<script>alert(1)</script>"
    step = StepView(bad, bad, bad, bad, "running", 1, 1, begun=0.0, seconds=5.0)
    error = ErrorView(bad, bad, bad, bad, 1, bad, bad, bad, {bad: bad}, bad)
    shown = RunView(bad, "failed", bad, bad, bad, bad, (step,), 5.0, (), (LogLine(bad, bad),) * 9, error, place=bad)
    card = run_card(shown)
    assert "<script" not in card and "&lt;script" in card


TAGS = "div b small table caption thead tbody tr th td pre progress details summary img code"


@pytest.mark.parametrize("state", ["queued", "running", "cancelling", "succeeded", "failed", "cancelled", "lost"])
def test_only_what_a_sanitiser_keeps_is_used(state: str) -> None:
    card = run_card(view(state, error=ERROR if state == "failed" else None))
    assert set(re.findall(r"<([a-z0-9]+)", card)) <= set(TAGS.split())
    attributes = set(re.findall(r"\s([a-z-]+)=\"", card))
    assert attributes <= {"style", "scope", "title", "value", "max", "src", "alt", "open"}
    assert not re.search(
        r"(?<!-)color:(?!\s*transparent)", re.sub(r"background-color:|border[a-z-]*:[^;\"]*", "", card)
    )
    assert "var(" not in card


@pytest.mark.parametrize(("character", "most"), [("a", 50_000), ("ü", 100_000), ("<", 200_000)])
def test_a_card_is_never_large(character: str, most: int) -> None:
    long = character * 100_000
    short = long[:60]
    step = StepView(long, "sql", long, short, "done", 10**12, 10**12, 10**9, 10**12, 0.0, 5.0)
    cells = {f"{number} {short}": long for number in range(500)}
    error = ErrorView(long, long, long, long, 1, short, short, long, cells, long)
    notes = tuple(LogLine("12:00:00", f"{i} {long}") for i in range(500))
    pace = tuple((s / 10, s * 1000) for s in range(200))
    shown = RunView("r", "failed", short, short, long, short, (step,) * 100, 9.0, pace, notes, error)
    assert len(run_card(shown).encode()) < most
    few = dataclasses.replace(shown, steps=(step,) * 10)
    assert len(run_card(few).encode()) < most


def test_a_text_moves_no_cursor() -> None:
    error = dataclasses.replace(ERROR, message="two\nlines \x1b]0;title\x07 \ud800\u202e")
    text = run_card_text(dataclasses.replace(FAILED, error=error, name="\x1b[31mred"))
    assert "two\nlines \\x1b]0;title\\x07 \\ud800\\u202e" in text and "\\x1b[31mred" in text
