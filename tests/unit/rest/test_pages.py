"""The web page's HTML: what is on it, for whom, and that nothing in it is taken for markup or leads elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from restside import Client, Site, running_site

from datapipe.notebooks.artifacts import Artifacts, artifacts_root
from datapipe.rest import create_app
from datapipe.rest.page.layout import refusal
from datapipe.rest.problems import Refused
from datapipe.store import Note, StepRow
from datapipe.store.apikeys import create_key

EVIL = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\" onfocus='alert(3)"
PATHS = ("/", "/?state=failed", "/ui/runs/bad", "/ui/runs/nightly", "/ui/runs/none", "/ui/workers", "/?state=odd")


class Tags(HTMLParser):
    """The tags of a page, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def values(self, *names: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.found for name in names if name in attributes]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A record of runs with a failed one, whose every text is markup, and a notebook's run of somebody else."""
    error = {"type": "DataError", "message": EVIL, "step": EVIL, "hint": EVIL, "traceback": EVIL}
    texts = dict.fromkeys(("name", "source", "target", "owner", "worker", "correlation_id"), EVIL)
    with running_site(tmp_path_factory.mktemp("site")) as found:
        store = found.store
        store.add("bad", state="running", queue="datapipe", document={"name": EVIL}, outline=[[EVIL] * 3] * 2, **texts)
        store.end("bad", None, [StepRow(0, EVIL, rows_out=1)], [Note("note", EVIL)], state="failed", error=error)
        kept = Artifacts(artifacts_root(), "nightly/2026-11-26/nightly/1")
        kept.write("notebook.html", b"<b>seen</b>")
        store.add("nightly", state="running", kind="notebook", owner="bob", name="nightly")
        store.end("nightly", None, [], state="succeeded", result={"artifacts": kept.label})
        store.add("part", state="running", owner="bob", name="part of it", parent_run_id="nightly")
        yield found


