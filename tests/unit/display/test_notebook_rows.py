"""Notebooks' runs as the run store has them: as views, as lines of a list, beside each other."""

from __future__ import annotations

import dataclasses
from typing import Any

from datapipe.display import compared_text, run_card_text, runs_html, runs_text, view_of_row
from datapipe.store import RunRow, StepRow

EMPTY: dict[str, Any] = {field.name: None for field in dataclasses.fields(RunRow)}
OUTLINE = (("cell 1", "Parameters", ""), ("cell 2", "Load the flights", "In[2]"), ("cell 3", "Report", ""))


def row(id_: str, state: str = "running", kind: str = "notebook", **values: Any) -> RunRow:
    known = {"id": id_, "pipeline_id": id_, "state": state, "name": "daily", "source": "jobs/daily.ipynb"}
    known |= {"created": "2026-01-02T03:04:05Z", "started": "2026-01-02T03:04:06Z", "now": "2026-01-02T03:05:06Z"}
    known |= {"attempts": 1, "losses": 0, "outline": OUTLINE, "steps": (), "rows_read": 0, "rows_written": 0}
    found = RunRow(**{**EMPTY, **known, **values})
    object.__setattr__(found, "kind", kind)
    return found


def plan(id_: str, state: str, **values: Any) -> RunRow:
    return row(id_, state, "plan", name=None, source="files a.csv", target="table gold", outline=(), **values)


STEPS = (StepRow(0, "cell 1", rows_in=1, seconds=0.5, busy=0.5), StepRow(1, "cell 2", rows_in=1))


def test_a_cell_has_begun_when_it_is_on_record_and_has_ended_when_its_time_is() -> None:
    view = view_of_row(row("a", steps=STEPS))
    assert (view.kind, view.name, view.source, view.target) == ("notebook", "daily", "jobs/daily.ipynb", "")
    assert [(step.name, step.state, step.what) for step in view.steps] == [
        ("cell 1", "done", "Parameters"),
        ("cell 2", "running", "Load the flights"),
        ("cell 3", "waiting", "Report"),
    ]
    assert view.steps[0].busy == 0.5 and view.steps[1].where == "In[2]"
    assert "cell 2 of 3: Load the flights" in run_card_text(view)


def test_the_cell_that_has_failed_is_the_one_that_the_error_names() -> None:
    steps = (STEPS[0], StepRow(1, "cell 2", rows_in=1, seconds=2.0))
    error = {"type": "KeyError", "message": "'carrier'", "step": "cell 2"}
    view = view_of_row(row("a", "failed", steps=steps, error=error, ended="2026-01-02T03:05:06Z"))
    assert [step.state for step in view.steps] == ["done", "failed", "waiting"]
    assert "at cell 2 of 3: Load the flights" in run_card_text(view)


def test_what_it_has_given_is_in_its_result() -> None:
    result = {"outputs_shown": [["rows", "842"]], "artifacts": "/runs/a"}
    steps = tuple(StepRow(n, f"cell {n + 1}", rows_in=1, seconds=0.5) for n in range(3))
    view = view_of_row(row("a", "succeeded", steps=steps, result=result, ended="2026-01-02T03:05:06Z"))
    assert view.outputs == (("rows", "842"),) and view.artifacts == "/runs/a"
    text = run_card_text(view)
    assert "3 cells · 1:00" in text and "outputs: rows = 842" in text and "kept in /runs/a" in text
    assert view_of_row(row("a")).outputs == ()


def test_the_pipelines_within_it_are_views_of_their_rows_the_oldest_first() -> None:
    outline = (("read", "a.csv", ""), ("write", "gold", ""))
    first = plan("first", "succeeded", rows_read=1000, rows_written=990, ended="2026-01-02T03:04:16Z")
    first = dataclasses.replace(first, outline=outline)
    second = dataclasses.replace(plan("second", "running"), created="2026-01-02T03:04:50Z")
    view = view_of_row(row("a", steps=STEPS), children=(second, first))
    assert [found.id for found in view.children] == ["first", "second"]
    assert [found.kind for found in view.children] == ["plan", "plan"]
    text = run_card_text(view)
    assert "1,000 → 990" in text, "although it was read without its steps"
    assert "▶ files a.csv → table gold" in text


def test_a_row_of_an_earlier_version_is_of_a_plan() -> None:
    old = row("a", kind="plan", target=None)
    object.__setattr__(old, "kind", None)
    view = view_of_row(old)
    assert (view.kind, view.target) == ("plan", "nowhere")


def test_a_list_has_no_rows_of_notebooks() -> None:
    plans = [plan("b", "succeeded", rows_written=20), plan("c", "succeeded", rows_written=10)]
    rows = [row("a", "succeeded"), *plans, row("d", "succeeded")]
    head, first, second, *_ = runs_text(rows).splitlines()
    assert "daily (notebook)" in first and first.split()[-3:] == ["-", "somebody", "a"], "neither rows nor a change"
    assert second.split()[-4:] == ["20", "+10", "somebody", "b"]
    assert "daily (notebook)" in runs_html(rows) and "rows written" in head


def test_two_runs_of_a_notebook_are_compared_by_the_time_of_their_cells() -> None:
    before = row("before12", "succeeded", steps=(StepRow(0, "cell 1", rows_in=1, seconds=1.0),))
    after = row("after123", "succeeded", steps=(StepRow(0, "cell 1", rows_in=1, seconds=2.5), StepRow(1, "cell 2")))
    text = compared_text(before, after)
    assert "1.0 s → 2.5 s" in text and "cell 2" in text
    assert " 0 " not in text
