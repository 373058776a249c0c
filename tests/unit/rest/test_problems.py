"""Errors as problems: a status for each, and nothing secret."""

from __future__ import annotations

import json
from typing import Any

import pytest

from datapipe.errors import (
    DataError,
    DatapipeError,
    FatalError,
    IdempotencyConflict,
    InProgress,
    NotPortableError,
    PlanError,
    SchemaError,
    TransientError,
)
from datapipe.rest.problems import MEDIA, Problem, Refused, refused

STATUS = {
    PlanError: 422,
    NotPortableError: 422,
    DataError: 422,
    SchemaError: 422,
    IdempotencyConflict: 422,
    InProgress: 409,
    TransientError: 503,
    FatalError: 502,
}


def body(problem: Refused) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bytes(problem.response("c1").body))
    return found


@pytest.mark.parametrize("kind", STATUS)
def test_each_error_has_a_status_and_its_own_name(kind: type[DatapipeError]) -> None:
    found = refused(kind("it went wrong", step="ingestion", hint="do better"))
    told = body(found)
    assert found.status == told["status"] == STATUS[kind]
    assert (told["title"], told["detail"], told["step"], told["hint"]) == (
        kind.__name__, "it went wrong", "ingestion", "do better",
    )  # fmt: skip
    Problem.model_validate(told)
    assert ("Retry-After" in found.headers) == (found.status in {409, 503})


def test_a_problem_is_named_by_a_urn() -> None:
    assert body(Refused(404, "x"))["type"] == "urn:datapipe:problem:not-found"
    assert body(refused(PlanError("x")))["type"] == "urn:datapipe:problem:plan-error"


def test_what_is_not_known_is_left_out() -> None:
    assert sorted(body(Refused(404, "x"))) == ["correlation_id", "detail", "status", "title", "type"]


def test_a_secret_in_an_error_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM", "postgresql://u:hunter2hunter2@db/x")
    told = body(Refused(422, "no server at postgresql://u:hunter2hunter2@db/x", "hunter2hunter2?"))
    assert "hunter2hunter2" not in json.dumps(told)


def test_it_is_problem_json() -> None:
    answer = Refused(401, "x", headers={"WWW-Authenticate": "Bearer"}).response()
    assert answer.media_type == MEDIA and answer.headers["www-authenticate"] == "Bearer"