@pytest.fixture(scope="module")
def client(site: Site) -> Client:
    """Somebody at an open interface."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAPIPE_API_OPEN", "1")
        return Client(create_app())


def body(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer.text


@pytest.mark.parametrize("path", PATHS)
def test_nothing_leads_elsewhere_and_no_script_is_inline(path: str, client: Client) -> None:
    answer = client.get(path)
    tags = Tags(answer.text)
    assert all(re.match(r"/(?!/)|#|data:|\Z", value) for value in tags.values("src", "href", "action", "data-post"))
    assert [name for name in tags.values("src") if name.startswith("/ui/static/page.js?v=")], "there is one script"
    assert len(re.findall("<script", answer.text)) == 1
    assert not [name for _, found in tags.found for name in found if name.startswith("on")]
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self';" in policy and "frame-ancestors 'none'" in policy
    assert answer.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("path", ["/", "/ui/runs/bad"])
def test_what_comes_from_runs_is_text(path: str, client: Client) -> None:
    text = body(client, path)
    assert "<img src=x" not in text and "</script><script>" not in text
    assert EVIL[:20] in unescape(text), "it is there all the same"


def test_a_run_that_goes_on_has_its_card_on_the_first_page(client: Client) -> None:
    text = body(client, "/")
    assert "▶ RUNNING part of it" in text and 'href="/ui/runs/part"' in text
    assert text.index("Running now") < text.index("<form")
    assert "Running now" not in body(client, "/?state=failed")


def test_filters_are_those_of_the_interface_and_empty_ones_say_nothing(client: Client) -> None:
    text = body(client, "/?state=&kind=notebook&name=&owner=bob")
    assert 'id="run-nightly"' in text and 'id="run-bad"' not in text
    assert '<option value="notebook" selected>' in text and 'value="bob"' in text
    assert "No run is like this" in body(client, "/?name=nobody")
    wrong = body(client, "/?state=odd", 422)
    assert "the filter state is wrong" in wrong and "Begin again at /" in wrong


def test_older_runs_are_a_link_away_under_the_same_filters(client: Client) -> None:
    first = body(client, "/?limit=1&owner=bob")
    older = next(path for path in Tags(first).values("href") if "after=" in path)
    second = body(client, older)
    assert 'id="run-part"' in first and 'id="run-part"' not in second
    assert 'id="run-nightly"' in second and 'href="/?limit=1&amp;owner=bob">The newest runs' in second


def test_a_run_has_everything_that_is_known_of_it(client: Client) -> None:
    text = body(client, "/ui/runs/nightly")
    assert 'href="/runs/nightly/artifacts/notebook.html"' in text and 'href="/ui/runs/part"' in text
    frame = next(attributes for tag, attributes in Tags(text).found if tag == "iframe")
    assert frame["src"] == "/runs/nightly/artifacts/notebook.html" and frame["sandbox"] is None
    seen = client.get(str(frame["src"]))
    assert seen.text == "<b>seen</b>" and "frame-ancestors 'self'" in seen.headers["content-security-policy"]
    assert "sandbox" in seen.headers["content-security-policy"] and seen.headers["x-frame-options"] == "SAMEORIGIN"
    failed = unescape(body(client, "/ui/runs/bad"))
    assert f"DataError: {EVIL}" in failed and "Full traceback" in failed and f"name: {EVIL[:20]}" in failed
    assert 'href="/ui/runs/nightly"' in body(client, "/ui/runs/part"), "the run it is a part of"


@pytest.mark.parametrize(
    ("run_id", "there"), [("bad", ["/runs/bad/retry"]), ("nightly", []), ("part", ["/runs/part/cancel"])]
)
def test_buttons_are_for_what_can_be_done(run_id: str, there: list[str], client: Client) -> None:
    assert Tags(body(client, f"/ui/runs/{run_id}")).values("data-post") == there


@pytest.mark.parametrize(
    ("scope", "seen", "buttons"),
    [("read", {"nightly", "part"}, 0), ("run", {"nightly", "part"}, 1), ("admin", {"bad", "nightly", "part"}, 1)],
)
def test_keys_show_what_their_owner_may_see(scope: str, seen: set[str], buttons: int, site: Site) -> None:
    client = Client(site.app, create_key(site.store, "bob", scope)[1])
    text = body(client, "/")
    assert set(re.findall('id="run-(.*?)"', text)) == seen
    assert ("by-owner" in text) == (scope == "admin")
    assert f"key of bob, scope {scope}" in text and "open:" not in text
    assert len(Tags(body(client, "/ui/runs/part")).values("data-post")) == buttons
    body(client, "/ui/runs/bad", 200 if scope == "admin" else 404)


def test_without_a_key_the_page_says_how_to_be_asked_for_it_and_asks_for_nothing_else(site: Site) -> None:
    client = site.client(None)
    answer = client.get("/")
    assert answer.status == 401 and "Basic" in answer.headers["www-authenticate"]
    assert "Reload this page to be asked for the key" in answer.text
    assert Tags(answer.text).values("src") == [], "each file would ask again"
    assert client.get("/ui/static/page.js").status == 401


def test_where_nothing_has_run_it_says_what_to_do(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_METADATA_URL", sqlite_url)
    client = Client(create_app())
    text = unescape(body(client, "/"))
    assert "curl http://localhost/pipelines" in text and "datapipe submit plan.yaml" in text
    assert "-u :KEY" not in text
    assert "No run is like this" in body(client, "/?state=failed")


def test_a_script_that_has_the_page_is_told_so(client: Client) -> None:
    text = body(client, "/ui/runs/bad")
    tag = unescape(next(iter(Tags(text).values("data-tag"))))
    known = [("if-none-match", tag)]
    answer = client.get("/ui/runs/bad", known)
    assert (answer.status, answer.body) == (304, b"")
    assert client.get("/ui/runs/nightly", known).status == 200


def test_only_a_run_that_goes_on_is_followed(client: Client) -> None:
    assert Tags(body(client, "/ui/runs/part")).values("data-events") == ["/runs/part/events"]
    assert Tags(body(client, "/ui/runs/nightly")).values("data-events") == []


def test_workers_that_cannot_be_asked_are_told(client: Client) -> None:
    text = body(client, "/ui/workers")
    assert "no worker is known" in text and "cannot be asked" in text and "metadata store" in text


def test_the_files_of_the_page_may_be_kept_and_there_are_no_others(client: Client) -> None:
    for address in Tags(body(client, "/")).values("src", "href"):
        if address.startswith("/ui/static"):
            assert "immutable" in client.get(address).headers["cache-control"]
    body(client, "/ui/static/app.py", 404)


def test_whoever_asks_for_json_gets_problems_as_json(client: Client) -> None:
    found: Mapping[str, Any] = client.get("/runs/none").json()
    assert found["status"] == 404


def test_a_refusal_keeps_secrets_and_says_which_request_it_was(site: Site) -> None:
    for path in ("/", "/runs"):
        said = refusal(Refused(422, "no such <b>: hunter2hunter2"), path, "c-1").body
        assert b"hunter2" not in said and b"c-1" in said
    assert b"no such &lt;b&gt;" in refusal(Refused(422, "no such <b>"), "/", "c-1").body
