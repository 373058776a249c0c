"""``/pipelines``: plans sent to workers, as the specification has it; and ``/plans``: plans looked at."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import JSONResponse

from datapipe.engine import run_options
from datapipe.errors import DatapipeError, PlanError
from datapipe.plan import Plan, bind, parameter_names, parse
from datapipe.plan.document import to_dict
from datapipe.rest.looking import explained, previewed
from datapipe.rest.models import Accepted, PipelineRequest, PlanRequest, RunDetail
from datapipe.rest.needs import Asking, Store, looking, reading, sending, sweep
from datapipe.rest.once import accepted, receipt
from datapipe.rest.problems import Refused, refused
from datapipe.rest.resources import detail, found_run
from datapipe.rest.vetting import admitted, rules
from datapipe.store.search import search
from datapipe.workers import queue

router = APIRouter()


@router.post("/pipelines", response_model=Accepted, tags=["pipelines"], **sending())
def create_pipeline(body: PipelineRequest, request: Request, caller: Asking) -> JSONResponse:
    """Send a plan to the workers.

    ``Location`` leads to the run. With an ``Idempotency-Key``, a repeated request begins no second run.
    """

    def begin(run_id: str) -> Mapping[str, Any]:
        plan = vetted(body.pipeline_config, body.parameters)
        options = run_options(body.memory, body.idempotency_key, body.if_running)
        found = dataclasses.replace(options, run_id=run_id, correlation_id=request.state.correlation_id)
        by = {"owner": caller.owner, "via": "rest"}
        queue.submit(plan, found, queue=body.queue, pipeline_id=body.pipeline_id, by=by)
        return receipt(run_id, body.pipeline_id or run_id)

    return accepted(request, begin)


@router.get(
    "/pipelines/{pipeline_id}/status",
    response_model=RunDetail,
    tags=["pipelines"],
    **reading(),
)
def pipeline_status(
    pipeline_id: Annotated[str, Path(max_length=128)], request: Request, store: Store, caller: Asking
) -> JSONResponse:
    """How the latest run of a pipeline stands."""
    sweep(request, store)
    owner = None if caller.sees_all else caller.owner
    page = search(store, limit=1, pipeline_id=pipeline_id, owner=owner)
    run_id = page.rows[0]["id"] if page.rows else pipeline_id
    try:
        return JSONResponse(detail(found_run(store, run_id, caller)))
    except Refused:
        raise Refused(404, "there is no pipeline of this id", "POST /pipelines begins one") from None


@router.post("/plans/validate", tags=["plans"], **looking())
def validate_plan(body: PlanRequest) -> dict[str, Any]:
    """Whether a plan is well formed, and may be sent here. Nothing is connected to."""
    try:
        plan = vetted(body.pipeline_config, body.parameters)
    except DatapipeError as error:
        problem = refused(error)
        return {"valid": False, "detail": problem.detail, "step": problem.step, "hint": problem.hint}
    named = list(parameter_names(plan))
    return {"valid": True, "fingerprint": plan.fingerprint, "parameters": named, "pipeline_config": to_dict(plan)}


@router.post("/plans/explain", tags=["plans"], **looking())
def explain_plan(body: PlanRequest) -> dict[str, Any]:
    """What a run would do: the SQL it sends, the columns of each step, the statements of the write."""
    return explained(vetted(body.pipeline_config, body.parameters))


@router.post("/plans/preview", tags=["plans"], **looking())
def preview_plan(
    body: PlanRequest,
    rows: Annotated[int, Query(ge=0, le=1000, description="Rows to show.")] = 20,
    step: Annotated[int | None, Query(ge=0, le=1000, description="0: the source, 1: the first step, …")] = None,
) -> dict[str, Any]:
    """The first rows of a plan, from a sample of its source. Nothing is written."""
    return previewed(vetted(body.pipeline_config, body.parameters), rows, step)


def vetted(document: Mapping[str, Any], values: Mapping[str, Any]) -> Plan:
    """The plan of a request.

    Raises
    ------
    PlanError
        If it is wrong, or names what requests may not.
    """
    plan = admitted(parse(document), rules())
    try:
        return bind(plan, values) if values else plan
    except PlanError as error:
        raise error.at("parameters") from None
