"""Sending runs to workers: recorded first, then queued. The message only says which run of which store."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from types import MappingProxyType
from typing import Any

from celery.exceptions import OperationalError
from kombu.exceptions import OperationalError as KombuError
from redis.exceptions import RedisError

from datapipe.engine import RunOptions, described, place
from datapipe.errors import DatapipeError, FatalError, PlanError, TransientError
from datapipe.logs import bound, ids, logger
from datapipe.notebooks.model import NotebookPlan
from datapipe.notebooks.prepared import Prepared
from datapipe.notebooks.running import JobOptions, described_job
from datapipe.plan import QUEUE_NAME, Plan, check_runnable
from datapipe.settings import settings
from datapipe.store import RunRow, RunStore, open_store
from datapipe.workers.app import HEADER, IS_WORKER, app
from datapipe.workers.envelope import renewed, seal
from datapipe.workers.notebooks import seal_job

TASK, NOTEBOOK_TASK = "datapipe.run_pipeline", "datapipe.run_notebook"
STAGE_KINDS = ("ingest", "transform", "persist")
_TASKS = {
    "plan": TASK,
    "notebook": NOTEBOOK_TASK,
    **{stage: f"datapipe.{stage}" for stage in STAGE_KINDS},
}  # by kind of run
HIDDEN = {"argsrepr": "(…)", "kwargsrepr": "{…}"}  # what Celery tells of a message's arguments
REFUSED = "the run is recorded in another run store"  # how a worker's refusal begins
_LONGEST_NAME = 128
_LOG = logger("datapipe.workers")
NOBODY: Mapping[str, str] = MappingProxyType({})  # else than this process
RETRY = {"max_retries": 2, "interval_start": 0.1, "interval_step": 0.3}
AGAIN = frozenset({"failed", "cancelled", "lost"})
BROKEN = (OperationalError, KombuError, RedisError, OSError)


def submit(
    plan: Plan,
    options: RunOptions,
    *,
    queue: str | None = None,
    pipeline_id: str | None = None,
    by: Mapping[str, str] = NOBODY,
) -> str:
    """Record a run and queue it.

    Parameters
    ----------
    options : RunOptions
        Its memory, its idempotency key and the like; they travel with the plan.
    queue : str, optional
        The plan's own queue, or DATAPIPE_QUEUE, if left out.
    pipeline_id : str, optional
        The caller's name for the run.
    by : mapping of str to str
        ``owner`` and ``via``, where this process asks for somebody else.

    Returns
    -------
    str
        The run's id, which is Celery's id of the task, too.

    Raises
    ------
    PlanError
        If the plan cannot travel, or runs are not recorded.
    TransientError
        If the broker cannot be reached; nothing is queued then.
    """
    check_runnable(plan)
    store, run_id = recorded(plan, options, queue, pipeline_id, key=settings().signing_key, by=by)
    with about(run_id, options.correlation_id, pipeline_id):
        publish(store, run_id, queue_of(plan, queue), new=True)
    return run_id


def recorded(
    plan: Plan,
    options: RunOptions,
    queue: str | None,
    pipeline_id: str | None,
    *,
    key: str | None,
    by: Mapping[str, str] = NOBODY,
) -> tuple[RunStore, str]:
    """Record a run that is about to be queued, signed if there is a key."""
    name = queue_of(plan, queue)
    return _recorded(
        options.run_id,
        pipeline_id,
        lambda: seal(plan, options.run_id, _sent(options), key=key),
        **{**described(plan, options), "queue": name, **by},
    )


def submit_job(
    job: Prepared,
    options: JobOptions,
    *,
    queue: str | None = None,
    pipeline_id: str | None = None,
    by: Mapping[str, str] = NOBODY,
) -> str:
    """Record a run of a notebook and queue it; see :func:`submit`.

    Raises
    ------
    PlanError, TransientError
        As :func:`submit` does.
    """
    store, run_id = recorded_job(job, options, queue, pipeline_id, key=settings().signing_key, by=by)
    with about(run_id, options.correlation_id, pipeline_id):
        publish(store, run_id, queue_of(job.plan, queue), new=True, kind="notebook")
    return run_id


def recorded_job(
    job: Prepared,
    options: JobOptions,
    queue: str | None,
    pipeline_id: str | None,
    *,
    key: str | None,
    by: Mapping[str, str] = NOBODY,
) -> tuple[RunStore, str]:
    """Record a run of a notebook that is about to be queued, signed if there is a key."""
    name = queue_of(job.plan, queue)
    return _recorded(
        options.run_id,
        pipeline_id,
        lambda: seal_job(job, options.run_id, _sent(options), key=key),
        **{**described_job(job, options), "queue": name, **by},
    )


def _recorded(
    run_id: str, pipeline_id: str | None, sealed: Callable[[], Mapping[str, Any]], **values: Any
) -> tuple[RunStore, str]:
    if pipeline_id is not None and not 0 < len(pipeline_id) <= _LONGEST_NAME:
        raise PlanError(f"a pipeline_id has 1 to {_LONGEST_NAME} characters, not {len(pipeline_id)}")
    store = needed_store()
    owner = {name: value for name, value in place().items() if name == "owner"}
    values = {**owner, **values, "message": sealed(), "pipeline_id": pipeline_id or run_id}
    store.add(run_id, state="queued", **values)
    return store, run_id


def own_key() -> str | None:
    """What signs a task's message: nothing on a worker, where what follows a task came with a message of anybody."""
    return None if app.conf.get(IS_WORKER) else settings().signing_key


