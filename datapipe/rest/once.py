"""``Idempotency-Key``: a request is carried out once, and its repetitions get the answer it got."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse

from datapipe.errors import DatapipeError, PlanError
from datapipe.rest.problems import Refused
from datapipe.store import RunStore
from datapipe.store.requests import Answer, answer_request, forget_request, take_request
from datapipe.workers.queue import needed_store, new_id

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def accepted(request: Request, begin: Callable[[str], Mapping[str, Any]]) -> JSONResponse:
    """The answer to a request that begins a run, which is begun unless it was by the same request before.

    Parameters
    ----------
    begin : callable
        Takes the run's id, begins it, and returns the body of the answer.

    Raises
    ------
    Refused
        If the key is none (400).
    DatapipeError
        As ``begin`` does; nothing is kept then. IdempotencyConflict, InProgress.
    """
    given = request.headers.getlist("idempotency-key")
    if not given:
        return _answered(begin(new_id()))
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise Refused(400, "the Idempotency-Key is none", "Use 1 to 255 visible ASCII characters, such as a UUID")
    store, owner = needed_store(), request.state.caller.owner
    key, asked = _hashed(owner, given[0].strip('"')), _hashed(request.method, request.url.path, request.state.digest)
    fresh = new_id()
    found = take_request(store, key, asked, fresh)
    if isinstance(found, Answer):
        return _answered(found.body, found.status, replayed=True)
    try:
        # Whoever began to answer may have died after the run was queued, and before this could be noted.
        body = (None if found == fresh else _begun(store, found)) or begin(found)
    except (DatapipeError, Refused):
        forget_request(store, key)
        raise
    answer_request(store, key, Answer(202, body))
    return _answered(body)


def receipt(run_id: str, pipeline_id: str) -> dict[str, str]:
    """What is said of a run that was accepted."""
    return {"pipeline_id": pipeline_id, "task_id": run_id, "run_id": run_id, "state": "queued"}


def _begun(store: RunStore, run_id: str) -> Mapping[str, Any] | None:
    """What was said of a run that is recorded; None if it must be begun, perhaps for the second time."""
    with suppress(PlanError):
        row = store.run(run_id)
        # A single stage is queued by whoever recorded it, and by nobody else.
        is_safe = row.state != "queued" or store.message(run_id) is not None
        return receipt(run_id, row.pipeline_id) if is_safe else None
    return None


def _answered(body: Mapping[str, Any], status: int = 202, *, replayed: bool = False) -> JSONResponse:
    headers = {"Location": f"/runs/{body['run_id']}"}
    return JSONResponse(body, status, headers | ({"Idempotent-Replayed": "true"} if replayed else {}))


def _hashed(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
