"""``/notebooks``: which there are, what they take; to run one on a worker; and what a run of one has left."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import JSONResponse, Response

from datapipe.errors import DatapipeError
from datapipe.notebooks.hosting import options_of
from datapipe.notebooks.job import NotebookJob, notebook
from datapipe.notebooks.model import NotebookPlan, parse_job
from datapipe.notebooks.prepared import prepared
from datapipe.rest.left import files_of, media_of
from datapipe.rest.models import Accepted, NotebookRequest
from datapipe.rest.needs import Asking, Row, reading, sending
from datapipe.rest.once import accepted, receipt
from datapipe.rest.problems import Refused
from datapipe.rest.shelf import notebook_file, notebooks
from datapipe.rest.vetting import check_references
from datapipe.workers import queue

router = APIRouter(tags=["notebooks"])
Name = Annotated[str, Path(description="Its path within its folder: reports/daily.ipynb", max_length=512)]
# A page that a notebook has made: looked at, and nothing else.
_SANDBOX = {
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; frame-ancestors 'self'"
    ),
    "X-Frame-Options": "SAMEORIGIN",  # the page of its run shows it
}


@router.get("/notebooks", **reading())
def list_notebooks() -> dict[str, Any]:
    """The notebooks that may be run here, and the parameters they take."""
    return {"notebooks": [_brief(name, str(file)) for name, file in notebooks()]}


@router.post("/notebooks/{name:path}/runs", response_model=Accepted, **sending())
def run_notebook(name: Name, body: NotebookRequest, request: Request, caller: Asking) -> JSONResponse:
    """Send a notebook to the workers, with values for its parameters."""
    check_references(body.parameters)
    job = prepared(_plan(name, body))

    def begin(run_id: str) -> Mapping[str, Any]:
        options = options_of(body.idempotency_key, body.if_running)
        found = dataclasses.replace(options, run_id=run_id, correlation_id=request.state.correlation_id)
        by = {"owner": caller.owner, "via": "rest"}
        queue.submit_job(job, found, queue=body.queue, pipeline_id=body.pipeline_id, by=by)
        return receipt(run_id, body.pipeline_id or run_id)

    return accepted(request, begin)


@router.get("/notebooks/{name:path}", **reading())
def get_notebook(name: Name) -> dict[str, Any]:
    """One notebook: its parameters as JSON Schema, and what is wrong with its code, if something is."""
    job = notebook(notebook_file(name))
    return {"name": name, "parameters": job.json_schema(), "findings": [str(one) for one in job.check()]}


@router.get("/runs/{run_id}/artifacts", **reading(), tags=["runs"])
def list_artifacts(row: Row) -> dict[str, Any]:
    """The files that a notebook's run has left: the executed notebook, the same as HTML, its outputs."""
    found = files_of(row)
    return {"artifacts": found.names() if found else []}


@router.get(
    "/runs/{run_id}/artifacts/{file:path}",
    response_class=Response,
    **reading(),
    tags=["runs"],
)
def get_artifact(row: Row, file: Annotated[str, Path(max_length=512)]) -> Response:
    """One of these files."""
    found = files_of(row)
    content = found.read(file) if found and file in found.names() else None
    if content is None:
        raise Refused(404, "the run has left no such file", f"GET /runs/{row.id}/artifacts lists those there are")
    return Response(content, media_type=media_of(file), headers=_SANDBOX)


def _plan(name: str, body: NotebookRequest) -> NotebookPlan:
    limits = {
        "timeout": body.timeout,
        "cell_timeout": body.cell_timeout,
        "memory": body.memory,
        "retries": body.retries,
    }
    spec = {"path": str(notebook_file(name)), "parameters": body.parameters, **limits}
    document = {"name": body.name, "notebook": {key: value for key, value in spec.items() if value is not None}}
    return parse_job({key: value for key, value in document.items() if value is not None})


def _brief(name: str, file: str) -> dict[str, Any]:
    try:
        return {"name": name, "parameters": NotebookJob(parse_job({"notebook": file})).json_schema(), "problem": None}
    except DatapipeError as error:
        return {"name": name, "parameters": None, "problem": str(error)}