def queue_of(plan: Plan | NotebookPlan, queue: str | None) -> str:
    """The queue a run of a plan goes to.

    Raises
    ------
    PlanError
        If it is no name of a queue.
    """
    found = queue or plan.queue or settings().queue
    if not re.match(QUEUE_NAME, found):
        raise PlanError(f"{found!r} is no name of a queue", hint="Use up to 64 letters, digits, and any of _.-")
    return found


def about(run_id: str, correlation_id: str | None, pipeline_id: str | None) -> AbstractContextManager[None]:
    """The ids of a run that is queued, for log lines and for its message."""
    return bound(run_id=run_id, correlation_id=correlation_id or run_id, pipeline_id=pipeline_id or run_id)


def publish(store: RunStore, run_id: str, queue: str, *, new: bool = False, kind: str = "plan", **options: Any) -> Any:
    """Put a recorded run into its queue. The ids that are bound here travel with it.

    Parameters
    ----------
    kind : {"plan", "notebook", "ingest", "transform", "persist"}
        What is run.
    new : bool
        Forget the run if that fails.

    Returns
    -------
    celery.result.AsyncResult

    Raises
    ------
    TransientError
        If the broker cannot be reached.
    """
    try:
        arguments = _stage_of(store, run_id) if kind in STAGE_KINDS else {"kwargs": {"store": store.id}}
        with reaching_broker():
            sent = app.send_task(
                _TASKS[kind],
                **arguments,
                task_id=run_id,
                queue=queue,
                retry=True,
                retry_policy=RETRY,
                **with_ids(options),
            )
            _LOG.info("run queued", extra={"queue": queue})
            return sent
    except BaseException:
        if new and not store.remove(run_id):
            return app.AsyncResult(run_id)  # the message has arrived, and a worker has taken the run
        raise


def _stage_of(store: RunStore, run_id: str) -> dict[str, Any]:
    """The arguments of a single stage: what the task before it has left, and what it is to do with that."""
    message = store.message(run_id) or {}
    return {"args": message["previous"], "kwargs": {"sealed": message["sealed"]}, **HIDDEN}


