"""Requests of somebody who has no key, too narrow a one, or sends what is no request: over every route there is.

The rows are those of the security matrix; ``test_matrix.py`` says where each of them is proved.
"""

from __future__ import annotations

import io
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from restside import Answer, Client, Site, basic, document, routes

from datapipe.errors import PlanError
from datapipe.logs.lines import formatter
from datapipe.rest import create_app
from datapipe.rest.app import is_open
from datapipe.secrets import Redactor
from datapipe.store import RunStore
from datapipe.store.apikeys import create_key

PLACES = {
    "run_id": "r1",
    "pipeline_id": "r1",
    "name": "page.css",
    "name:path": "daily.ipynb",
    "file:path": "run.json",
    "subject:path": "users",
}
SAFE = {"GET", "HEAD", "OPTIONS"}
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND")


def filled(path: str, **places: str) -> str:
    """A path of a route, with something in its places."""
    return re.sub(r"{([^}]+)}", lambda match: {**PLACES, **places}[match.group(1)], path)


def every_route(site: Site) -> list[tuple[str, str]]:
    """Method and path of every route, of the router and of the OpenAPI document."""
    found = {(method, filled(path)) for method, path in routes(site.app)}
    paths = site.client().get("/openapi.json").json()["paths"]
    by_document = {
        (method.upper(), filled(re.sub(r"{(name|file|subject)}", r"{\1:path}", path)))
        for path, methods in paths.items()
        for method in methods
    }
    assert by_document <= found
    static = {("GET", f"/static-offline-docs/{name}") for name in ("", "swagger-ui.css", "../../../etc/passwd")}
    return sorted(found | static)


@pytest.fixture(scope="module")
def others(site: Site) -> RunStore:
    """A run of ann's, with a log, an artifact, rows in the spool: nothing of it is for others."""
    from datapipe.rest.rows import spooled, table_of
    from datapipe.workers import spool

    folder = site.folder / "home" / "notebooks" / "daily" / "r1" / "1"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    kept = {"artifacts": str(folder)}
    site.store.add("r1", state="failed", kind="notebook", owner="ann", pipeline_id="ours", result=kept, message={})
    site.store.say("r1", "note", "a line of ann's")
    site.store.add("t1", state="succeeded", owner="ann")
    spool.remember("t1", {"of": "f", "result": spooled(table_of([{"a": 1}]), "t1")})
    return site.store


# --- S24: without a key --------------------------------------------------------------------------------------------


def test_s24_every_route_needs_a_key_but_health(site: Site) -> None:
    nobody = site.client(None)
    found = every_route(site)
    assert len(found) > 30
    for method, path in found:
        for headers in ((), (("authorization", "Bearer x"),), (basic(""),)):
            answer = nobody.call(method, path, {} if method not in SAFE else None, headers)
            if path == "/health":
                assert answer.status in {200, 503}
                assert set(answer.json()) == {"status"}, "no detail for nobody"
            else:
                assert (answer.status, path) == (401, path)
                assert answer.headers["www-authenticate"]


@pytest.mark.parametrize("method", METHODS)
def test_s24_a_path_that_is_none_tells_nobody_so(method: str, site: Site) -> None:
    for path in (
        "/",
        "/nothing",
        "/runs/",
        "/health/",
        "//health",
        "/health/..",
        "/%68ealth/x",
        "/ui",
        "/docs/",
        "/RUNS",
    ):
        assert site.client(None).call(method, path).status == 401


