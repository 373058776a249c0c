"""The gate every request goes through: what it may say, who sends it, how much of it; before anything is routed.

What is not let in is answered here, so that no route can be forgotten. Only ``/health`` is there for everybody.
"""

from __future__ import annotations

import hashlib
import logging
import re
import socket
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from datapipe.errors import DatapipeError
from datapipe.logs import bound, logger
from datapipe.rest.body import checked, replayed, whole
from datapipe.rest.callers import NOBODY, Caller, anybody, identified
from datapipe.rest.page.layout import POLICY, is_page, refusal
from datapipe.rest.problems import Refused, refused
from datapipe.rest.rates import Rates
from datapipe.rest.together import Together
from datapipe.workers.queue import needed_store

_LOG = logger("datapipe.rest")
_ASKED_OFTEN = ("/health", "/metrics")  # by machines
OPEN_PATHS = frozenset({"/health"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_POLICY = "Content-Security-Policy"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_DATA = "default-src 'none'; frame-ancestors 'none'"
# The interactive documentation, which is scripts of ours on pages of ours.
_DOCUMENTATION = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "worker-src blob:; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Terms:
    """On what terms requests are taken.

    Parameters
    ----------
    is_open : bool
        Whether no key is needed.
    hosts : frozenset of str
        The names by which it may be called, without ports.
    rates : Rates
    """

    is_open: bool
    hosts: frozenset[str]
    rates: Rates = field(repr=False)


def host_names(address: str, further: Iterable[str]) -> frozenset[str]:
    """The names that lead here.

    Examples
    --------
    >>> sorted(host_names("127.0.0.1", ["etl.example"]) - {socket.gethostname().lower()})
    ['127.0.0.1', '[::1]', 'etl.example', 'localhost']
    """
    own = f"[{address}]" if ":" in address else address
    everywhere = {"0.0.0.0", "[::]"}  # noqa: S104  # no name of anything
    return frozenset(name.lower() for name in (*_LOCAL, own, socket.gethostname(), *further)) - everywhere


class Gate:
    """ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp, terms: Terms) -> None:
        self._app = app
        self._terms = terms
        self._callers = Together[Caller]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks WebSocket, and nobody has asked for a key there
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        correlation_id = _correlation_id(headers)
        with bound(correlation_id=correlation_id):
            await self._answer(scope, headers, correlation_id, receive, send)

    async def _answer(self, scope: Scope, headers: Headers, correlation_id: str, receive: Receive, send: Send) -> None:
        began, has_begun = time.perf_counter(), False

        async def answer(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                _log(scope, message["status"], time.perf_counter() - began)
                found = MutableHeaders(scope=message)
                further = {_POLICY: _policy(scope["path"]), "X-Correlation-ID": correlation_id}
                for name, value in {**_HEADERS, **further}.items():
                    found.setdefault(name, value)
            await send(message)

        try:
            caller = await self._let_in(scope, headers)
            body = b"" if scope["method"] in _SAFE else await _read(headers, receive)
            known = {"caller": caller, "correlation_id": correlation_id, "digest": hashlib.sha256(body).hexdigest()}
            scope.setdefault("state", {}).update(known)
            receive = receive if scope["method"] in _SAFE else replayed(body)
            await self._app(scope, receive, answer)
        except Refused as error:
            await refusal(error, scope["path"], correlation_id)(scope, receive, answer)
        except Exception:
            if has_begun:
                raise
            _LOG.exception("a request failed: %s %s", scope["method"], scope["path"])
            failure = Refused(500, "the server failed", "Its log has more, under the correlation id")
            await refusal(failure, scope["path"], correlation_id)(scope, receive, answer)

    async def _let_in(self, scope: Scope, headers: Headers) -> Caller:
        self._check_host(headers)
        _check_origin(scope, headers)
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            raise Refused(400, "the URL holds the character NUL, which no name has")
        address = (scope.get("client") or ("",))[0]
        if self._terms.is_open:
            self._take(address)
            return anybody()
        try:
            shown = headers.get("authorization", "")
            caller = await self._callers(shown, lambda: identified(headers, needed_store()))
        except (Refused, DatapipeError) as error:
            self._take(address)
            if scope["path"] in OPEN_PATHS:
                return NOBODY
            raise error if isinstance(error, Refused) else refused(error) from None
        self._take(caller.key)
        return caller

    def _take(self, caller: str) -> None:
        seconds = self._terms.rates.wait(caller)
        if seconds:
            after = {"Retry-After": str(int(seconds) + 1)}
            raise Refused(429, "too many requests", f"At most {self._terms.rates.per_minute} a minute", after)

    def _check_host(self, headers: Headers) -> None:
        given = headers.getlist("host")
        name = re.sub(r":\d*\Z", "", given[0]).lower() if len(given) == 1 else ""
        if name not in self._terms.hosts:
            hint = "Call it by localhost, or set DATAPIPE_API_HOSTS to the names that lead here"
            raise Refused(421, "this server is not known by the name in the Host header", hint)


def _policy(path: str) -> str:
    """What a browser may load for what is answered at a path."""
    if is_page(path):
        return POLICY
    return _DOCUMENTATION if path in {"/docs", "/redoc"} else _DATA


def _check_origin(scope: Scope, headers: Headers) -> None:
    """Refuse what a page of another site has a browser send."""
    origin = headers.get("origin")
    own = {f"{scheme}://{headers['host']}".lower() for scheme in ("http", "https")}
    is_foreign = origin is not None and origin.lower() not in own
    is_sent = scope["method"] not in _SAFE and headers.get("sec-fetch-site") in {"cross-site", "same-site"}
    if is_foreign or is_sent:
        raise Refused(403, "this request comes from a page of another site")


async def _read(headers: Headers, receive: Receive) -> bytes:
    body = await whole(receive, headers.get("content-length"))
    kind = headers.get("content-type")
    if body or kind is not None:
        if _media(kind or "") != "application/json":
            raise Refused(415, "the body must be application/json", "Send it with Content-Type: application/json")
        if body:
            checked(body)
    return body


def _media(kind: str) -> str:
    return kind.partition(";")[0].strip().lower()


def _log(scope: Scope, status: int, seconds: float) -> None:
    level = logging.DEBUG if scope["path"] in _ASKED_OFTEN else logging.INFO
    _LOG.log(level, "%s %s", scope["method"], scope["path"], extra={"status": status, "seconds": round(seconds, 3)})


def _correlation_id(headers: Mapping[str, Any]) -> str:
    given = headers.get("x-correlation-id", "")
    return given if _ID.fullmatch(given) else str(uuid.uuid4())
