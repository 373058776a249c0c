"""The gate: what gets through it, and what everybody else is told."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any

import pytest
from restside import Client, Site, basic, routes

from datapipe.rest import create_app
from datapipe.rest.gate import Gate, Terms, host_names
from datapipe.rest.rates import Rates


def open_terms(**values: Any) -> Terms:
    return Terms(**{"is_open": True, "hosts": frozenset({"localhost"}), "rates": Rates(1000), **values})


def gated(inside: Any, **values: Any) -> Client:
    return Client(Gate(inside, open_terms(**values)))  # type: ignore[arg-type]  # an ASGI application like any other


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers with what it was sent."""
    message = await receive() if scope["method"] == "POST" else {"body": b""}
    state = {name: str(value) for name, value in scope["state"].items()}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps([message["body"].decode(), state]).encode()})


async def broken(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("hunter2")


def test_a_body_arrives_as_it_was_sent() -> None:
    text = '{"a":  [1, "ü"]}'
    body, state = gated(echo).post("/x", parts=[text[:5].encode(), text[5:].encode()]).json()
    assert body == text
    assert re.fullmatch("[0-9a-f]{64}", state["digest"])


def test_an_answer_has_headers_that_protect_who_reads_it(site: Site) -> None:
    for answer in (site.client().get("/runs"), site.client(None).get("/runs"), site.client().get("/nothing")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in answer.headers and "access-control-allow-origin" not in answer.headers


def test_the_documentation_runs_its_own_scripts_and_no_others(site: Site) -> None:
    for path in ("/docs", "/redoc"):
        answer = site.client().get(path)
        assert answer.status == 200
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert re.findall(r"https?://[^\"' ]+", answer.text) == []  # no CDN


@pytest.mark.parametrize("given", ["a-1", "0b7e11ff.x_y", "A" * 64])
def test_a_correlation_id_goes_through(given: str, site: Site) -> None:
    assert site.client().get("/runs", [("x-correlation-id", given)]).headers["x-correlation-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "a\tb", "A" * 65, "ü", "<script>", "a;b"])
def test_an_odd_correlation_id_is_replaced(given: str, site: Site) -> None:
    found = site.client().get("/runs", [("x-correlation-id", given)]).headers["x-correlation-id"]
    assert re.fullmatch("[0-9a-f-]{36}", found)


def test_a_failure_is_told_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "datapipe.rest"):
        answer = gated(broken).get("/x", [("x-correlation-id", "c1")])
    assert (answer.status, answer.json()["correlation_id"]) == (500, "c1")
    assert "hunter2" not in answer.text
    assert "hunter2" in caplog.text, "whoever has the log sees it"


def test_a_failure_after_the_answer_has_begun_ends_it() -> None:
    async def late(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("too late")

    with pytest.raises(RuntimeError, match="too late"):
        gated(late).get("/x")


def test_a_websocket_is_closed_before_anybody_is_asked() -> None:
    said = []

    async def send(message: Any) -> None:
        said.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/runs", "headers": []}
    asyncio.run(Gate(broken, open_terms())(scope, receive, send))
    assert said == [{"type": "websocket.close", "code": 1008}]


def test_the_key_may_be_shown_in_both_ways(site: Site) -> None:
    anybody = site.client(None)
    for header in (("authorization", f"Bearer {site.keys['ann']}"), basic(site.keys["ann"])):
        assert anybody.get("/runs", [header]).status == 200


def test_who_asks_too_often_waits() -> None:
    client = gated(echo, rates=Rates(2))
    assert [client.get("/x").status for _ in range(3)] == [200, 200, 429]
    answer = client.get("/x")
    assert 1 <= int(answer.headers["retry-after"]) <= 31
    assert "At most 2 a minute" in answer.problem


def test_wrong_keys_are_counted_by_address(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_API_RATE", "2")
    app = create_app()
    guesses = [Client(app, f"dp_{number:016x}_{'A' * 43}").get("/runs").status for number in range(3)]
    assert guesses == [401, 401, 429]
    assert Client(app, site.keys["ann"]).get("/runs").status == 200, "who has a key is not kept out by it"


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_everywhere_is_no_name(address: str) -> None:
    assert not {"0.0.0.0", "[::]", "::"} & host_names(address, [])


def test_every_route_is_in_the_document(site: Site) -> None:
    paths = site.client().get("/openapi.json").json()["paths"]
    own = {path.replace(":path", "") for _, path in routes(site.app)}
    pages = {"/", "/ui/runs/{run_id}", "/ui/workers", "/ui/static/{name}"}
    assert own - set(paths) - pages == {
        "/openapi.json",
        "/docs",
        "/docs/oauth2-redirect",
        "/redoc",
        "/static-offline-docs",
    }
