"""The application: routes behind a gate, and errors as problems."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.responses import Response

from datapipe import __version__
from datapipe.errors import DatapipeError, PlanError
from datapipe.plan import Plan
from datapipe.rest import notebooks, pipelines, runs, system, tasks
from datapipe.rest.gate import OPEN_PATHS, Gate, Terms, host_names
from datapipe.rest.models import PipelineRequest, PlanRequest
from datapipe.rest.page.layout import refusal
from datapipe.rest.page.routes import router as page
from datapipe.rest.problems import Problem, Refused, refused
from datapipe.rest.rates import Rates
from datapipe.rest.recent import Recent
from datapipe.rest.streams import Streams
from datapipe.rest.together import Together
from datapipe.rest.vetting import listed
from datapipe.settings import settings
from datapipe.store import RunStore, open_store
from datapipe.store.apikeys import has_keys, list_keys
from datapipe.workers.metrics import texts
from datapipe.workers.monitor import WorkerMonitor

_ABOUT = """Plans and notebooks sent to workers; runs, workers, schemas.

Show an API key as `Authorization: Bearer KEY`, or as the password of HTTP Basic. Repeat a request that begins something
with the same `Idempotency-Key`, and it begins once. Errors are `application/problem+json`.
"""
_FRESH = 2.0  # seconds that a look at all servers does for everybody, who need no key for it
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def create_app(address: str = "127.0.0.1") -> FastAPI:
    """The REST interface as an ASGI application.

    Parameters
    ----------
    address : str
        Where it will listen. On a loopback address it takes requests without a key, as long as no key was made and
        DATAPIPE_API_OPEN does not say otherwise; on any other one it needs keys, or DATAPIPE_API_OPEN=1.

    Returns
    -------
    fastapi.FastAPI

    Raises
    ------
    PlanError
        If it needs keys, and there are none; or runs are not recorded.

    Examples
    --------
    >>> import uvicorn  # doctest: +SKIP
    >>> uvicorn.run(create_app("127.0.0.1"), host="127.0.0.1", port=8000)  # doctest: +SKIP
    """
    found = settings()
    terms = Terms(is_open(address), host_names(address, listed(found.api_hosts)), Rates(found.api_rate))
    app = FastAPIOffline(title="datapipe", version=__version__, description=_ABOUT, redirect_slashes=False)
    for part in (pipelines, tasks, runs, notebooks, system):
        app.include_router(part.router)
    app.include_router(page)
    app.state.is_open = terms.is_open
    app.state.together = Together()
    app.state.metrics = texts()
    app.state.streams = Streams()
    app.state.health = Recent(lambda: WorkerMonitor().health(), _FRESH)
    app.add_middleware(Gate, terms=terms)
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's own way to extend it
    return app


def is_open(address: str) -> bool:
    """Whether no key is needed. Where one was ever made, it is: a key that has expired opens nothing.

    Raises
    ------
    PlanError
        If one is, and there is none that is valid.
    """
    chosen, store = settings().api_open, _store()
    if chosen or (chosen is None and address in LOOPBACK and not list_keys(store)):
        return True
    if not has_keys(store):
        hint = "Make one: datapipe keys create; or set DATAPIPE_API_OPEN=1 where only friends can reach it"
        raise PlanError(f"at {address} requests need an API key, and there is none that is valid", hint=hint)
    return False


def _store() -> RunStore:
    store = open_store()
    if store is None:
        raise PlanError(
            "the REST interface needs the record of runs, and DATAPIPE_METADATA_URL is off", hint="Unset it"
        )
    return store


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the form of plans, and how to show a key."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        parts = made.setdefault("components", {}).setdefault("schemas", {})
        for name, model in (("Plan", Plan), ("Problem", Problem)):
            schema = model.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
            parts.update(schema.pop("$defs", {}))
            parts[name] = schema
        for body in (PipelineRequest, PlanRequest):
            parts[body.__name__]["properties"]["pipeline_config"] = {"$ref": "#/components/schemas/Plan"}
        made["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "basic": {"type": "http", "scheme": "basic", "description": "Any user; the key is the password."},
        }
        made["security"] = [{"bearer": []}, {"basic": []}]
        for path in OPEN_PATHS:
            made["paths"][path]["get"]["security"] = []
        app.openapi_schema = made
    return app.openapi_schema


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, DatapipeError)  # noqa: S101  # it is registered for these
    return _answer(request, refused(error))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101  # it is registered for these
    return _answer(request, error)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # it is registered for these
    return _answer(request, Refused(error.status_code, str(error.detail), None, dict(error.headers or {})))


async def _invalid(request: Request, error: Exception) -> Response:
    """A request that does not fit the OpenAPI document; what was given is not repeated."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  # it is registered for these
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return _answer(request, Refused(422, str(first["msg"]), "See /docs for what it takes", step=where))


def _answer(request: Request, error: Refused) -> Response:
    return refusal(error, request.url.path, request.state.correlation_id)


_HANDLERS: dict[Any, Any] = {
    DatapipeError: _ours,
    Refused: _refused,
    HTTPException: _http,
    RequestValidationError: _invalid,
}
