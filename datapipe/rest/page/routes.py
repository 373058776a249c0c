"""``/`` and ``/ui``: the web page. What it shows, and to whom, is what the JSON routes answer."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Mapping

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from datapipe.display import run_card
from datapipe.history import Run
from datapipe.plan.yamltext import dumped
from datapipe.rest.left import files_of
from datapipe.rest.models import Filters
from datapipe.rest.needs import Asking, Row, Store, needs
from datapipe.rest.page.assets import BASE, MEDIA, content
from datapipe.rest.page.layout import answered
from datapipe.rest.page.onerun import LINES, run_page
from datapipe.rest.page.runlist import first_page, runs_page
from datapipe.rest.page.workers import workers_page
from datapipe.rest.problems import Refused
from datapipe.rest.resources import detail, log_lines, summaries
from datapipe.rest.runs import page_of
from datapipe.rest.system import overview_for
from datapipe.secrets import redactor
from datapipe.store import RunRow

# The OpenAPI document is about the interface for programs.
router = APIRouter(dependencies=[needs("read")], include_in_schema=False)
_CARDS = 4  # of runs that go on, beside the table
_KEPT = {"Cache-Control": "private, max-age=31536000, immutable"}


@router.get("/")
def list_page(request: Request, store: Store, caller: Asking) -> Response:
    """The latest runs."""
    asked = {name: value for name, value in request.query_params.items() if value}
    found = page_of(_filters(asked), request, store, caller)
    if not found.rows and not asked:
        return answered(first_page(str(request.base_url), is_open=request.app.state.is_open), request)
    going = [row["id"] for row in found.rows if row["state"] == "running"][:_CARDS]
    cards = {run_id: run_card(Run(run_id, store).view) for run_id in going}
    return answered(runs_page(summaries(found.rows), cards, asked, found.after, sees_all=caller.sees_all), request)


@router.get("/ui/runs/{run_id}")
def one_page(row: Row, request: Request, store: Store, caller: Asking) -> Response:
    """One run."""
    children = summaries(vars(child) for child in store.children(row.id) if caller.may_see(child))
    left = files_of(row)
    page = run_page(
        detail(row),
        run_card(Run(row.id, store).view),
        children,
        left.names() if left else [],
        log_lines(store.logs(row.id, last=LINES + 1)),
        _plan(row),
        may_run=caller.reaches("run"),
    )
    return answered(page, request)


@router.get("/ui/workers")
async def platform_page(request: Request, store: Store, caller: Asking) -> Response:
    """Workers, queues, and the servers they need."""
    found, health = await asyncio.gather(overview_for(request, store, caller), request.app.state.health())
    online = sum(worker.state == "online" for worker in found.workers)
    health = dataclasses.replace(health, workers=online)
    return answered(workers_page(found, health), request)


@router.get(f"{BASE}/{{name}}")
def static_file(name: str) -> Response:
    """The style sheet and the script."""
    if name not in MEDIA:
        raise Refused(404, "there is no such file")
    return Response(content(name), media_type=MEDIA[name], headers=_KEPT)


def _filters(asked: Mapping[str, str]) -> Filters:
    """The filters of a form, whose empty fields say nothing.

    Raises
    ------
    Refused
        If a filter is none, or has a value that is none.
    """
    try:
        return Filters.model_validate(asked)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Refused(422, f"the filter {where} is wrong: {first['msg']}", "Begin again at /", step=where) from None


def _plan(row: RunRow) -> str:
    """What it ran, as a document."""
    return redactor().text(dumped(json.loads(row.document))) if row.document else ""
