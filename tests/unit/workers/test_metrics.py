"""What a scrape says of runs: counters that never fall, and no more series than there are states."""

from __future__ import annotations

from typing import Any

from datapipe.store import FINAL
from datapipe.store.statistics import STATES, StateTotal
from datapipe.workers.metrics import fleet, parts, runs
from datapipe.workers.values import Health, Overview, Part, QueueStatus, WorkerStatus


def samples(families: Any) -> dict[tuple[str, str], float]:
    return {
        (sample.name.removeprefix("datapipe_"), *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_counter_does_not_fall_when_a_failed_run_is_tried_again() -> None:
    counted: dict[tuple[str, str], tuple[float, float]] = {}
    first = samples(runs([StateTotal("failed", 3, 30, 0, 9.0), StateTotal("running", 1)], counted))
    assert (first["runs", "failed"], first["runs_finished_total", "failed"], first["run_seconds_total", "failed"]) == (
        3,
        3,
        9,
    )
    again = samples(runs([StateTotal("failed", 2, 20, 0, 6.0), StateTotal("queued", 1)], counted))
    assert (again["runs", "failed"], again["runs_finished_total", "failed"], again["rows_read_total", "failed"]) == (
        2,
        3,
        30,
    )


def test_a_counter_goes_on_when_old_runs_have_left_the_record() -> None:
    counted: dict[tuple[str, str], tuple[float, float]] = {}
    for total, value in ((10, 10), (0, 10), (1, 11), (3, 13)):
        found = samples(runs([StateTotal("succeeded", total)], counted))
        assert found["runs_finished_total", "succeeded"] == value


def test_there_is_a_series_for_each_state() -> None:
    found = samples(runs([StateTotal(state) for state in STATES], {}))
    assert len(found) == len(STATES) + 4 * len(FINAL)


def test_what_is_not_known_is_left_out() -> None:
    overview = Overview((WorkerStatus("w1@here", "silent", "here", silence=9.0),), (QueueStatus("q", queued=2),))
    found = samples(fleet(overview))
    assert (found["workers", "silent"], found["worker_heartbeat_age_seconds", "w1@here"], found["queue_runs", "q"]) == (
        1,
        9,
        2,
    )
    assert not {("queue_waiting", "q"), ("worker_concurrency", "w1@here")} & set(found)


def test_only_what_is_configured_is_up_or_down() -> None:
    health = Health((Part("a", "ok", 2.0), Part("b", "failed"), Part("c", "not configured"), Part("d", "not checked")))
    assert samples(parts(health)) == {("up", "a"): 1, ("up", "b"): 0, ("check_seconds", "a"): 0.002}
