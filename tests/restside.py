"""The REST interface for tests: called in this process byte by byte, or served by a process of its own."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute

from datapipe.rest import create_app
from datapipe.store import RunStore
from datapipe.store.apikeys import create_key
from datapipe.store.opening import store_at

Pairs = Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True)
class Answer:
    """What was answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """What a refusal says, as people read it."""
        found = self.json()
        return " | ".join(str(found[name]) for name in ("step", "detail", "hint") if found.get(name))


@dataclass(frozen=True)
class Site:
    """The interface in this process, its record of runs, and a key of each scope by its owner."""

    folder: Path
    app: FastAPI
    store: RunStore
    keys: Mapping[str, str]

    def client(self, name: str | None = "ann") -> Client:
        """Somebody with a key; nobody's, for None."""
        return Client(self.app, self.keys[name] if name else None)


KEYS = {"ann": "run", "bob": "run", "rita": "read", "root": "admin"}
NOWHERE = "redis://127.0.0.1:1/0"


@contextmanager
def running_site(folder: Path, **variables: str) -> Iterator[Site]:
    """The interface over a record in a file. No broker is there, so that nothing can be queued."""
    for name in ("data", "notebooks", "outside"):
        (folder / name).mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**_environment(folder), **variables}.items():
            patch.setenv(name, value)
        store = store_at(os.environ["DATAPIPE_METADATA_URL"])
        keys = {owner: create_key(store, owner, scope)[1] for owner, scope in KEYS.items()}
        yield Site(folder, create_app(), store, keys)


def _environment(folder: Path) -> dict[str, str]:
    return {
        "DATAPIPE_HOME": str(folder / "home"),
        "DATAPIPE_METADATA_URL": f"sqlite:///{folder / 'runs.db'}",
        "REDIS_URL": NOWHERE,
        "SOURCE_DB_URL": f"sqlite:///{folder / 'source.db'}",
        "DEST_DB_URL": f"sqlite:///{folder / 'mart.db'}",
        "DATAPIPE_CONNECTION_CRM": "postgresql://crm:hunter2hunter2@db.example:5432/crm?sslmode=require",
        "DATAPIPE_API_FOLDERS": str(folder / "data"),
        "DATAPIPE_NOTEBOOK_FOLDERS": str(folder / "notebooks"),
        "DATAPIPE_API_DATABASES": "etl.example, etl2.example:6000",
        "DATAPIPE_FUNCTION_MODULES": "sitefunctions",
    }


def document(**parts: Any) -> dict[str, Any]:
    """The body of a request for a plan: of a query, unless told otherwise."""
    return {"pipeline_config": {"ingestion": {"query": "SELECT 1 AS id"}, **parts}}


@dataclass(frozen=True)
class Client:
    """Somebody with a key, or without one."""

    app: FastAPI
    key: str | None = None

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Pairs = (),
        *,
        parts: Iterable[bytes | None] | None = None,
        kind: str | None = "application/json",
        host: str | bytes | None = "localhost",
    ) -> Answer:
        """Send a request.

        Parameters
        ----------
        path : str
            With its query; percent-encoded.
        body : optional
            Bytes as they are; anything else as JSON.
        parts : iterable of bytes, optional
            The body as it arrives, in pieces, without a length; after None nothing more comes.
        kind, host : str, optional
            The headers Content-Type and Host; None leaves them out.
        """
        sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        found: list[tuple[str, str | bytes]] = [] if host is None else [("host", host)]
        found += [("authorization", f"Bearer {self.key}")] if self.key else []
        found += [("content-type", kind)] if kind and (body is not None or parts is not None) else []
        found += [("content-length", str(len(sent)))] if body is not None else []
        return asyncio.run(self._call(method, path, parts or [sent], [*found, *headers]))

    def get(self, path: str, headers: Pairs = (), **how: Any) -> Answer:
        return self.call("GET", path, headers=headers, **how)

    def post(self, path: str, body: Any = None, headers: Pairs = (), **how: Any) -> Answer:
        return self.call("POST", path, {} if body is None and "parts" not in how else body, headers, **how)

    async def _call(self, method: str, path: str, parts: Iterable[bytes | None], headers: Pairs) -> Answer:
        raw, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": unquote(raw),
            "raw_path": raw.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "scheme": "http",
            "headers": [(_bytes(name).lower(), _bytes(value)) for name, value in headers],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8000),
        }
        given, said = list(parts), []

        async def receive() -> dict[str, Any]:
            part = given.pop(0) if given else None
            if part is None:
                await asyncio.sleep(3600)
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": part, "more_body": bool(given)}

        async def send(message: Any) -> None:
            said.append(message)

        await self.app(scope, receive, send)
        first = said[0]
        found = {name.decode().lower(): value.decode("latin-1") for name, value in first["headers"]}
        return Answer(first["status"], found, b"".join(message.get("body", b"") for message in said[1:]))


def basic(key: str, user: str = "anybody") -> tuple[str, str]:
    """A key as HTTP Basic shows it."""
    return "authorization", "Basic " + base64.b64encode(f"{user}:{key}".encode()).decode()


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """Every method and path that is answered: of the interface, of its documentation, of files."""
    return [
        (method, route.path)  # type: ignore[attr-defined]  # every route here has one
        for route in flat(app.routes)
        for method in sorted(getattr(route, "methods", None) or {"GET"})
    ]


def flat(found: Iterable[BaseRoute]) -> Iterable[BaseRoute]:
    """Routes, with those of included routers."""
    for route in found:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from flat(inner.routes)
        else:
            yield route


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")
