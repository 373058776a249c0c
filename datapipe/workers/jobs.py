"""What a stage does once it may: rows from its source into the spool, through a step, or into a table."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from celery.exceptions import Ignore

from datapipe.data.cancel import CancelToken
from datapipe.data.stream import Stream, Workspace
from datapipe.engine import RunOptions, RunResult, described, place, run_claimed
from datapipe.errors import DatapipeError, FatalError, PlanError, RunCancelled, TransientError, from_dict
from datapipe.persistence import hashed
from datapipe.plan import FrameSource, Plan
from datapipe.store import RunRow, RunStore
from datapipe.workers import spool
from datapipe.workers.execution import held
from datapipe.workers.queue import needed_store
from datapipe.workers.reconciler import LOST_AFTER
from datapipe.workers.requests import CAP

Runner = Callable[..., RunResult]  # run_recorded, or run_claimed with its store and lease


@dataclass(frozen=True)
class Job:
    """A stage and its input.

    Parameters
    ----------
    stage : str
        ``ingest``, ``transform`` or ``persist``.
    plan : Plan
        What it does.
    previous : str, optional
        The name of the spooled rows that it reads.
    keep : bool
        Whether these stay when they have been used.
    """

    stage: str
    plan: Plan
    previous: str | None = None
    keep: bool = False

    @classmethod
    def of(cls, stage: str, plan: Plan, keep: bool, previous_result: Any) -> Job:
        """The job of a task whose previous one has returned ``previous_result``.

        Raises
        ------
        PlanError
            If that is no such result.
        """
        if stage == "ingest":
            return cls(stage, plan.model_copy(update={"transformation": (), "persistence": None}))
        found = previous_result if isinstance(previous_result, Mapping) else {"spool": previous_result}
        if not isinstance(found.get("spool"), str):
            hint = f"Give the result of ingest or transform: chain(ingest.s(…), {stage}.s(…))"
            raise PlanError(f"{stage} has nothing to read", hint=hint)
        name, rows = found["spool"], found.get("row_count")
        source = FrameSource(frame=spool.stored(name, rows if isinstance(rows, int) else None))
        others = {"persistence": None} if stage == "transform" else {"transformation": ()}
        return cls(stage, plan.model_copy(update={"ingestion": source, **others}), name, keep)

    @property
    def fingerprint(self) -> str:
        """Of the plan and of whose rows it reads."""
        return hashed(self.plan.fingerprint, spool.producer_of(self.previous) if self.previous else "")


def do(job: Job, options: RunOptions, run: Runner) -> Mapping[str, Any]:
    """Do a job, unless the task has done it before; its result as plain JSON values.

    Raises
    ------
    DatapipeError
        If it fails; its input is then still there.
    """
    done = _noted(job, options.run_id) if job.stage != "persist" else None  # there the ledger knows
    if done is None:
        try:
            done = _persisted(job, options, run) if job.stage == "persist" else _spooled(job, options, run)
        except spool.SpoolMissing:
            done = _noted(job, options.run_id)  # another delivery was quicker
            if done is None:
                raise
    if job.previous is not None and not job.keep:
        spool.discard(job.previous)
    return done


def _spooled(job: Job, options: RunOptions, run: Runner) -> Mapping[str, Any]:
    notes: list[Mapping[str, Any]] = []

    def take(stream: Stream, work: Workspace) -> None:
        """Rows and their note are there before the run is on record as done, so whoever finds that finds them."""
        file = spool.write(stream, work, options.run_id)
        found = {"spool": file.name, "row_count": file.row_count, "columns": dict(file.columns)}
        try:
            notes.append(_note(job, options.run_id, found))
        finally:  # it may have failed and be there all the same
            first = notes[-1] if notes else (spool.remembered(options.run_id) or {}).get("result", {})
            if first.get("spool") != file.name:
                spool.discard(file.name)

    run(job.plan, options, take=take)
    return notes[-1]


def _persisted(job: Job, options: RunOptions, run: Runner) -> Mapping[str, Any]:
    return _note(job, options.run_id, _written(job, run(job.plan, options)))


def _written(job: Job, result: RunResult) -> dict[str, Any]:
    target = job.plan.persistence
    return {
        "rows_written": result.rows_written,
        "deduplicated": result.deduplicated,
        "table_name": getattr(target, "table_name", None),
        "target": target.label if target else None,
        "row_count": result.rows_read,
        "notices": list(result.notices),
    }


def _note(job: Job, task_id: str, found: Mapping[str, Any]) -> Mapping[str, Any]:
    result = {**found, "stage": job.stage, "task_id": task_id, "run_id": task_id}
    kept: Mapping[str, Any] = spool.remember(task_id, {"of": job.fingerprint, "result": result})["result"]
    return kept


def _noted(job: Job, task_id: str) -> Mapping[str, Any] | None:
    note = spool.remembered(task_id)
    if note is None:
        return None
    if note.get("of") != job.fingerprint:
        raise PlanError(f"the task id {task_id!r} was used by another task", hint="Leave it out, or take another one")
    found: Mapping[str, Any] = note["result"]
    return found


def do_on_worker(job: Job, options: RunOptions, worker: str) -> Mapping[str, Any]:
    """Do a job as a run of the run store, once, whoever else is given it too.

    Raises
    ------
    DatapipeError
        If it fails, or has failed before.
    celery.exceptions.Ignore
        If another worker does it right now.
    """
    store, run_id, lease = needed_store(), options.run_id, str(uuid.uuid4())
    row = _row(store, job, options)
    if row.state in {"running", "lost"} and (row.silence or 0) > LOST_AFTER:
        store.lose(run_id, row.lease, CAP)
    if not store.claim(run_id, lease, worker=worker, **place()):
        return _known(store.run(run_id), job)

    def work(cancel: CancelToken) -> Mapping[str, Any]:
        def run(plan: Plan, found: RunOptions, **taken: Any) -> RunResult:
            return run_claimed(plan, found, store, lease, **taken)

        return do(job, RunOptions(**{**vars(options), "cancel": cancel}), run)

    found = held(store, run_id, lease, work)
    with suppress(DatapipeError):  # the work is done, whatever becomes of its record
        store.end(run_id, lease, (), state="succeeded")  # if nothing had to be run any more
    return found


def _row(store: RunStore, job: Job, options: RunOptions) -> RunRow:
    """The task's record; it waits in no queue of ours, so nobody else will queue it again."""
    try:
        return store.run(options.run_id)
    except PlanError:
        with suppress(TransientError, PlanError):  # somebody else has added it
            pipeline = options.correlation_id or options.run_id
            values = {**described(job.plan, options), "kind": job.stage}
            store.add(options.run_id, state="queued", pipeline_id=pipeline, **values)
        return store.run(options.run_id)


def _known(row: RunRow, job: Job) -> Mapping[str, Any]:
    if row.state == "failed":
        raise from_dict(row.error or {"message": "the task failed"})
    if row.state == "cancelled":
        raise RunCancelled("the task was cancelled", hint="The target is unchanged")
    if row.state not in {"succeeded", "skipped"}:
        raise Ignore(f"task {row.id} is with {row.worker}")
    note = _noted(job, row.id)
    if note is None and job.stage == "persist" and row.result:
        note = {
            **_written(job, RunResult.from_dict(row.result)),
            "stage": job.stage,
            "task_id": row.id,
            "run_id": row.id,
        }
    if note is None:
        raise FatalError("the task has been done, but what it left is not in the spool any more", hint="Queue it again")
    if job.previous is not None and not job.keep:
        spool.discard(job.previous)
    return note