def test_s24_health_takes_no_other_method_from_nobody(site: Site) -> None:
    for method in METHODS:
        if method != "GET":
            assert site.client(None).call(method, "/health").status == 405


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.5", "::", "etl.example"])
def test_s24_it_does_not_start_for_others_without_a_key(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAPIPE_METADATA_URL", f"sqlite:///{tmp_path / 'new.db'}")
    with pytest.raises(PlanError, match="requests need an API key, and there is none"):
        create_app(address)
    monkeypatch.setenv("DATAPIPE_API_OPEN", "0")
    with pytest.raises(PlanError, match="need an API key"):
        create_app("127.0.0.1")


def test_s24_the_first_key_closes_a_server_that_was_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_METADATA_URL", f"sqlite:///{tmp_path / 'new.db'}")
    assert is_open("127.0.0.1")
    from datapipe.store import open_store

    store = open_store()
    assert store is not None
    create_key(store, "ann", "read")
    assert not is_open("127.0.0.1")


# --- S41: too narrow a key -----------------------------------------------------------------------------------------


def test_s41_a_key_to_read_sets_nothing_going(site: Site, others: RunStore) -> None:
    unsafe = [(method, path) for method, path in every_route(site) if method not in SAFE]
    assert len(unsafe) >= 10
    before = len(others.runs())
    for method, path in unsafe:
        answer = site.client("rita").call(method, path, {})
        assert (answer.status, path) == (403, path)
    assert len(others.runs()) == before


def test_s41_a_key_to_read_reads(site: Site) -> None:
    for path in ("/runs", "/notebooks", "/schemas", "/openapi.json", "/metrics"):
        assert site.client("rita").get(path).status == 200


# --- S26: what is somebody else's ----------------------------------------------------------------------------------


def test_s26_nothing_of_others_is_there(site: Site, others: RunStore) -> None:
    named = [(method, path) for method, path in routes(site.app) if re.search("{(run_id|pipeline_id)}", path)]
    assert len(named) >= 10
    for method, path in named:
        for run_id in ("r1", "ours") if "pipeline_id" in path else ("r1",):
            found = filled(path, run_id=run_id, pipeline_id=run_id)
            told = site.client("bob").call(method, found, {} if method not in SAFE else None)
            nothing = filled(path, run_id="nothing", pipeline_id="nothing")
            same = site.client("bob").call(method, nothing, {} if method not in SAFE else None)
            assert (told.status, path) == (404, path)
            assert without_id(told) == without_id(same), "nor can it be told from what is not there"
    assert others.run("r1").state == "failed"
    assert [line.message for line in others.logs("r1")] == ["a line of ann's"]
    assert "r1" not in site.client("bob").get("/runs").text and "ours" not in site.client("bob").get("/runs").text


def test_s26_they_are_there_for_their_owner_and_for_an_administrator(site: Site, others: RunStore) -> None:
    for name in ("ann", "root"):
        for path in (
            "/runs/r1",
            "/pipelines/ours/status",
            "/runs/r1/logs",
            "/runs/r1/artifacts/run.json",
            "/runs/r1/card",
        ):
            assert site.client(name).get(path).status == 200, path


def test_s26_filters_lead_to_no_runs_of_others(site: Site, others: RunStore) -> None:
    for query in (
        "owner=ann",
        "pipeline_id=ours",
        "owner=ann&owner=bob",
        "owner=bob&owner=ann",
        "kind=notebook",
        "parent_run_id=r1",
    ):
        assert site.client("bob").get(f"/runs?{query}").json()["runs"] == []


def test_s26_rows_of_others_are_not_handed_on(site: Site, others: RunStore) -> None:
    from datapipe.workers import spool

    note = spool.remembered("t1")
    assert note is not None
    step = {"config": {"sql_query": "SELECT * FROM input_data"}}
    for given in ({"task_id": "t1"}, {"previous_result": note["result"]}, {"task_id": "nothing"}):
        assert site.client("bob").post("/tasks/transform", {**step, **given}).status == 404
        assert site.client("bob").post("/tasks/persist", {"table_name": "t", **given}).status == 404


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "t1", f"t1.{'0' * 32}.arrow/..", f"s3://b/t1.{'0' * 32}.arrow", f"T1.{'0' * 32}.arrow", ""],
)
def test_s19_a_name_in_the_spool_is_no_path(name: str, site: Site, others: RunStore) -> None:
    body = {"config": {"sql_query": "SELECT 1"}, "previous_result": {"spool": name}}
    assert site.client().post("/tasks/transform", body).status in {404, 422}


@pytest.mark.parametrize(
    "name", ["../runs.db", "..%2f..%2fruns.db", "%2fetc%2fpasswd", "x" * 500, "a%0ab", "users%3b--"]
)
def test_s19_a_subject_or_a_run_is_no_path(name: str, site: Site) -> None:
    for path in (f"/schemas/{name}", f"/runs/{name}", f"/tasks/{name}", f"/pipelines/{name}/status"):
        assert site.client().get(path).status in {404, 422}


# --- S18, S16: notebooks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["../outside/secret.ipynb", "..%2foutside%2fsecret.ipynb", "%2e%2e/outside/secret.ipynb", "link/secret.ipynb", "{x}.ipynb",
     "%7Bx%7D.ipynb", "http://evil.example/a.ipynb", "http:%2f%2fevil.example%2fa.ipynb", "s3://b/a.ipynb", "/etc/passwd",
     "a.ipynb%0a", "~root/a.ipynb", "a%5c..%5cb.ipynb"],
)  # fmt: skip
def test_s18_a_notebook_is_one_of_the_folder(name: str, site: Site) -> None:
    (site.folder / "outside" / "secret.ipynb").write_text("{}")
    link = site.folder / "notebooks" / "link"
    link.is_symlink() or link.symlink_to(site.folder / "outside")
    assert site.client().get(f"/notebooks/{name}").status == 404
    assert site.client().post(f"/notebooks/{name}/runs", {"parameters": {"x": "../evil"}}).status == 404


