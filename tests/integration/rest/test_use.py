"""The interface as people use it, with a worker behind it."""

from __future__ import annotations

import json
import time

import httpx
import pytest
from reststack import Stack, plan


def test_a_plan_is_run_and_seen(stack: Stack, ann: httpx.Client) -> None:
    answer = ann.post("/pipelines", json={**plan(table="seen"), "pipeline_id": "daily"})
    found = answer.json()
    assert answer.status_code == 202 and found["pipeline_id"] == "daily"
    ended = stack.ended(ann, found["run_id"])
    assert (ended["state"], ended["rows_read"], ended["rows_written"], ended["owner"], ended["via"]) == (
        "succeeded", 100, 100, "ann", "rest",
    )  # fmt: skip
    assert ended["correlation_id"] == answer.headers["x-correlation-id"]
    assert ann.get("/pipelines/daily/status").json()["run_id"] == found["run_id"]
    assert ann.get(answer.headers["location"]).json()["result"]["persistence"]["rows_written"] == 100
    assert found["run_id"] in [run["run_id"] for run in ann.get("/runs?pipeline_id=daily").json()["runs"]]
    assert "100" in ann.get(f"/runs/{found['run_id']}/card").text
    assert stack.sql("SELECT count(*) FROM seen") == [(100,)]


def test_stages_hand_rows_on(stack: Stack, ann: httpx.Client, bob: httpx.Client) -> None:
    first = ann.post(
        "/tasks/ingest", json={"query": "SELECT id FROM users WHERE id <= :most", "parameters": {"most": 3}}
    )
    assert stack.ended(ann, first.json()["task_id"])["state"] == "succeeded"
    result = ann.get(f"/tasks/{first.json()['task_id']}").json()["result"]
    assert result["row_count"] == 3
    step = {"config": {"sql_query": "SELECT id * 10 AS id FROM input_data"}}
    for given in ({"previous_result": result}, {"task_id": first.json()["task_id"]}):
        assert bob.post("/tasks/transform", json={**step, **given}).status_code == 404, "they are ann's"
    second = ann.post("/tasks/transform", json={**step, "previous_result": result})
    stack.ended(ann, second.json()["task_id"])
    third = ann.post("/tasks/persist", json={"task_id": second.json()["task_id"], "table_name": "staged"})
    assert stack.ended(ann, third.json()["task_id"])["state"] == "succeeded"
    assert stack.sql("SELECT sum(id) FROM staged") == [(60,)]


def test_rows_of_a_request_are_written(stack: Stack, ann: httpx.Client) -> None:
    rows = [{"id": 1, "name": "ä"}, {"id": 2, "name": None}]
    answer = ann.post("/tasks/persist", json={"rows": rows, "table_name": "sent"})
    assert stack.ended(ann, answer.json()["task_id"])["state"] == "succeeded"
    assert stack.sql("SELECT id, name FROM sent ORDER BY id") == [(1, "ä"), (2, None)]


def test_a_run_is_followed_and_cancelled(stack: Stack, ann: httpx.Client) -> None:
    slow = {"type": "code", "config": {"function": "functions:slow"}}
    body = plan()
    body["pipeline_config"]["transformation"] = slow
    run_id = ann.post("/pipelines", json=body).json()["run_id"]
    states, asked = [], False
    with ann.stream("GET", f"/runs/{run_id}/events", timeout=60) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                states.append(json.loads(line[6:])["state"])
                if states[-1] == "running" and not asked:
                    asked = True
                    told = ann.post(f"/runs/{run_id}/cancel")
                    assert (told.status_code, told.json()["cancel_requested"]) == (202, True)
    assert states[-1] == "cancelled" and "running" in states
    assert ann.post(f"/runs/{run_id}/cancel").json()["cancel_requested"] is False, "it has ended"
    again = ann.post(f"/runs/{run_id}/retry")
    assert (again.status_code, again.json()["run_id"]) == (202, run_id)
    until = time.monotonic() + 30
    while ann.post(f"/runs/{run_id}/cancel").json()["state"] not in {"running", "cancelled"}:
        assert time.monotonic() < until
    assert stack.ended(ann, run_id)["state"] == "cancelled"


def test_a_failure_says_where_and_what_to_do(stack: Stack, ann: httpx.Client) -> None:
    run_id = ann.post("/pipelines", json=plan("SELECT nothing FROM users")).json()["run_id"]
    failed = stack.ended(ann, run_id)
    assert failed["state"] == "failed" and "nothing" in failed["error"]["message"]
    assert ann.get(f"/runs/{run_id}/logs").status_code == 200


@pytest.mark.parametrize("url", ["named", "inline"])
def test_a_plan_is_previewed_over_our_own_connection(url: str, stack: Stack, ann: httpx.Client) -> None:
    where = {"source": "crm"} if url == "named" else {"source_db_url": stack.postgresql_url}
    body = plan("SELECT id FROM users WHERE id < 3 ORDER BY id", None, **where)
    answer = ann.post("/plans/preview", json=body)
    assert answer.json()["rows"] == [{"id": 1}, {"id": 2}]
    assert ann.post("/plans/explain", json=body).status_code == 200


def test_health_is_ok_and_says_more_with_a_key(stack: Stack, ann: httpx.Client) -> None:
    assert ann.get("/health").json()["workers"] == 1
    with stack.client(None) as nobody:
        answer = nobody.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
