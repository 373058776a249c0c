"""A request that is repeated begins one run, whoever dies in between."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from reststack import Stack, plan

# Who is about to note the answer dies; the run is queued by then.
DIES_AFTER = """
import os, datapipe.rest.once as once
once.answer_request = lambda *_: os.kill(os.getpid(), 9)
"""
# Who has recorded a stage dies before it is queued.
DIES_BETWEEN = """
import os, datapipe.workers.staging as staging
staging.publish = lambda *_, **__: os.kill(os.getpid(), 9)
"""
INGEST = {"query": "SELECT id FROM users"}


def key(text: str) -> dict[str, str]:
    return {"Idempotency-Key": text}


def test_the_same_request_twice_is_one_run(stack: Stack, ann: httpx.Client) -> None:
    body = plan(table="once_twice")
    first = ann.post("/pipelines", json=body, headers=key("twice"))
    second = ann.post("/pipelines", json=body, headers=key("twice"))
    assert (first.status_code, second.status_code) == (202, 202) and first.json() == second.json()
    assert first.headers["location"] == second.headers["location"] == f"/runs/{first.json()['run_id']}"
    assert "idempotent-replayed" not in first.headers and second.headers["idempotent-replayed"] == "true"
    assert stack.ended(ann, first.json()["run_id"])["state"] == "succeeded"
    third = ann.post("/pipelines", json=body, headers=key("twice"))
    assert third.json() == first.json(), "it is what was answered, not how things stand"
    other = ann.post("/pipelines", json=plan(table="other"), headers=key("twice"))
    assert (other.status_code, other.json()["title"]) == (422, "IdempotencyConflict")


def test_two_owners_with_one_key_are_apart(ann: httpx.Client, bob: httpx.Client) -> None:
    runs = {client.post("/tasks/ingest", json=INGEST, headers=key("shared")).json()["run_id"] for client in (ann, bob)}
    assert len(runs) == 2


def test_many_at_once_are_one_run(stack: Stack) -> None:
    def send(_: int) -> httpx.Response:
        with stack.client("ann") as client:
            return client.post("/tasks/ingest", json=INGEST, headers=key("many"))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(send, range(16)))
    runs = {answer.json()["run_id"] for answer in found if answer.status_code == 202}
    assert len(runs) == 1
    told = [answer for answer in found if answer.status_code != 202]
    assert all(answer.status_code == 409 and answer.headers["retry-after"] for answer in told)


@pytest.mark.parametrize(("path", "dies"), [("/pipelines", DIES_AFTER), ("/tasks/ingest", DIES_BETWEEN)])
def test_a_server_that_dies_while_it_answers_leaves_one_run(path: str, dies: str, stack: Stack) -> None:
    name = f"dies{path}"
    body = plan("SELECT 1 AS id", "died") if path == "/pipelines" else INGEST
    before = stack.sql("SELECT id FROM datapipe_runs")
    stack.server.kill()
    stack.server.start(dies)
    try:
        with stack.client("ann") as client, pytest.raises(httpx.TransportError):
            client.post(path, json=body, headers=key(name))
    finally:
        stack.server.kill()
        stack.server.start()
    with stack.client("ann") as client:
        soon = client.post(path, json=body, headers=key(name))
        assert soon.status_code == 409, "whoever began to answer may be at it still"
        stack.sql("UPDATE datapipe_requests SET taken = '2020-01-01T00:00:00.000Z' WHERE status IS NULL")
        again = client.post(path, json=body, headers=key(name))
        assert again.status_code == 202
        assert stack.ended(client, again.json()["run_id"])["state"] == "succeeded"
        assert client.post(path, json=body, headers=key(name)).json() == again.json()
    made = {row[0] for row in stack.sql("SELECT id FROM datapipe_runs")} - {row[0] for row in before}
    assert made == {again.json()["run_id"]}
