"""The tasks for single stages: rows go from one to the next through the spool, never through the broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from celery.result import AsyncResult

from datapipe.engine import RunOptions, run_recorded
from datapipe.errors import DatapipeError, PlanError, TransientError
from datapipe.logs import ids
from datapipe.plan import parse
from datapipe.settings import settings
from datapipe.workers.app import app
from datapipe.workers.broker import broker_client, look, waiting
from datapipe.workers.execution import whole_text
from datapipe.workers.jobs import Job, do, do_on_worker
from datapipe.workers.queue import new_id, reaching_broker
from datapipe.workers.sealing import StageTask, document, plan_of

_OPTIONS: Any = {
    "bind": True,
    "base": StageTask,
    "throws": (DatapipeError,),
    "resultrepr_maxsize": 80,
    "shared": False,  # of this application only
}
_STATES = {"SUCCESS": "succeeded", "FAILURE": "failed", "REVOKED": "cancelled"}


@app.task(name="datapipe.ingest", **_OPTIONS)  # type: ignore[untyped-decorator]  # Celery has no types
def ingest(
    self: Any,
    query: str | None = None,
    source_db_url: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    *,
    sealed: Mapping[str, Any] | None = None,
    **ingestion: Any,
) -> Mapping[str, Any]:
    """Read rows into the spool.

    Parameters
    ----------
    query, source_db_url, parameters, **ingestion
        The fields of a plan's ``ingestion``: ``table``, ``files``, ``source`` and so on.
    sealed : mapping, optional
        Set by the sender, in place of all others.

    Returns
    -------
    dict
        ``spool``: where the rows are; ``row_count``, ``columns``, ``task_id``, ``run_id``.

    Raises
    ------
    DatapipeError
        If the source is wrong, or cannot be read.

    Examples
    --------
    >>> found = ingest(query="SELECT 1 AS id", source_db_url="sqlite://")  # doctest: +SKIP
    >>> found["row_count"], found["columns"]  # doctest: +SKIP
    (1, {'id': 'bigint'})
    """
    fields = {"query": query, "source_db_url": source_db_url, "parameters": parameters, **ingestion}
    return _staged(self, "ingest", None, sealed, fields)


@app.task(name="datapipe.transform", **_OPTIONS)  # type: ignore[untyped-decorator]  # Celery has no types
def transform(
    self: Any,
    previous_result: Any = None,
    type: str | None = None,  # noqa: A002  # the document form calls it so
    config: Mapping[str, Any] | None = None,
    *,
    keep: bool = False,
    sealed: Mapping[str, Any] | None = None,
    **others: Any,
) -> Mapping[str, Any]:
    """Take rows out of the spool through one step, and back into it.

    Parameters
    ----------
    previous_result : mapping
        The result of ``ingest`` or ``transform``; a chain puts it here.
    type, config
        A step of a plan's ``transformation``.
    keep : bool
        Whether the rows it has read stay in the spool, for other tasks that read them too.
    sealed : mapping, optional
        Set by the sender, in place of type, config and keep.

    Returns
    -------
    dict
        As :func:`ingest`.

    Raises
    ------
    DatapipeError
        If the step is wrong or fails; the rows are then still in the spool.

    Examples
    --------
    >>> transform(found, "sql", {"sql_query": "SELECT id + 1 AS id FROM input_data"})  # doctest: +SKIP
    """
    return _staged(self, "transform", previous_result, sealed, {"type": type, "config": config, "keep": keep, **others})


@app.task(name="datapipe.persist", **_OPTIONS)  # type: ignore[untyped-decorator]  # Celery has no types
def persist(
    self: Any,
    previous_result: Any = None,
    table_name: str | None = None,
    strategy: str | None = None,
    upsert_keys: Sequence[str] | None = None,
    dest_db_url: str | None = None,
    *,
    keep: bool = False,
    sealed: Mapping[str, Any] | None = None,
    **persistence: Any,
) -> Mapping[str, Any]:
    """Write rows from the spool to a table, exactly once for each task.

    Parameters
    ----------
    previous_result : mapping
        The result of ``ingest`` or ``transform``; a chain puts it here.
    table_name, strategy, upsert_keys, dest_db_url, **persistence
        The fields of a plan's ``persistence``.
    keep, sealed
        As for :func:`transform`.

    Returns
    -------
    dict
        ``rows_written``, ``deduplicated``, ``table_name``, ``row_count``, ``task_id``, ``run_id``.

    Raises
    ------
    DatapipeError
        If the target is wrong or refuses the rows; it is then unchanged, and the rows are still in the spool.

    Examples
    --------
    >>> persist(found, "numbers", dest_db_url="sqlite:///numbers.db")["rows_written"]  # doctest: +SKIP
    1
    """
    fields = {"table_name": table_name, "strategy": strategy, "upsert_keys": upsert_keys, "dest_db_url": dest_db_url}
    return _staged(self, "persist", previous_result, sealed, {**fields, "keep": keep, **persistence})


def _staged(
    task: Any, stage: str, previous: Any, sealed: Mapping[str, Any] | None, fields: dict[str, Any]
) -> Mapping[str, Any]:
    """Run a stage: in this process if it is called as a function, else as a run that a worker has been given."""
    request = task.request
    if request.called_directly:
        keep = bool(fields.pop("keep", False))
        job = Job.of(stage, parse(document(stage, fields)), keep, previous)
        return do(job, RunOptions(), run_recorded)
    task_id = str(request.id or new_id())
    correlation = ids().get("correlation_id", request.root_id)  # it came with the message
    options = RunOptions(run_id=task_id, correlation_id=correlation, parent_run_id=request.parent_id)

    def work() -> Mapping[str, Any]:
        plan, keep = plan_of(stage, task_id, sealed, fields)
        job = Job.of(stage, plan, keep, previous)
        if request.is_eager:
            return do(job, options, run_recorded)
        return do_on_worker(job, options, str(request.hostname))

    return whole_text(work)


def task_status(task_id: str, *, search: bool = True) -> dict[str, Any]:
    """What Celery knows of a task.

    Parameters
    ----------
    search : bool
        Whether to look for it in the queue, message by message.

    Returns
    -------
    dict
        ``task_id``; ``state``: ``queued``, ``running``, ``succeeded``, ``failed``, ``cancelled``, or ``unknown`` for
        one that nobody has heard of, has forgotten, or that follows another one which has not ended; ``result``,
        or ``error`` with ``type`` and ``message``.

    Raises
    ------
    TransientError
        If the broker cannot be reached.
    """
    with reaching_broker():
        found = AsyncResult(task_id, app=app)
        state = _STATES.get(found.state)
        told: dict[str, Any] = {"task_id": task_id, "state": state or (_waiting(task_id) if search else "unknown")}
        if state == "succeeded":
            told["result"] = found.result
        elif state is not None:
            told["error"] = {"type": type(found.result).__name__, "message": str(found.result)}
    return told


def task_result(task_id: str, *, wait: bool = False, known: bool = False) -> Mapping[str, Any]:
    """The result of a task that has ended.

    Parameters
    ----------
    wait : bool
        Whether to wait for its end.
    known : bool
        Whether there is such a task for sure.

    Raises
    ------
    DatapipeError
        The task's own error; PlanError, if nobody has heard of it; TransientError, if it has not ended.
    """
    status = {"state": "queued"} if known else task_status(task_id)
    if status["state"] == "unknown":
        raise PlanError(f"no task has the id {task_id!r}", hint="Give the id that ingest or transform has printed")
    if status["state"] in {"queued", "running"} and not wait:
        raise TransientError(f"task {task_id} is {status['state']}", hint="Try again when it has ended, or add --wait")
    with reaching_broker():
        found: Mapping[str, Any] = AsyncResult(task_id, app=app).get()
    return found


def _waiting(task_id: str) -> str:
    with broker_client() as client:
        if task_id in look(client, []).held:
            return "running"
        return "queued" if task_id in waiting(client, settings().queue) else "unknown"
