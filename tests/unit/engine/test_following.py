"""Events, one after the other, as the views of a run."""

from __future__ import annotations

import dataclasses

import pyarrow as pa
import pytest

import datapipe
from datapipe.display import RunView, run_card_text, view_of_plan
from datapipe.display.facts import effect
from datapipe.engine import Event, Follower, RunOptions, RunResult, run_plan
from datapipe.engine.following import ended
from datapipe.engine.result import StepResult
from datapipe.errors import DataError, Interrupted, OutcomeUnknown, PlanError
from datapipe.pipeline import Pipeline


@pytest.fixture
def views() -> list[RunView]:
    return []


def follow(plan: Pipeline, views: list[RunView]) -> Follower:
    return Follower(view_of_plan(plan.plan, "r1", plan.places), views.append)


def numbers(count: int) -> pa.Table:
    return pa.table({"id": range(count)})


def test_the_views_of_a_run_only_ever_move_on(views: list[RunView], sqlite_url: str) -> None:
    plan = datapipe.read(numbers(50_000)).apply(lambda frame: frame, per_batch=True).write("t", to=sqlite_url)
    follower = follow(plan, views)
    result = run_plan(plan.plan, RunOptions(run_id="r1", listeners=(follower,)))
    last = follower.end(result)
    read = [view.rows_read for view in views]
    assert read == sorted(read) and read[-1] == 50_000
    assert (last.state, last.rows_written) == ("succeeded", 50_000)
    assert [step.state for step in last.steps] == ["done", "done", "done"]
    assert [step.where.partition(":")[0].rpartition("/")[2] for step in last.steps] == ["test_following.py"] * 3
    assert last.pace[-1][1] == 50_000


def test_rows_count_as_the_function_works_on_them(views: list[RunView], sqlite_url: str) -> None:
    seen: list[int] = []
    plan = datapipe.read(numbers(30_000))
    follower: Follower

    def look(frame):  # type: ignore[no-untyped-def]  # a user's
        seen.append(follower.view.rows_read)
        return frame

    plan = plan.apply(look, per_batch=True).write("t", to=sqlite_url)
    follower = follow(plan, views)
    run_plan(plan.plan, RunOptions(run_id="r1", listeners=(follower,)))
    assert seen == [10_000, 20_000, 30_000]


def test_a_failure_is_blamed_on_its_step(views: list[RunView], sqlite_url: str) -> None:
    def fail(frame):  # type: ignore[no-untyped-def]  # a user's
        raise ValueError("bad price")

    plan = datapipe.read(numbers(3)).apply(fail).write("t", to=sqlite_url)
    follower = follow(plan, views)
    with pytest.raises(DataError) as caught:
        run_plan(plan.plan, RunOptions(run_id="r1", listeners=(follower,)))
    last = follower.end(caught.value.result, caught.value)
    assert [step.state for step in last.steps] == ["done", "failed", "waiting"] or last.steps[0].state == "running"
    assert last.error is not None
    assert "bad price" in last.error.message and 'raise ValueError("bad price")' in last.error.code
    assert last.error.place.endswith(" in fail")


def test_a_further_attempt_begins_at_the_source(views: list[RunView]) -> None:
    plan = datapipe.read(numbers(3))
    follower = follow(plan, views)
    follower(Event("progress", "r1", "r1", 1, 10.0, step="ingestion", rows_out=3))
    follower(Event("attempt_failed", "r1", "r1", 2, 11.0, message="the server went away"))
    assert (views[-1].rows_read, views[-1].attempts, views[-1].pace) == (0, 2, ((1.0, 0),))
    assert [note.text for note in views[-1].notes] == ["the server went away"]


def test_a_log_keeps_its_last_lines(views: list[RunView]) -> None:
    follower = follow(datapipe.read(numbers(3)), views)
    for number in range(2000):
        follower(Event("notice", "r1", "r1", number, 10.0, message=f"note {number}"))
    assert len(views[-1].notes) == 500 and views[-1].notes[-1].text == "note 1999"


def test_a_replay_says_who_did_it_and_claims_nothing(views: list[RunView], sqlite_url: str) -> None:
    plan = datapipe.read(numbers(5)).write("t", to=sqlite_url)
    first = run_plan(plan.plan, RunOptions(run_id="first", idempotency_key="monday"))
    follower = follow(plan, views)
    again = run_plan(plan.plan, RunOptions(run_id="r1", idempotency_key="monday", listeners=(follower,)))
    assert again.replayed and again.run_id == first.run_id
    text = run_card_text(follower.end(again))
    assert "nothing to do: 5 rows written by run first, which has the same key" in text
    assert "done" not in text and "read " in text


def test_a_step_s_time_begins_with_the_first_row_that_comes_in(sqlite_url: str) -> None:
    plan = datapipe.read(numbers(3_000_000)).sql("SELECT count(DISTINCT id) AS n FROM input_data")
    result = run_plan(plan.write("t", to=sqlite_url).plan, RunOptions(run_id="r1"))
    assert result.steps[1].seconds > result.steps[0].seconds / 2, "one row came out at once; the work was before it"


def test_a_run_is_said_to_have_changed_nothing_only_where_that_is_known(views: list[RunView]) -> None:
    view = view_of_plan(datapipe.read(numbers(3)).plan, "r1")
    result = RunResult(
        "r1", "r1", "f", "failed", "a", "b", steps=(StepResult("ingestion"), StepResult("persistence", 3))
    )
    lost = Interrupted("nobody knows", result)
    lost.__cause__ = OutcomeUnknown("the connection broke at COMMIT")
    cases = [(None, KeyboardInterrupt()), (None, MemoryError()), (result, lost)]
    assert {effect(ended(view, *case)) for case in cases} == {"Whether the rows are in the target is not known."}
    assert "unchanged" in effect(ended(view, None, PlanError("no")))
    assert "unchanged" in effect(ended(view, result, DataError("no")))


def test_a_replay_has_its_own_time() -> None:
    view = view_of_plan(datapipe.read(numbers(3)).plan, "r1")
    result = RunResult("r0", "r0", "f", "succeeded", "a", "b", seconds=500.0, attempts=3, replayed=True)
    again = ended(dataclasses.replace(view, elapsed=0.1), result)
    assert (again.elapsed, again.attempts) == (0.1, 1)


def test_what_was_said_first_does_not_come_back_after_the_last_lines(views: list[RunView]) -> None:
    plan = datapipe.read(numbers(3)).write("never.parquet")
    follower, said = follow(plan, views), [f"line {number}" for number in range(1000)]
    for number, text in enumerate(said):
        follower(Event("notice", "r1", "r1", number, 0.0, message=text))
    result = RunResult("r1", "r1", "f", "succeeded", "here", "there", notices=tuple(said))
    assert [line.text for line in follower.end(result).notes] == said[-500:]
