"""The card of a notebook's run: its cells, the pipelines within them, its outputs; what is told, what is left out."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapipe.display import (
    ErrorView,
    LogLine,
    RunView,
    StepView,
    aged,
    ended_card,
    facts,
    live_card,
    notebooks,
    run_card,
    run_card_text,
)
from datapipe.display.inside import listings
from datapipe.display.terminal import bars_of, terminal

CELLS, SECONDS = 12, 2.0
TITLES = {5: "Load the flights", 6: "Check the delays"}


def cells(done: int, state: str = "waiting", count: int = CELLS) -> tuple[StepView, ...]:
    """So many cells are done, and the next one is in a state."""
    return tuple(
        _cell(place, "done" if place < done else state if place == done else "waiting") for place in range(count)
    )


def _cell(place: int, state: Any) -> StepView:
    name, begun = f"cell {place + 1}", None if state == "waiting" else place * SECONDS
    took = SECONDS if state in {"done", "failed"} else None
    where = "" if state == "waiting" else f"In[{place + 1}]"
    title = TITLES.get(place + 1, f"Title {place + 1}")
    return StepView(name, name, title, where, state, begun=begun, seconds=took, busy=took)


def child(number: int, state: str = "succeeded", **values: Any) -> RunView:
    """The run of a plan."""
    done: Any = "done" if state == "succeeded" else "waiting" if state == "queued" else "running"
    read = 0 if state == "queued" else 1000 if state == "succeeded" else 250
    steps = (
        StepView("ingestion", "read", "files", state=done, rows_out=read, total=1000),
        StepView("transformation step 1 (code)", "apply", "clean", state=done, rows_in=read, rows_out=read),
        StepView("persistence", "write", "gold", state="done" if done == "done" else "waiting"),
    )
    known: dict[str, Any] = {"steps": steps, "elapsed": 5.0, "rows_written": 990 if state == "succeeded" else 0}
    return RunView(f"{number:08}-aaaa", state, f"source {number}", f"target {number}", **{**known, **values})


RUNNING = RunView(
    "7d7d5f5c-8a5f-4a1c-9d0a-1f0e6a2f3b11",
    "running",
    "jobs/daily.ipynb",
    name="daily",
    steps=cells(4, "running"),
    elapsed=42.1,
    place="worker-2",
    kind="notebook",
)
ERROR = ErrorView(
    "KeyError",
    "'carrier'",
    "cell 5",
    "Check the columns",
    place="In[5]:2",
    code="  1 flights = load()\n--> 2 flights['carrier']",
    traceback="Traceback (most recent call last):\n  everything",
)


def view(state: str = "running", **values: Any) -> RunView:
    return dataclasses.replace(RUNNING, state=state, **values)


def both(shown: RunView) -> tuple[str, str]:
    """The card as text, and what there is to read on the one of HTML."""
    html = re.sub(r"<[^>]+>", "\n", run_card(shown))
    return run_card_text(shown), html.replace("&#x27;", "'").replace("&gt;", ">")


def test_a_queued_notebook_waits() -> None:
    for shown in both(view("queued", steps=cells(0), ahead=2, elapsed=75, place="")):
        assert "⏳ QUEUED daily" in shown and "2 runs before it" in shown
        assert "waiting for 1:15" in shown and "jobs/daily.ipynb" in shown


def test_before_the_first_cell_its_kernel_starts() -> None:
    for shown in both(view(steps=cells(0), elapsed=1.0)):
        assert "its kernel starts" in shown and "0 of 12 cells · 0:01 so far" in shown
    for shown in both(view("failed", steps=cells(0))):
        assert "before its first cell" in shown and "kernel starts" not in shown
    for shown in both(view(steps=())):
        assert "cell" not in shown, "nothing is known of them"


def test_a_running_card_says_which_cell_and_how_many_are_done() -> None:
    for shown in both(RUNNING):
        for part in (
            "▶ RUNNING daily",
            "run 7d7d5f5c",
            "cell 5 of 12: Load the flights",
            "on worker-2",
            "4 of 12 cells · 0:42 so far",
            "In[5]",
            "▶ running",
            "· waiting",
        ):
            assert part in shown
        assert "at cell" not in shown and "rows" not in shown
        assert "0:34" in shown, "the cell has a clock: it has begun 8 s after the run"
    assert '<progress value="0.3333" max="1"' in run_card(RUNNING)


def test_the_pipeline_that_runs_now_has_its_own_progress() -> None:
    pace = tuple((float(second), 50 * second) for second in range(6))
    found = view(children=(child(1), child(2, "running", pace=pace)))
    for shown in both(found):
        assert "▶ source 2 → target 2 · step 1 of 1: apply clean · 250 of 1,000 rows · 50 rows/s · ETA 0:15" in shown
        assert "1,000 → 990" in shown and "✓ succeeded" in shown and "00000001" in shown
        assert "250 of 1,000" in shown and "▶ running at step 1 of 1: apply clean" in shown
    assert re.findall(r'<progress value="([\d.]+)"', run_card(found)) == ["0.3333", "0.2500"]
    assert "⏳ source 3 → target 3 · waiting for 5.0 s" in run_card_text(view(children=(child(3, "queued"),)))
    assert facts.nested(view(children=(child(1), child(2, "failed")))) == ""


def test_what_runs_is_told_rather_than_what_waits() -> None:
    found = view(children=(child(1, "running"), child(2, "queued")))
    assert notebooks.current(found) is found.children[0]
    assert notebooks.current(dataclasses.replace(found, state="failed")) is None


def test_a_share_only_grows() -> None:
    shares = [facts.share(view(steps=cells(done, "running"))) for done in range(CELLS)]
    assert shares == sorted(shares) and shares[0] == 0
    assert facts.share(view("succeeded", steps=cells(CELLS))) == 1
    assert facts.share(view(steps=())) is None


def test_a_succeeded_card_has_its_outputs_in_a_line() -> None:
    outputs = (("rows", "842"), ("report", "12 rows by 4 columns"))
    runs = tuple(child(number) for number in range(3))
    done = view("succeeded", steps=cells(CELLS), outputs=outputs, children=runs, artifacts="/runs/7d7d")
    for shown in both(done):
        assert "✓ SUCCEEDED daily" in shown and "12 cells · 3 pipelines · 42.1 s" in shown
        assert "outputs: rows = 842, report = 12 rows by 4 columns" in shown
        assert "jobs/daily.ipynb · kept in /runs/7d7d" in shown
        assert "waiting" not in shown and "not begun" not in shown
    assert run_card(done).count('<div title="from ') == CELLS, "each cell in the time of the run"
    assert "value" not in dict(listings(done)[-1].columns)


def test_outputs_that_do_not_fit_a_line_are_a_table() -> None:
    outputs = tuple((f"measure {number}", f"{number} rows, 4 columns") for number in range(30))
    for shown in both(view("succeeded", steps=cells(CELLS), outputs=outputs)):
        assert "30 outputs" in shown and "measure 19" in shown
        assert "and 10 more outputs" in shown and "measure 20" not in shown
    for shown in both(view("failed", steps=cells(4, "failed"), outputs=outputs[:1])):
        assert "0 rows, 4 columns" in shown, "what it had given before it failed"


def test_a_failed_card_has_everything_to_mend_it() -> None:
    runs = (child(1), child(2), child(3, "failed"))
    failed = view("failed", steps=cells(4, "failed"), error=ERROR, children=runs, artifacts="/runs/7d7d")
    for shown in both(failed):
        for part in (
            "✗ FAILED daily",
            "at cell 5 of 12: Load the flights",
            "4 of 12 cells · 3 pipelines · 42.1 s",
            "KeyError: 'carrier'",
            "Next: Check the columns",
            "In[5]:2",
            "--> 2 flights['carrier']",
            "2 of its 3 pipelines had loaded their rows.",
            "✗ failed",
            "· not begun",
            "250 read",
            "kept in /runs/7d7d",
        ):
            assert part in shown
        assert "target is unchanged" not in shown, "nobody knows what a notebook does besides its pipelines"
    assert "Full traceback" in run_card(failed)


def test_the_cell_that_an_error_names_is_the_one() -> None:
    # The last cell runs after the one that has failed, as where errors are allowed.
    steps = (*cells(4, "failed")[:5], dataclasses.replace(cells(5, "running")[5]), *cells(5)[6:])
    assert "at cell 5 of 12" in run_card_text(view("failed", steps=steps, error=ERROR))
    assert "at cell 6 of 12" in run_card_text(view("failed", steps=steps))


@pytest.mark.parametrize(
    ("children", "text"),
    [
        ((), ""),
        (("succeeded",), "Its pipeline had loaded its rows."),
        (("failed",), "Its pipeline had not loaded its rows."),
        (("running",), "Whether its pipeline has loaded its rows is not known."),
        (("failed", "cancelled"), "None of its 2 pipelines had loaded their rows."),
        (("succeeded", "failed"), "1 of its 2 pipelines had loaded its rows."),
        (("succeeded",) * 2, "All of its 2 pipelines had loaded their rows."),
        (("succeeded", "lost"), "1 of its 2 pipelines had loaded their rows; of 1 it is not known."),
    ],
)
@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_what_is_loaded_is_what_is_known_of_its_pipelines(state: str, children: tuple[str, ...], text: str) -> None:
    runs = tuple(child(number, found) for number, found in enumerate(children))
    collected = dataclasses.replace(child(9), target="nowhere")
    found = view(state, children=(*runs, collected))
    assert facts.effect(found) == text
    assert "<div></div>" not in run_card(found)


def test_an_outcome_that_is_unknown_is_not_counted() -> None:
    unsure = child(1, "failed", error=ErrorView("OutcomeUnknown", "the link broke"))
    assert "not known" in facts.effect(view("failed", children=(unsure,)))
    assert "not known" in facts.effect(view("failed", children=(child(1, "cancelled", unsure=True),)))


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("timed_out", "⚠ timed out"),
        ("kernel_died", "⚠ its kernel died"),
        ("out_of_memory", "⚠ its kernel was out of memory"),
        ("refused by a rule", "refused by a rule"),
    ],
)
def test_why_it_ended_is_told_in_words(reason: str, words: str) -> None:
    for shown in both(view("failed", reason=reason)):
        assert words in shown and "_" not in shown
        assert "at cell 5 of 12: Load the flights" in shown
        assert "■ stopped" in shown and "34.1 s" in shown, "it took that long until then"


def test_a_cancelled_card_is_neutral() -> None:
    found = view("cancelled", reason="cancelled by ann")
    for shown in both(found):
        assert "■ CANCELLED daily" in shown and "at cell 5 of 12" in shown and "cancelled by ann" in shown
    assert "#c62828" not in run_card(found), "red is for failures"


def test_a_lost_card_says_where_it_was() -> None:
    for shown in both(view("lost")):
        assert "⚠ LOST daily" in shown and "at cell 5 of 12" in shown and "⚠ lost: its process is gone" in shown
    assert "<progress" not in run_card(view("lost"))


def test_a_notebook_that_ended_itself_early_says_so() -> None:
    found = view("succeeded", steps=cells(3), reason="ended by sys.exit(0) in cell 3")
    for shown in both(found):
        assert "✓ SUCCEEDED daily" in shown and "3 of 12 cells · 42.1 s" in shown
        assert "ended by sys.exit(0) in cell 3" in shown and "· not begun" in shown
    quick = dataclasses.replace(found, elapsed=0.3, outputs=(("rows", "842"),))
    head = run_card(quick).partition("<details>")[0]
    assert "3 of 12 cells · 300 ms" in head and "sys.exit(0)" in head and "rows = 842" in head
    assert "Title 4" in run_card(quick).partition("<details>")[2]


def test_a_key_that_is_known_executes_no_cell() -> None:
    for shown in both(view("succeeded", steps=cells(0), replay_of="aaaabbbbcccc", elapsed=0.02)):
        assert "nothing to do: run aaaabbbb, which has the same key, has done it · 20 ms" in shown
        assert "Title" not in shown


MANY = {
    "steps": cells(100, "running", 200),
    "children": tuple(child(n, "failed" if n == 3 else "succeeded") for n in range(50)),
}


def test_of_many_cells_those_around_the_current_one_are_shown() -> None:
    for shown in both(view(**MANY)):
        assert "cell 101 of 200" in shown and "Title 101" in shown and "Title 104" in shown
        assert "and 92 cells before these, and 96 cells after these" in shown
        assert "Title 92\n" not in shown and "Title 105" not in shown
        assert "and 46 pipelines before these: 45 succeeded, 1 failed" in shown
    assert len(live_card(view(**MANY), headed=False).encode()) < 12_000
    assert len(ended_card(view("failed", error=ERROR, **MANY)).encode()) < 40_000


def test_of_many_cells_that_are_done_the_slowest_are_shown() -> None:
    steps = list(cells(200, count=200))
    steps[170] = dataclasses.replace(steps[170], busy=60.0)
    for shown in both(view("succeeded", steps=tuple(steps), elapsed=500.0)):
        assert "Title 171" in shown and "1:00" in shown
        assert "and 180 more cells, none of which took longer" in shown


@given(st.integers(0, 60), st.data(), st.sampled_from(["running", "failed", "cancelled", "lost", "succeeded"]))
def test_the_cell_it_is_at_is_always_shown_and_none_is_forgotten(count: int, data: Any, state: str) -> None:
    at = data.draw(st.one_of(st.none(), st.integers(0, count - 1))) if count else None
    places, more = notebooks.shown(view(state, steps=cells(at or 0, "running", count)), at)
    left_out = sum(map(int, re.findall(r"and (\d+)", more)))
    assert len(places) + left_out == count and len(places) <= 20
    assert list(places) == sorted(set(places)) and all(0 <= place < count for place in places)
    assert state == "succeeded" or at is None or at in places


def test_everything_from_outside_is_escaped_and_short() -> None:
    bad = "<script>alert(1)</script>" * 400
    steps = tuple(dataclasses.replace(step, what=bad, where=bad[:25]) for step in cells(4, "running"))
    runs = tuple(dataclasses.replace(child(n, "running"), name=bad * (n % 2), source=bad) for n in range(20))
    outputs = ((bad, bad),) * 30
    values = {"steps": steps, "children": runs, "outputs": outputs, "artifacts": bad, "source": bad, "name": bad}
    for state in ("running", "failed", "succeeded"):
        card = run_card(view(state, **values))
        assert "<script" not in card and "&lt;script" in card
        assert len(card.encode()) < 60_000


def test_a_text_moves_no_cursor() -> None:
    bad = "\x1b]0;title\x07\u202e"
    steps = tuple(dataclasses.replace(step, what=bad) for step in cells(4, "running"))
    runs = (child(1, "running", name=bad),)
    for state in ("running", "succeeded"):
        found = view(state, steps=steps, children=runs, outputs=((bad, bad),), artifacts=bad, source=bad)
        assert not {"\x1b", "\x07", "\u202e"} & set(run_card_text(found))


TAGS = "div b small table caption thead tbody tr th td pre progress details summary"


@pytest.mark.parametrize("state", ["queued", "running", "cancelling", "succeeded", "failed", "cancelled", "lost"])
def test_only_what_a_sanitiser_keeps_is_used(state: str) -> None:
    error = ERROR if state == "failed" else None
    values: dict[str, Any] = {"children": (child(1), child(2, "running")), "notes": (LogLine("12:00:00", "hello"),)}
    card = run_card(view(state, error=error, outputs=(("rows", "8" * 200),), **values))
    assert set(re.findall(r"<([a-z0-9]+)", card)) <= set(TAGS.split())
    assert set(re.findall(r"\s([a-z-]+)=\"", card)) <= {"style", "scope", "title", "value", "max", "open"}
    assert not re.search(r"(?<!-)color:", re.sub(r"background-color:|border[a-z-]*:[^;\"]*", "", card))


def test_text_and_html_agree() -> None:
    found = view("failed", error=ERROR, steps=cells(4, "failed"), children=(child(1), child(2, "failed")))
    text, html = both(found)
    for column in (cells_ for listing in listings(found) for _, cells_ in listing.columns):
        assert all(cell in text and cell in html for cell in column)
    for words in (*facts.headline(found), facts.amounts(found), facts.effect(found), facts.kept(found)):
        assert words in text and words in html


def test_a_card_ages_with_the_pipelines_within_it() -> None:
    later = aged(view(children=(child(1), child(2, "running"))), 10.0)
    assert later.elapsed == pytest.approx(52.1)
    assert [found.elapsed for found in later.children] == [5.0, 15.0]


def test_a_terminal_has_a_line_for_the_notebook_and_one_for_what_runs_in_it() -> None:
    first, second = bars_of(view(children=(child(1), child(2, "running"))))
    assert (first.label, first.amount, first.total) == ("cell 5 of 12: Load the flights", "4 of 12 cells", None)
    assert second.label == "└ step 1 of 1: apply clean · source 2 → target 2"
    assert (second.amount, second.rows, second.total, second.speed) == ("250 rows", 250, 1000, 50.0)
    assert len(bars_of(RUNNING)) == 1
    inner = view(children=(view(children=()),))
    assert bars_of(inner)[1].amount == "4 of 12 cells", "a notebook within a notebook"


def test_a_line_stays_in_a_terminal_and_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    steps = tuple(dataclasses.replace(step, what="\x1b[2J") for step in cells(4, "running"))
    with terminal() as show:
        show(view(steps=cells(0)))
        show(view(steps=steps, children=(child(1, "running"),)))
        show(view(steps=steps, children=(child(1), child(2, "queued"))))
        show(view("failed", steps=steps, reason="timed_out"))
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "✗ FAILED daily · run 7d7d5f5c · at cell 5 of 12: \\x1b[2J · 4 of 12 cells · 42.1 s · ⚠ timed out"
