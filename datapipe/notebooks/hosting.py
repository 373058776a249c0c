"""Running a prepared job here: on record, and shown while it lasts."""

from __future__ import annotations

import threading
import uuid
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from typing import Any, Literal

from datapipe.engine import NotebookResult, Record, lineage, next_key, place
from datapipe.errors import DatapipeError, PlanError
from datapipe.history import Run
from datapipe.logs import ids
from datapipe.notebooks import following
from datapipe.notebooks.prepared import Prepared
from datapipe.notebooks.running import JobOptions, JobRun, described_job
from datapipe.showing import form, shown
from datapipe.store import RunStore, open_store, store_or_none
from datapipe.surroundings import surroundings

IfRunning = Literal["wait", "fail", "skip"]


def options_of(key: str | None, if_running: IfRunning) -> JobOptions:
    """The options of a run.

    Raises
    ------
    PlanError
        If one of them makes no sense.
    """
    if if_running not in {"wait", "fail", "skip"}:
        raise PlanError(f"if_running cannot be {if_running!r}", hint="Use 'wait', 'fail' or 'skip'")
    if key == "":
        raise PlanError("the idempotency key is empty", hint="Give a text, such as the day that is loaded")
    parent = lineage()
    return JobOptions(
        idempotency_key=key,
        if_running=if_running,
        correlation_id=ids().get("correlation_id"),
        parent_run_id=parent.run_id,
    )


def run_job(job: Prepared, key: str | None, if_running: IfRunning, *, show: bool = True) -> NotebookResult:
    """Run a job here, and wait, in view of the user or not.

    Raises
    ------
    DatapipeError, KeyboardInterrupt
        As :meth:`~datapipe.notebooks.running.JobRun.finish` does.
    """
    _check_installed()
    store = store_or_none()
    with next_key(job.fingerprint) as own:  # of a job in a job
        options = options_of(own if key is None and store is not None else key, if_running)
        record = None
        if store is not None:
            record = Record(store, options.run_id, str(uuid.uuid4()), options.cancel, keyed=key is not None)
            record.add(**described_job(job, options), **place())
        if not show:
            return JobRun(job, options, store, record, lambda _: None).finish()
        return _followed(job, options, store, record)


def run_job_behind(job: Prepared, key: str | None, if_running: IfRunning) -> Run:
    """Begin to run a job here, in a thread of its own.

    Raises
    ------
    PlanError
        If runs are not recorded.
    """
    _check_installed()
    with next_key(job.fingerprint) as own:
        options = options_of(own if key is None else key, if_running)
    store, lease = open_store(), str(uuid.uuid4())
    if store is None:
        raise PlanError("a run in the background is known by its record, and DATAPIPE_METADATA_URL is off")
    store.add(options.run_id, state="running", **described_job(job, options), **place(), lease=lease)
    record = Record(store, options.run_id, lease, options.cancel, keyed=key is not None)
    run = Run(options.run_id, store)
    if surroundings() == "headless":  # nobody would wait for it
        _followed(job, options, store, record)
        return run
    with ExitStack() as stack:
        show = stack.enter_context(shown(_first(job, options), options.cancel.cancel))
        left = stack.pop_all()

    def work() -> None:
        with left, suppress(BaseException):  # how it ended is on record, and on its card
            JobRun(job, options, store, record, show).finish()

    threading.Thread(target=work, name="datapipe notebook run", daemon=False).start()
    return run


def run_claimed_job(job: Prepared, options: JobOptions, store: RunStore, lease: str) -> NotebookResult:
    """Run a job that a worker has taken from its queue, under the lease it took it with.

    Raises
    ------
    DatapipeError
        If it fails.
    """
    record = Record(
        store, options.run_id, lease, options.cancel, claimed=True, keyed=options.idempotency_key is not None
    )
    return JobRun(job, options, store, record, lambda _: None, store.run(options.run_id)).finish()


def _check_installed() -> None:
    if find_spec("papermill") is None or find_spec("psutil") is None:
        raise PlanError("notebooks are run by papermill", hint='Run: pip install "datapipe-sdk[notebook]"')


def _followed(job: Prepared, options: JobOptions, store: RunStore | None, record: Record | None) -> NotebookResult:
    with shown(_first(job, options), options.cancel.cancel) as show:
        try:
            return JobRun(job, options, store, record, show).finish()
        except DatapipeError as error:
            error.on_card = form() in {"widget", "html"}
            raise error.with_traceback(None) from None


def _first(job: Prepared, options: JobOptions) -> Any:
    return following.first_view(job.plan.title, job.plan.notebook.path, options.run_id, job.executed)
