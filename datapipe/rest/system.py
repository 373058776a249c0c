"""``/workers``, ``/health``, ``/metrics``, ``/schemas``: what the platform itself is like."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from datapipe import __version__
from datapipe.errors import PlanError
from datapipe.rest.callers import NOBODY, Caller
from datapipe.rest.needs import Asking, Store, answers, needs, reading
from datapipe.rest.problems import Refused
from datapipe.schemas import SchemaRegistry
from datapipe.store import RunStore
from datapipe.workers.monitor import WorkerMonitor
from datapipe.workers.values import Overview, WorkerStatus

router = APIRouter()


@router.get("/workers", tags=["workers"], **reading())
async def list_workers(request: Request, store: Store, caller: Asking) -> dict[str, Any]:
    """Workers and queues, as they are now."""
    return dataclasses.asdict(await overview_for(request, store, caller))


@router.get(
    "/health",
    tags=["health"],
    responses={
        **{status: answers()[status] for status in (400, 403, 421, 429, 500)},  # the gate's
        200: {"description": "All that is needed answers."},
        503: {"description": "Something does not."},
    },
)
async def health(request: Request) -> JSONResponse:
    """Whether all that runs need answers, and a worker is online; in detail for callers with a key."""
    found = await request.app.state.health()
    body: dict[str, Any] = {"status": "ok" if found.ok else "failing"}
    if request.state.caller != NOBODY:
        body |= {"version": __version__, "workers": found.workers}
        body |= {"parts": [dataclasses.asdict(part) for part in found.parts]}
    return JSONResponse(body, 200 if found.ok else 503)


@router.get(
    "/metrics",
    tags=["health"],
    dependencies=[needs("read")],
    response_class=Response,
    responses={
        **answers(),
        200: {"description": "Metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}},
    },
)
async def metrics(request: Request) -> Response:
    """Runs, queues, workers and servers in the form that Prometheus reads."""
    text = await request.app.state.together("metrics", request.app.state.metrics)
    return Response(text, media_type="text/plain; version=0.0.4")


@router.get("/schemas", tags=["schemas"], **reading())
def list_schemas(store: Store) -> dict[str, Any]:
    """The subjects of the registry, each with its latest version."""
    registry = SchemaRegistry(store)
    return {"schemas": [registry.get(subject).to_dict() for subject in registry.subjects()]}


@router.get("/schemas/{subject:path}", tags=["schemas"], **reading())
def get_schema(
    subject: str, store: Store, version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None
) -> dict[str, Any]:
    """One subject: a version of its schema, the latest if none is named, and how many there are."""
    registry = SchemaRegistry(store)
    try:
        found = registry.get(subject, version)
    except PlanError as error:
        raise Refused(404, error.message, error.hint) from None
    return {**found.to_dict(), "versions": registry.versions(found.subject)}


async def overview_for(request: Request, store: RunStore, caller: Caller) -> Overview:
    """Workers and queues; of their runs only those the caller may see: whose the others are is nobody's business."""
    found: Overview = await request.app.state.together("workers", lambda: WorkerMonitor().overview())
    return found if caller.sees_all else await to_thread.run_sync(_cut, found, store, caller)


def _cut(found: Overview, store: RunStore, caller: Caller) -> Overview:
    def cut(worker: WorkerStatus) -> WorkerStatus:
        own = tuple(run_id for run_id in worker.active if _is_theirs(store, run_id, caller))
        return dataclasses.replace(worker, active=own)

    return dataclasses.replace(found, workers=tuple(map(cut, found.workers)))


def _is_theirs(store: RunStore, run_id: str, caller: Caller) -> bool:
    try:
        return caller.may_see(store.run(run_id))
    except PlanError:
        return False