@pytest.mark.parametrize("value", ["secret:CRM_PASSWORD", "${CRM_PASSWORD}", "a ${X} b"])
def test_s16_no_parameter_of_a_notebook_stands_for_a_secret(value: str, site: Site) -> None:
    (site.folder / "notebooks" / "p.ipynb").write_text(
        '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    )
    answer = site.client().post("/notebooks/p.ipynb/runs", {"parameters": {"x": value}})
    assert answer.status == 422 and "may not name secrets" in answer.problem


@pytest.mark.parametrize("field", ["kernel", "folder", "artifacts", "path", "hooks", "env", "notebook", "output"])
def test_s18_a_request_steers_nothing_but_values_and_limits(field: str, site: Site) -> None:
    assert site.client().post("/notebooks/p.ipynb/runs", {field: "/tmp/x"}).status == 422


# --- S25: pages of other sites -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "localhost@evil.example", "localhost:80:80",
     "169.254.169.254", "[::ffff:127.0.0.1]", "localhost/", "localhost, evil.example", "0.0.0.0", " localhost", b"\xff", None],
)  # fmt: skip
def test_s25_a_name_that_was_bound_to_this_address_is_not_ours(host: Any, site: Site) -> None:
    for path in ("/runs", "/health", "/docs"):
        assert site.client().get(path, host=host).status == 421


def test_s25_two_hosts_are_none(site: Site) -> None:
    assert site.client().get("/runs", [("host", "evil.example")]).status == 421


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8000", "127.0.0.1:1", "[::1]:8000", "localhost:"])
def test_s25_its_own_names_are(host: str, site: Site) -> None:
    assert site.client().get("/runs", host=host).status == 200


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://localhost:9999", "http://localhost.evil.example", "file://", "", "http://127.0.0.1",
     "https://localhost:8000@evil.example", "chrome-extension://x", "HTTP://LOCALHOST:8001"],
)  # fmt: skip
def test_s25_a_page_of_another_origin_gets_nothing(origin: str, site: Site) -> None:
    for method, path in (
        ("POST", "/pipelines"),
        ("POST", "/plans/preview"),
        ("GET", "/runs"),
        ("GET", "/health"),
        ("OPTIONS", "/runs"),
    ):
        answer = site.client().call(
            method, path, {} if method == "POST" else None, [("origin", origin)], host="localhost:8000"
        )
        assert answer.status == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_s25_its_own_pages_get_through(site: Site) -> None:
    for origin in ("http://localhost:8000", "https://localhost:8000"):
        assert site.client().get("/runs", [("origin", origin)], host="localhost:8000").status == 200


@pytest.mark.parametrize("fetched", ["cross-site", "same-site"])
def test_s25_what_a_browser_says_comes_from_elsewhere_changes_nothing(fetched: str, site: Site) -> None:
    assert site.client().post("/pipelines", document(), [("sec-fetch-site", fetched)]).status == 403


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain; application/json",
     "application/xml", "application/x-yaml", "text/yaml", "application/jsonx", "application/json+x", "", None, "*/*"],
)  # fmt: skip
def test_s25_s28_only_json_is_taken(kind: str | None, site: Site) -> None:
    """What a form of another site can send without asking; and YAML with it."""
    for path in ("/pipelines", "/plans/validate", "/tasks/ingest", "/runs/r1/cancel"):
        answer = site.client().post(path, json.dumps(document()).encode(), kind=kind)
        assert answer.status == 415


def test_s25_cookies_and_queries_are_no_keys(site: Site) -> None:
    key = site.keys["root"]
    nobody = site.client(None)
    for headers in (
        [("cookie", f"key={key}; session={key}")],
        [("x-api-key", key)],
        [("proxy-authorization", f"Bearer {key}")],
    ):
        assert nobody.get("/runs", headers).status == 401
    assert nobody.get(f"/runs?key={key}&access_token={key}&api_key={key}").status == 401


