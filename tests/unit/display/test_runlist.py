"""Many runs as a table, and two of them beside each other."""

from __future__ import annotations

import dataclasses
from typing import Any

from datapipe.display import compared_html, compared_text, runs_html, runs_text
from datapipe.store import RunRow, StepRow

EMPTY: dict[str, Any] = {field.name: None for field in dataclasses.fields(RunRow)}


def row(id_: str, state: str = "succeeded", **values: Any) -> RunRow:
    known = {"id": id_, "state": state, "name": "daily", "created": "2026-01-02T03:04:05Z", "rows_written": 0}
    known |= {"attempts": 1, "losses": 0, "outline": (), "steps": (), "now": "2026-01-02T03:05:05Z", "rows_read": 0}
    return RunRow(**{**EMPTY, **known, **values})


def test_rows_are_compared_with_the_run_before_of_the_same_plan_that_has_succeeded() -> None:
    rows = [
        row("e", rows_written=120),
        row("d", "failed", rows_written=0),
        row("c", name="other", rows_written=5),
        row("b", rows_written=120),
        row("a", rows_written=100),
    ]
    lines = runs_text(rows).splitlines()
    assert ["±0" in lines[1], "+20" in lines[4], "+" in lines[3], "±" in lines[5]] == [True, True, False, False]
    assert lines[2].startswith("✗ FAILED") and lines[1].startswith("✓ SUCCEEDED")
    html = runs_html(rows)
    assert "+20" in html and "±0" in html and '<th scope="col"' in html


def test_no_runs_are_told() -> None:
    assert runs_text([]) == "no runs yet" and "no runs yet" in runs_html([])


def test_two_runs_are_compared_step_by_step() -> None:
    before = row("before12", steps=(StepRow(0, "ingestion", rows_out=10, seconds=1.0),))
    after = row(
        "after123", "failed", steps=(StepRow(0, "ingestion", rows_out=25, seconds=2.5), StepRow(1, "persistence"))
    )
    text = compared_text(before, after)
    assert "✓ SUCCEEDED → ✗ FAILED" in text
    assert "+15" in text and "1.0 s → 2.5 s" in text
    assert "persistence  -" in text
    assert "<b>daily · run before12" in compared_html(before, after)


def test_names_are_escaped() -> None:
    assert "<i>" not in runs_html([row("<i>", name="<i>", owner="<i>")])
