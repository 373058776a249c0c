"""Every answer of a whole platform is as the OpenAPI document says, whatever it is asked."""

from __future__ import annotations

from typing import Any

import pytest
from restfuzz import Fuzz, of_url
from reststack import Stack, plan

INGEST = {"query": "SELECT id FROM users", "source": "crm"}
STEP = {"config": {"sql_query": "SELECT * FROM input_data"}}


@pytest.fixture
def known(stack: Stack) -> dict[str, list[dict[str, Any]]]:
    """A request of each operation that is right, with what there is to name."""
    with stack.client("ann") as client:
        done = client.post("/pipelines", json=plan(table="fuzzed")).json()["run_id"]
        wrong = [client.post("/pipelines", json=plan("SELECT nothing")).json()["run_id"] for _ in range(2)]
        book = client.post("/notebooks/daily.ipynb/runs", json={"parameters": {"number": 3}}).json()["run_id"]
        rows = client.post("/tasks/ingest", json=INGEST).json()["task_id"]
        for run_id in (done, *wrong, book, rows):
            stack.ended(client, run_id)
        subject = client.get("/schemas").json()["schemas"][0]["subject"]
    run = {"path_parameters": {"run_id": done}}
    body = {"media_type": "application/json"}
    found: dict[str, Any] = {
        "POST /pipelines": {"body": plan(table="fuzzed")},
        "GET /pipelines/{pipeline_id}/status": {"path_parameters": {"pipeline_id": done}},
        "POST /plans/validate": {"body": plan()},
        "POST /plans/explain": {"body": plan()},
        "POST /plans/preview": {"body": plan()},
        "POST /tasks/ingest": {"body": INGEST},
        "POST /tasks/transform": {"body": {**STEP, "task_id": rows, "keep": True}},
        "POST /tasks/persist": {"body": {"rows": [{"id": 1}], "table_name": "fuzzed2"}},
        "POST /runs/{run_id}/retry": {"path_parameters": {"run_id": wrong[0]}},
        "POST /notebooks/{name}/runs": {
            "path_parameters": {"name": "daily.ipynb"},
            "body": {"parameters": {"number": 1}},
        },
        "GET /notebooks/{name}": {"path_parameters": {"name": "daily.ipynb"}},
        "GET /runs/{run_id}/artifacts": {"path_parameters": {"run_id": book}},
        "GET /runs/{run_id}/artifacts/{file}": {"path_parameters": {"run_id": book, "file": "run.json"}},
        "GET /schemas/{subject}": {"path_parameters": {"subject": subject}},
    }
    on_runs = ("GET /tasks/{run_id}", "POST /tasks/{run_id}/cancel", "POST /runs/{run_id}/cancel", "GET /runs/{run_id}")
    on_runs += tuple(f"GET /runs/{{run_id}}/{part}" for part in ("logs", "logs/stream", "events", "card"))
    found |= dict.fromkeys(on_runs, run)
    return {name: [{**one, **(body if "body" in one else {})}] for name, one in found.items()}


@pytest.mark.soak
def test_every_answer_is_documented(stack: Stack, known: dict[str, list[dict[str, Any]]]) -> None:
    ids = {name: value for given in known.values() for name, value in given[0].get("path_parameters", {}).items()}
    fuzz = Fuzz(of_url(stack.server.url, stack.keys["ann"]), stack.keys["ann"], known, ids)
    fuzz.run(25)
    for label, counts in sorted(fuzz.answers.items()):
        print(f"{label}: {dict(sorted(counts.items()))}")
    assert fuzz.findings == []
    assert fuzz.without_success() == []
    assert all(sum(counts.values()) >= 50 for counts in fuzz.answers.values())
