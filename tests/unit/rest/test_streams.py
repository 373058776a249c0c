"""Server-sent events: each change once, and an end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from restside import Site

from datapipe.rest import streams
from datapipe.rest.problems import Refused
from datapipe.rest.streams import Streams, event, followed, log_lines_behind, run_changes
from datapipe.store import RunStore
from datapipe.store.apikeys import create_key, is_valid, revoke_key


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_POLL", 0.01)


def told(stream: AsyncIterator[str], *acts: Callable[[], object]) -> list[tuple[str, Any]]:
    """The events of a stream; each of ``acts`` is done when it has told something."""
    waiting = list(acts)

    async def read() -> list[str]:
        found = []
        async for text in stream:
            found.append(text)
            if waiting:
                waiting.pop(0)()
        return found

    return [parsed(text) for text in asyncio.run(read())]


def run_stream(store: RunStore, run_id: str) -> AsyncIterator[str]:
    return followed(run_changes(store, run_id), lambda: True)


def parsed(text: str) -> tuple[str, Any]:
    if text.startswith(":"):
        return "comment", text[1:].strip()
    fields = dict(line.split(": ", 1) for line in text.strip().split("\n"))
    return fields["event"], json.loads(fields["data"])


def test_a_run_is_told_when_it_changes_and_once_more_when_it_ends(site: Site) -> None:
    store = site.store
    store.add("s1", state="queued", owner="ann")
    found = told(
        run_stream(store, "s1"),
        lambda: store.change("s1", state="running"),
        lambda: store.change("s1", state="succeeded"),
    )
    assert [(kind, data["state"]) for kind, data in found] == [
        ("run", "queued"), ("run", "running"), ("run", "succeeded"), ("end", "succeeded"),
    ]  # fmt: skip


def test_a_silent_stream_says_that_it_lives(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_ALIVE", 0.02)
    store = site.store
    store.add("s2", state="queued")
    found = told(run_stream(store, "s2"), lambda: None, lambda: store.change("s2", state="failed"))
    assert [kind for kind, _ in found] == ["run", "comment", "run", "end"]


def test_a_run_that_is_removed_ends_its_stream(site: Site) -> None:
    store = site.store
    store.add("s3", state="queued")
    assert [kind for kind, _ in told(run_stream(store, "s3"), lambda: store.remove("s3"))] == ["run"]


def test_a_log_goes_on_behind_a_line(site: Site) -> None:
    store = site.store
    store.add("s4", state="running", owner="ann")
    for number in range(3):
        store.say("s4", "note", f"line {number}")
    first = store.logs("s4")[0].id
    store.change("s4", state="succeeded")
    found = told(followed(log_lines_behind(store, "s4", first), lambda: True))
    assert [data.get("message") for _, data in found] == ["line 1", "line 2", None]
    answer = site.client().get("/runs/s4/logs/stream", [("last-event-id", str(first))])
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [parsed(text)[0] for text in answer.text.split("\n\n")[:-1]] == ["log", "log", "end"]


def test_a_long_log_is_told_in_pieces_to_its_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_AT_ONCE", 2)
    store = site.store
    store.add("long", state="running")
    for number in range(5):
        store.say("long", "note", f"line {number}")
    store.change("long", state="succeeded")
    found = told(followed(log_lines_behind(store, "long", 0), lambda: True))
    assert [data.get("message") for _, data in found] == [*(f"line {n}" for n in range(5)), None]
    assert [line.message for line in store.logs("long", last=2)] == ["line 3", "line 4"]
    lines = site.client("root").get("/runs/long/logs?limit=2").json()["lines"]
    assert [line["message"] for line in lines] == ["line 0", "line 1"]


@pytest.mark.parametrize("last", ["", "x", "-1", "9" * 5000, "1e3", "²", "1 OR 1=1"])
def test_an_odd_last_event_id_begins_at_the_beginning(last: str, site: Site) -> None:
    if not any(row.id == "s5" for row in site.store.runs()):
        site.store.add("s5", state="running", owner="ann")
        site.store.say("s5", "note", "line")
        site.store.change("s5", state="succeeded")
    assert "line" in site.client().get("/runs/s5/logs/stream", [("last-event-id", last)]).text


@pytest.mark.parametrize("text", ["a\nb", "event: end\n\nid: 9", "</script>", "\u2028", '"'])
def test_no_text_makes_an_event_of_its_own(text: str) -> None:
    assert parsed(event("log", {"message": text})) == ("log", {"message": text})
    assert event("log", {"message": text}).count("\n") == 3


def test_a_key_that_is_revoked_ends_its_streams(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_ALIVE", 0.02)
    store = site.store
    store.add("s6", state="queued")
    made, _ = create_key(store, "ann", "read")
    stream = followed(run_changes(store, "s6"), lambda: is_valid(store, made.id))
    assert [kind for kind, _ in told(stream, lambda: None, lambda: revoke_key(store, made.id))] == ["run", "comment"]


def test_a_caller_has_a_few_streams_and_no_more() -> None:
    found = Streams(most=2)

    async def endless() -> AsyncIterator[str]:
        while True:
            yield "x"

    async def follow() -> None:
        first, second = (found.counted("ann", endless()) for _ in range(2))
        found.check("ann")  # what nobody reads is not open
        await anext(first)
        await anext(second)
        with pytest.raises(Refused) as caught:
            found.check("ann")
        assert caught.value.status == 429 and caught.value.headers["Retry-After"]
        found.check("bob")
        await first.aclose()
        found.check("ann")
        await second.aclose()

    asyncio.run(follow())
    found.check("ann")


def test_a_stream_too_many_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.store.add("s7", state="succeeded", owner="ann")
    monkeypatch.setattr(site.app.state.streams, "most", 0)
    for path in ("/runs/s7/events", "/runs/s7/logs/stream"):
        assert site.client().get(path).status == 429
