"""What routes depend on: who calls, the run store, and the answers they may all give."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path, Request

from datapipe.errors import PlanError
from datapipe.rest.callers import Caller
from datapipe.rest.problems import MEDIA, Problem, Refused
from datapipe.rest.resources import found_run
from datapipe.store import RunRow, RunStore
from datapipe.workers.queue import needed_store

_WORDS = {
    400: "The request is malformed.",
    401: "There is no API key, or none that is valid.",
    403: "The key's scope does not reach so far, or a page of another site has sent it.",
    404: "There is nothing of this name, or it is somebody else's.",
    405: "This cannot be done with it.",
    408: "The body did not arrive in time.",
    409: "Another run, or the same request, goes on.",
    413: "The body is too long.",
    415: "The body is not JSON.",
    421: "The server is not known by this name.",
    422: "The request, the plan or its parameters are wrong: the answer says where.",
    429: "Too many requests.",
    500: "The server failed; its log has more.",
    502: "A database or another server refuses.",
    503: "A server that is needed does not answer; try again.",
}
_ALWAYS = (400, 401, 403, 404, 405, 421, 422, 429, 500, 503)


def answers(*further: int) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer with, for the OpenAPI document."""
    content = {MEDIA: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
    return {status: {"description": _WORDS[status], "content": content} for status in sorted({*_ALWAYS, *further})}


_OF_BODIES = (408, 409, 413, 415)  # what else may become of a body


# Those that wait for nothing are no business of other threads: to hand over to one takes longer.
async def caller(request: Request) -> Caller:
    """Who calls; the gate has seen to it."""
    found: Caller = request.state.caller
    return found


Asking = Annotated[Caller, Depends(caller)]


def needs(scope: str) -> Any:
    """A dependency that refuses callers of a narrower scope."""

    async def check(request: Request) -> None:
        (await caller(request)).check(scope)

    return Depends(check)


async def store() -> RunStore:
    """The run store.

    Raises
    ------
    Refused
        If it is off.
    """
    try:
        return needed_store()
    except PlanError as error:
        raise Refused(503, error.message, error.hint) from None


Store = Annotated[RunStore, Depends(store)]
RunId = Annotated[str, Path(description="The id of a run, which is its task's, too.", max_length=128)]


def run_of(run_id: RunId, store: Store, caller: Asking) -> RunRow:
    """The run that a path names, if the caller may see it."""
    return found_run(store, run_id, caller)


Row = Annotated[RunRow, Depends(run_of)]


def reading(*further: int) -> dict[str, Any]:
    """How a route is declared that only looks."""
    return {"dependencies": [needs("read")], "responses": answers(*further)}


def looking() -> dict[str, Any]:
    """How a route is declared that looks at a plan."""
    return {"dependencies": [needs("run")], "responses": answers(*_OF_BODIES, 502)}


def sending() -> dict[str, Any]:
    """How a route is declared that sets something going."""
    return {"status_code": 202, "dependencies": [needs("run")], "responses": answers(*_OF_BODIES)}