# --- S27: bodies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x" * (1 << 20) + b"x", 413),
        (b"[" * 1000 + b"]" * 1000, 400),
        (b'{"pipeline_config": {}, "pipeline_config": {}}', 400),
        (b'{"pipeline_config": {"ingestion": {"query": "SELECT \\u0000"}}}', 400),
        (b'{"pipeline_config": {"ingestion": {"query": "\\ud800"}}}', 400),
        (b'{"pipeline_config": NaN}', 400),
        (b"--- !!python/object/apply:os.system [id]", 400),
        (b"a: &a [x]\nb: [*a, *a]", 400),
        (b"\xff\xfe{\x00}\x00", 400),
        (b"", 422),
        (b"null", 422),
        (b"7", 422),
        (b'"text"', 422),
    ],
)
def test_s27_s28_s29_a_body_is_strict_json_within_limits(body: bytes, status: int, site: Site) -> None:
    for path in ("/pipelines", "/plans/preview", "/tasks/persist"):
        assert site.client().post(path, body).status == status


def test_s27_a_body_without_a_length_is_counted_as_it_comes(site: Site) -> None:
    read = []

    def endless() -> Any:
        for number in range(10_000):
            read.append(number)
            yield b"x" * 1000

    answer = site.client().post("/pipelines", parts=endless())
    assert answer.status == 413


def test_s27_a_length_that_is_a_lie_is_not_believed(site: Site) -> None:
    for length in ("9" * 5000, str(1 << 40)):
        answer = site.client().call(
            "POST", "/pipelines", headers=[("content-length", length), ("content-type", "application/json")]
        )
        assert answer.status == 413


def test_s27_a_body_that_comes_too_slowly_is_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datapipe.rest.body._SECONDS", 0.05)
    length = [("content-length", "100"), ("content-type", "application/json")]
    assert site.client().call("POST", "/pipelines", headers=length, parts=[b"{", None]).status == 408


def test_s27_lists_and_queries_without_end_are_refused(site: Site) -> None:
    client = site.client()
    assert client.post("/tasks/persist", {"table_name": "t", "rows": [{}] * 100_001}).status == 422
    assert client.post("/tasks/persist", {"table_name": "t", "rows": [{f"c{n}": 1} for n in range(5000)]}).status == 422
    many = "&".join(f"f{number}=x" for number in range(10_000))
    assert client.get(f"/runs?{many}").status == 422
    assert client.get("/runs?" + "&".join(["state=failed"] * 10_000)).status == 200
    assert client.get("/runs?limit=100000000000").status == 422
    assert client.get("/runs/" + "x" * 100_000).status == 422


@pytest.mark.parametrize("query", ["name=%00", "after=%00", "name=%ed%a0%80", "after=WyJcdWQ4MDAiLCAieCJd", "after=AAAA", "after=%ff",
                                   "since=9999-12-31T23:59:59-23:59", "until=0001-01-01", "name=%27%20OR%201=1--", "limit=1e3"])  # fmt: skip
def test_s27_an_odd_filter_is_no_failure(query: str, site: Site) -> None:
    assert site.client().get(f"/runs?{query}").status in {200, 400, 422}


@pytest.mark.parametrize("form", ["json", "text", "console"])
def test_s35_what_is_sent_makes_no_lines_of_its_own_in_a_log(form: Any, site: Site) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter(form, Redactor))
    log = logging.getLogger("datapipe.rest")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        for given in ("a\r\nforged: yes", "\x1b[2Jx"):
            answer = site.client().get("/runs", [("x-correlation-id", given)])
            assert re.fullmatch("[0-9a-f-]{36}", answer.headers["x-correlation-id"])
        site.client().get("/runs/a%0d%0aforged%1b[2J%c2%9b2J%e2%80%a8x")
    finally:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)
    lines = written.getvalue().splitlines()
    assert len(lines) == 3 and not [line for line in lines if line.startswith("forged")]
    assert not set("\x1b\x9b\r\u2028") & set(written.getvalue())


# --- S32: callers do not share -------------------------------------------------------------------------------------


def test_s32_one_caller_cannot_use_up_the_requests_of_another(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_API_RATE", "3")
    app = create_app()
    statuses = [Client(app, site.keys["bob"]).get("/runs").status for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    assert Client(app, site.keys["ann"]).get("/runs").status == 200


def without_id(answer: Answer) -> Any:
    """What is said, without what differs from request to request."""
    if "html" in answer.headers["content-type"]:
        return re.sub(r"Correlation id: [\w-]+|<time.*?</time>", "", answer.text)
    return {name: value for name, value in answer.json().items() if name != "correlation_id"}
