"""``/tasks``: single stages of a pipeline, each a task whose rows are left for the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import pyarrow as pa
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from datapipe.engine import RunOptions
from datapipe.errors import DatapipeError, PlanError
from datapipe.plan import parse
from datapipe.rest.callers import Caller
from datapipe.rest.models import Accepted, Asked, Ingest, Persist, RunDetail, Transform
from datapipe.rest.needs import Asking, Row, Store, reading, sending
from datapipe.rest.once import accepted, receipt
from datapipe.rest.resources import detail
from datapipe.rest.rows import handed_on, left_by, spooled, table_of
from datapipe.rest.runs import cancel_run
from datapipe.rest.vetting import admitted, rules
from datapipe.store import RunStore
from datapipe.workers import spool
from datapipe.workers.jobs import Job
from datapipe.workers.queue import STAGE_KINDS
from datapipe.workers.sealing import document
from datapipe.workers.staging import queue_stage

router = APIRouter(tags=["tasks"])
_ANY = f"x.{'0' * 32}.arrow"  # stands for rows that are not in the spool yet


@router.post("/tasks/ingest", response_model=Accepted, **sending())
def ingest(body: Ingest, request: Request, store: Store, caller: Asking) -> JSONResponse:
    """Have a worker read rows, and leave them for another task."""
    return _begun("ingest", body.model_dump(exclude_none=True), lambda: None, request, store, caller)


@router.post("/tasks/transform", response_model=Accepted, **sending())
def transform(body: Transform, request: Request, store: Store, caller: Asking) -> JSONResponse:
    """Have a worker take rows through a step, and leave them for another task."""
    return _further("transform", body, request, store, caller)


@router.post("/tasks/persist", response_model=Accepted, **sending())
def persist(body: Persist, request: Request, store: Store, caller: Asking) -> JSONResponse:
    """Have a worker write rows into a table, exactly once for each task."""
    return _further("persist", body, request, store, caller)


@router.get("/tasks/{run_id}", response_model=RunDetail, **reading())
def get_task(row: Row) -> JSONResponse:
    """How a task stands; its ``result`` is what the next one is given."""
    found = detail(row)
    note = spool.remembered(row.id) if row.ended_for_good and row.kind in STAGE_KINDS else None
    return JSONResponse(found | {"result": note["result"]} if note else found)


router.post("/tasks/{run_id}/cancel", response_model=Asked, **sending())(cancel_run)  # a task is a run


def _further(stage: str, body: Transform | Persist, request: Request, store: RunStore, caller: Caller) -> JSONResponse:
    fields = body.model_dump(exclude_none=True, exclude={"task_id", "previous_result", "rows"})
    return _begun(stage, fields, lambda: _rows(stage, body, store, caller), request, store, caller)


def _rows(stage: str, body: Transform | Persist, store: RunStore, caller: Caller) -> pa.Table | Mapping[str, Any]:
    """The rows that a task works on: a table, or what another task has left."""
    named = [name for name in ("task_id", "previous_result", "rows") if getattr(body, name) is not None]
    if len(named) != 1:
        hint = "Give task_id of a task that has ended, its result as previous_result, or the rows themselves"
        raise PlanError(f"{stage} needs rows from one place, and got {len(named)}", hint=hint)
    if body.rows is not None:
        return table_of(body.rows)
    if body.task_id is not None:
        return left_by(body.task_id, store, caller)
    return handed_on(body.previous_result or {}, store, caller)


def _begun(
    stage: str,
    fields: dict[str, Any],
    rows: Callable[[], pa.Table | Mapping[str, Any] | None],
    request: Request,
    store: RunStore,
    caller: Caller,
) -> JSONResponse:
    """Record a task, and queue it."""

    def begin(run_id: str) -> Mapping[str, Any]:
        given, keep = rows(), bool(fields.pop("keep", False))
        plan = parse(document(stage, fields))
        vetted = admitted(Job.of(stage, plan, keep, {"spool": _ANY}).plan, rules())
        sent = vetted if given is None else vetted.model_copy(update={"ingestion": plan.ingestion})
        options = RunOptions(run_id=run_id, correlation_id=request.state.correlation_id)
        with _handed_over(given, run_id) as found:
            job = Job.of(stage, sent, keep, found)
            queue_stage(store, job, sent, found, options, {"owner": caller.owner, "via": "rest"})
        return receipt(run_id, run_id)

    return accepted(request, begin)


@contextmanager
def _handed_over(given: pa.Table | Mapping[str, Any] | None, run_id: str) -> Iterator[Mapping[str, Any] | None]:
    """What a task is given: a table is put into the spool, and does not stay there if nothing is queued."""
    if not isinstance(given, pa.Table):
        yield given
        return
    found = spooled(given, run_id)
    try:
        yield found
    except BaseException:
        with suppress(DatapipeError):
            spool.discard(found["spool"])
        raise
