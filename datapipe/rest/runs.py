"""``/runs``: lists, one run, its log and progress as streams; to cancel it, and to try it again."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

from datapipe.display import run_card
from datapipe.history import Run
from datapipe.rest.callers import Caller
from datapipe.rest.models import Asked, Filters, Log, RunDetail, RunList
from datapipe.rest.needs import Asking, Row, Store, answers, needs, reading, sending, sweep
from datapipe.rest.resources import detail, log_lines, summaries
from datapipe.rest.streams import Look, followed, log_lines_behind, run_changes
from datapipe.store import RunStore
from datapipe.store.apikeys import is_valid
from datapipe.store.search import Page, search
from datapipe.workers.queue import retry

router = APIRouter(tags=["runs"])
_LINE = re.compile(r"[0-9]{1,15}")
_EVENT = {
    "type": "object",
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}, "id": {"type": "string"}},
    "required": ["event", "data"],
}
_STREAM = {"text/event-stream": {"itemSchema": _EVENT}}


@router.get("/runs", response_model=RunList, **reading())
async def list_runs(filters: Annotated[Filters, Query()], request: Request, store: Store, caller: Asking) -> Response:
    """The latest runs, the newest first, a page at a time."""

    def look() -> tuple[bytes, str | None]:
        page = page_of(filters, request, store, caller)
        return bytes(JSONResponse({"runs": summaries(page.rows), "next": page.after}).body), page.after

    # Many pages in many browsers ask for the same list again and again.
    seen = None if caller.sees_all else caller.owner
    body, after = await request.app.state.together((seen, filters.model_dump_json()), look)
    headers = {}
    if after:
        link = request.url.include_query_params(after=after)
        headers["Link"] = f'<{link.path}?{link.query}>; rel="next"'
    return Response(body, media_type="application/json", headers=headers)


@router.get("/runs/{run_id}", response_model=RunDetail, **reading())
def get_run(row: Row) -> JSONResponse:
    """One run: its state, how far its steps are, what came of it."""
    return JSONResponse(detail(row))


@router.post("/runs/{run_id}/cancel", response_model=Asked, **sending())
def cancel_run(row: Row, store: Store) -> JSONResponse:
    """Ask a run to stop, which it does within about a second. One that has ended stays as it is."""
    asked = store.cancel(row.id)
    return JSONResponse({"run_id": row.id, "state": store.run(row.id).state, "cancel_requested": asked}, 202)


@router.post("/runs/{run_id}/retry", response_model=RunDetail, **sending())
def retry_run(row: Row, store: Store) -> JSONResponse:
    """Queue a run that failed, was cancelled or is lost again, under its id; what took effect is not done twice."""
    retry(row.id)
    return JSONResponse(detail(store.run(row.id)), 202, {"Location": f"/runs/{row.id}"})


@router.get("/runs/{run_id}/logs", response_model=Log, **reading())
def get_logs(
    row: Row,
    store: Store,
    after: Annotated[int, Query(ge=0, le=2**53)] = 0,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> JSONResponse:
    """What a run had to say: notes and failed attempts, the first ones after a line."""
    return JSONResponse({"lines": log_lines(store.logs(row.id, after=after, first=limit))})


@router.get(
    "/runs/{run_id}/logs/stream",
    response_class=StreamingResponse,
    dependencies=[needs("read")],
    responses={**answers(), 200: {"description": "Server-sent events, one a line.", "content": _STREAM}},
)
def stream_logs(row: Row, request: Request, store: Store, caller: Asking) -> StreamingResponse:
    """The same as server-sent events, until the run ends. Last-Event-ID goes on behind a line."""
    last = request.headers.get("last-event-id", "")
    after = int(last) if _LINE.fullmatch(last) else 0
    return _stream(log_lines_behind(store, row.id, after), request, store, caller)


@router.get(
    "/runs/{run_id}/events",
    response_class=StreamingResponse,
    dependencies=[needs("read")],
    responses={**answers(), 200: {"description": "Server-sent events: run, and end.", "content": _STREAM}},
)
def stream_run(row: Row, request: Request, store: Store, caller: Asking) -> StreamingResponse:
    """The run as server-sent events: ``run`` whenever something has changed, ``end`` when it has ended."""
    return _stream(run_changes(store, row.id), request, store, caller)


@router.get(
    "/runs/{run_id}/card",
    response_class=HTMLResponse,
    dependencies=[needs("read")],
    responses={**answers(), 200: {"description": "A piece of HTML, as notebooks show it."}},
)
def get_card(row: Row, store: Store) -> HTMLResponse:
    """The run's card."""
    return HTMLResponse(run_card(Run(row.id, store).view))


def _stream(look: Look, request: Request, store: RunStore, caller: Caller) -> StreamingResponse:
    """What a look finds, as long as the caller's key is valid; a few such streams for each caller."""
    who = caller.key or (request.client.host if request.client else "")
    request.app.state.streams.check(who)

    def goes_on() -> bool:
        sweep(request, store)  # a run that has fallen silent tells nobody
        return not caller.key or is_valid(store, caller.key)

    found = request.app.state.streams.counted(who, followed(look, goes_on))
    return StreamingResponse(found, media_type="text/event-stream")


def page_of(filters: Filters, request: Request, store: RunStore, caller: Caller) -> Page:
    """The runs that a list has for this caller."""
    sweep(request, store)
    wanted = filters.model_dump(exclude={"since", "until", "limit", "after"})
    if not caller.sees_all and filters.owner not in {None, caller.owner}:
        return Page(())
    wanted |= {} if caller.sees_all else {"owner": caller.owner}
    since, until = _stamp(filters.since), _stamp(filters.until)
    return search(store, limit=filters.limit, after=filters.after, since=since, until=until, **wanted)


def _stamp(time: dt.datetime | None) -> str | None:
    """A time as the store writes it; one without an offset is in UTC."""
    if time is None:
        return None
    aware = time if time.tzinfo else time.replace(tzinfo=dt.UTC)
    try:
        return aware.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:  # at the end of all times
        return aware.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
