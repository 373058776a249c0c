"""Errors as RFC 9457 has them: application/problem+json, with what happened, where, and what to do next."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from datapipe.errors import DatapipeError, FatalError, IdempotencyConflict, InProgress, PlanError, TransientError
from datapipe.secrets import redactor

MEDIA = "application/problem+json"
# A header each: browsers look at the first scheme of a header, and only Basic makes them ask.
_CHALLENGES = ('Bearer realm="datapipe"', 'Basic realm="datapipe", charset="UTF-8"')


class Problem(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="urn:datapipe:problem:… names the kind of problem.")
    title: str = Field(description="The kind of problem, for people.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened.")
    step: str | None = Field(default=None, description="The step of the plan, or the field of the request.")
    hint: str | None = Field(default=None, description="What to do next.")
    correlation_id: str | None = Field(default=None, description="The id of the request, which logs have, too.")


@dataclass
class Refused(Exception):  # noqa: N818  # it says what happened to the request
    """A request that is not carried out.

    Parameters
    ----------
    status : int
    detail : str
    hint : str, optional
    headers : mapping of str to str
    kind : str, optional
        What kind of problem, where the status does not say it.
    """

    status: int
    detail: str
    hint: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    step: str | None = None
    kind: str | None = None

    def response(self, correlation_id: str | None = None) -> JSONResponse:
        """The answer."""
        title = self.kind or HTTPStatus(self.status).phrase
        found: dict[str, Any] = {
            "type": f"urn:datapipe:problem:{_kebab(title)}",
            "title": title,
            "status": self.status,
            "detail": self.detail,
        }
        more = {"step": self.step, "hint": self.hint, "correlation_id": correlation_id}
        found |= {name: value for name, value in more.items() if value is not None}
        answer = JSONResponse(redactor().data(found), self.status, dict(self.headers), MEDIA)
        for challenge in _CHALLENGES if self.status == HTTPStatus.UNAUTHORIZED else ():
            answer.headers.append("WWW-Authenticate", challenge)
        return answer


def refused(error: DatapipeError) -> Refused:
    """What one of our errors means to a caller.

    Examples
    --------
    >>> refused(PlanError("upsert needs keys", step="persistence")).status
    422
    """
    status, headers = next((status, headers) for kind, status, headers in _STATUS if isinstance(error, kind))
    return Refused(status, error.message, error.hint, headers, error.step, type(error).__name__)


def _kebab(title: str) -> str:
    """``PlanError`` and ``Not Found`` as a part of a URN."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|\W+", "-", title).lower()


_SOON = {"Retry-After": "5"}
_STATUS: tuple[tuple[type[DatapipeError], int, Mapping[str, str]], ...] = (
    (InProgress, 409, _SOON),
    (IdempotencyConflict, 422, {}),
    (PlanError, 422, {}),
    (TransientError, 503, _SOON),
    (FatalError, 502, {}),  # a server behind this one refuses
    (DatapipeError, 422, {}),
)
