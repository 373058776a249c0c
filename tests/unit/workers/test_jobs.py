"""Stages as jobs of a worker: whoever is killed, and wherever, the next one finds the rows or makes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from datapipe.data.stream import Stream, Workspace, scratch_directory
from datapipe.engine import RunOptions, RunResult
from datapipe.errors import TransientError
from datapipe.plan import FrameSource, Plan
from datapipe.store import RunStore, open_store
from datapipe.workers import jobs, spool

TABLE = pa.table({"id": [1, 2, 3]})
PLAN = Plan(ingestion=FrameSource(frame=TABLE))
OPTIONS = RunOptions(run_id="task-1")


class Killed(BaseException):
    """The process has ended here: nothing of datapipe catches it."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with a spool and a run store."""
    monkeypatch.delenv("DATAPIPE_METADATA_URL")
    monkeypatch.setenv("DATAPIPE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def job() -> jobs.Job:
    return jobs.Job.of("ingest", PLAN, keep=False, previous_result=None)


def ids(found: Any) -> list[int]:
    with scratch_directory() as scratch, spool.opened(found["spool"], Workspace(scratch=scratch)) as stream:
        return [row["id"] for batch in stream.batches for row in batch.to_pylist()]


def spooled(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "spool").glob("*.arrow"))


def attempts(count: int, last: BaseException | None = None) -> Callable[..., RunResult]:
    """A run whose rows are taken so many times, as its retries do; its end, which may be an error."""

    def run(plan: Plan, options: RunOptions, take: Callable[[Stream, Workspace], object]) -> Any:
        for _ in range(count):
            with scratch_directory() as scratch:
                take(Stream(TABLE.schema, iter(TABLE.to_batches())), Workspace(scratch=scratch))
        if last is not None:
            raise last

    return run


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("it has been done")


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "not recorded"])
def test_a_process_killed_at_the_end_leaves_what_the_next_one_gives(
    job: jobs.Job, home: Path, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    end = RunStore.end

    def killed(store: RunStore, *args: Any, **values: Any) -> bool:
        if recorded:
            assert end(store, *args, **values)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(RunStore, "end", killed)
        with pytest.raises(Killed):
            jobs.do_on_worker(job, OPTIONS, "w1")
    store = open_store()
    assert store is not None
    assert store.run("task-1").state == ("succeeded" if recorded else "running")
    monkeypatch.setattr(jobs, "LOST_AFTER", -1.0)
    monkeypatch.setattr(jobs, "run_claimed", never)
    found = jobs.do_on_worker(job, OPTIONS, "w2")
    assert (ids(found), found["row_count"], spooled(home)) == ([1, 2, 3], 3, [found["spool"]])
    assert store.run("task-1").state == "succeeded"


def test_a_store_that_fails_at_the_very_end_fails_no_task(job: jobs.Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> bool:
        raise TransientError("the run store fails")

    monkeypatch.setattr(RunStore, "end", away)
    assert ids(jobs.do_on_worker(job, OPTIONS, "w1")) == [1, 2, 3]


def test_the_first_attempt_that_has_noted_its_rows_counts(job: jobs.Job, home: Path) -> None:
    found = jobs.do(job, OPTIONS, attempts(3))
    assert spooled(home) == [found["spool"]]
    assert jobs.do(job, OPTIONS, never) == found


def test_rows_that_are_noted_outlive_an_error_of_the_run(job: jobs.Job, home: Path) -> None:
    with pytest.raises(TransientError):
        jobs.do(job, OPTIONS, attempts(2, TransientError("closing failed")))
    found = jobs.do(job, OPTIONS, never)
    assert (ids(found), spooled(home)) == ([1, 2, 3], [found["spool"]])


def test_rows_that_another_delivery_has_noted_count(job: jobs.Job, home: Path) -> None:
    def run(*args: Any, **taken: Any) -> RunResult:
        jobs.do(job, OPTIONS, attempts(1))
        return attempts(1)(*args, **taken)

    found = jobs.do(job, OPTIONS, run)
    assert (ids(found), spooled(home)) == ([1, 2, 3], [found["spool"]])


@pytest.mark.parametrize("written", [True, False], ids=["written", "not written"])
def test_a_note_that_fails_keeps_the_rows_it_names_and_no_others(
    job: jobs.Job, home: Path, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    remember = spool.remember

    def failing(task_id: str, result: Any) -> Any:
        if written:
            remember(task_id, result)
        raise TransientError("the spool fails")

    monkeypatch.setattr(spool, "remember", failing)
    with pytest.raises(TransientError):
        jobs.do(job, OPTIONS, attempts(1))
    assert len(spooled(home)) == written
