"""Single stages sent for somebody else: checked by the sender, recorded, then queued under an id of its own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from datapipe.engine import RunOptions, described
from datapipe.errors import PlanError
from datapipe.plan import Plan
from datapipe.settings import settings
from datapipe.store import RunStore
from datapipe.workers.envelope import seal
from datapipe.workers.jobs import Job
from datapipe.workers.queue import about, publish


def queue_stage(
    store: RunStore,
    job: Job,
    sent: Plan,
    previous: Mapping[str, Any] | None,
    options: RunOptions,
    by: Mapping[str, str],
) -> None:
    """Record a stage as a run, and queue it.

    Parameters
    ----------
    job : Job
        What it does, with the rows it reads.
    sent : Plan
        The same as it travels, without them.
    previous : mapping, optional
        The result of the task that has left the rows.
    by : mapping of str to str
        ``owner`` and ``via``.

    Raises
    ------
    PlanError
        If a function cannot travel.
    TransientError
        If the broker cannot be reached; nothing is queued or recorded then.
    """
    run_id, found = options.run_id, settings()
    sealed = seal(sent, run_id, {"stage": job.stage, "keep": job.keep}, key=found.signing_key)
    # Whatever becomes of the message in the broker, the record has what is needed to queue the stage again.
    message = {"previous": [] if previous is None else [dict(previous)], "sealed": sealed}
    values = {**described(job.plan, options), **by, "kind": job.stage, "queue": found.queue, "message": message}
    with suppress(PlanError):  # whoever recorded it has died before it was queued
        store.add(run_id, state="queued", pipeline_id=run_id, **values)
    with about(run_id, options.correlation_id, None):
        publish(store, run_id, found.queue, new=True, kind=job.stage)