def with_ids(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a message, with the ids that are bound here among its headers."""
    known = ids()
    sent = {name: known[name] for name in ("correlation_id", "pipeline_id") if name in known}
    return {**options, "headers": {**(options.get("headers") or {}), HEADER: sent}}


@contextmanager
def reaching_broker() -> Iterator[None]:
    """The errors of a broker that does not answer as ours."""
    try:
        yield
    except DatapipeError:  # a task's own; some of them are ValueErrors too
        raise
    except (ValueError, KeyError):  # not repeated: it may hold a password
        hint = "Write redis://user:password@host:port/0 and percent-encode @, / and : in the password; or, for TLS, "
        hint += "rediss://…?ssl_cert_reqs=required"
        raise PlanError("REDIS_URL, CELERY_BROKER_URL or CELERY_RESULT_BACKEND is no URL", hint=hint) from None
    except (*BROKEN, RuntimeError) as error:
        cause = error if isinstance(error, BROKEN) else error.__cause__  # Celery's word for a lost result backend
        if not isinstance(cause, BROKEN):
            raise
        raise TransientError(
            f"the broker cannot be reached: {_reason(cause)}",
            hint="Nothing was queued. Check CELERY_BROKER_URL or REDIS_URL, and that Redis runs",
        ) from None


def retry(run_id: str) -> None:
    """Queue a run that failed, was cancelled or is lost once more.

    Raises
    ------
    PlanError
        If it is in another state, or was never sent to workers.
    """
    store = needed_store()
    row, message = store.run(run_id), store.message(run_id)
    if message is None:
        raise PlanError(f"run {run_id} was never sent to workers", hint="Run its plan again where it was built")
    if row.state not in AGAIN:
        raise PlanError(
            f"run {run_id} is {row.state}", hint="Only what failed, was cancelled or is lost is tried again"
        )
    key = settings().signing_key
    is_stage = row.kind in STAGE_KINDS
    fresh = {**message, "sealed": renewed(message["sealed"], key=key)} if is_stage else renewed(message, key=key)
    unbegun: dict[str, Any] = dict.fromkeys(("lease", "worker", "process", "started", "ended", "error", "result"))
    unbegun |= {"reason": None, "cancel_requested": None, "losses": 0, "message": fresh}
    if store.change(run_id, when=(row.state,), state="queued", **unbegun):
        with suppress(*BROKEN):
            app.AsyncResult(run_id).forget()  # how it ended before
        # It is accepted: a worker looks for what waits and is in no queue.
        with suppress(TransientError), about(run_id, row.correlation_id, row.pipeline_id):
            publish(store, run_id, row.queue or settings().queue, kind=row.kind)


def note_refusal(run_id: str) -> None:
    """Take over into the record why a worker of another store refused a run."""
    try:
        told = app.AsyncResult(run_id)
        error = told.result if told.state == "FAILURE" else None
    except BROKEN:
        return
    if isinstance(error, BaseException) and str(error).startswith(REFUSED):
        store = needed_store()
        found = error.to_dict() if isinstance(error, DatapipeError) else FatalError(str(error)).to_dict()
        store.change(run_id, when=("queued",), state="failed", reason="refused", error=found)


def needed_store() -> RunStore:
    """The run store, which workers cannot do without.

    Raises
    ------
    PlanError
        If it is off.
    """
    store = open_store()
    if store is None:
        raise PlanError("workers need the record of runs, and DATAPIPE_METADATA_URL is off", hint="Unset it")
    return store


def result_of(row: RunRow) -> Mapping[str, Any]:
    """What a run that has succeeded has to say."""
    return {**(row.result or {}), "pipeline_id": row.pipeline_id}


def _sent(options: RunOptions | JobOptions) -> dict[str, Any]:
    names = ("memory", "limit", "correlation_id", "parent_run_id", "idempotency_key", "if_running")
    return {name: value for name in names if (value := getattr(options, name, None)) is not None}


def _reason(error: BaseException) -> str:
    """The driver's own words, which name host and port and no password."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def new_id() -> str:
    """An id for a run."""
    return str(uuid.uuid4())
