"""S12, S13, S15, S16, S21: one password and one data value go through all that can succeed and fail; neither comes out.

The value may be in rows that were asked for, and in what a notebook itself has shown.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
import redis
from notebookfiles import write_notebook
from reststack import PASSWORD, Stack

VALUE = "c4n4ry-v4lue-77e0"
FAILING = """
import datapipe
datapipe.read("SELECT CAST(note AS integer) AS n FROM notes", source="canary").write("never", to="canary").run()
"""


@pytest.fixture(scope="module")
def told(stack: Stack) -> Iterator[list[str]]:
    """Everything that was answered, once all was done."""
    with psycopg.connect(stack.postgresql_url, autocommit=True) as conn:
        conn.execute("CREATE TABLE notes (id bigint, note text)")
        conn.execute("INSERT INTO notes VALUES (1, %s), (2, %s)", [VALUE, VALUE])
        conn.execute("CREATE TABLE kept (id bigint, note text UNIQUE)")
        conn.execute("GRANT ALL ON notes, kept TO canary")
    write_notebook(stack.folder / "notebooks" / "failing.ipynb", "# parameters\nday: int = 1", FAILING)
    found: list[str] = []

    def keep(answer: httpx.Response) -> None:
        answer.read()
        found.append(f"{answer.headers} {answer.text}")

    with stack.client("ann") as client:
        client.event_hooks["response"].append(keep)
        all_that_can_be_said(stack, client)
    yield found


def all_that_can_be_said(stack: Stack, client: httpx.Client) -> None:
    """Run, look at, ask after, and try again all that succeeds and fails."""
    place = urlsplit(stack.postgresql_url)
    own = f"postgresql://canary:{PASSWORD}@{place.hostname}:{place.port}{place.path}"
    runs = [client.post("/pipelines", json={"pipeline_config": config}) for config in plans(own)]
    runs += [client.post(path, json=body) for path, body in stages(own)]
    for config in plans(own):
        for path in ("/plans/validate", "/plans/explain", "/plans/preview"):
            client.post(path, json={"pipeline_config": config})
    for text in (f'{{"pipeline_config": "{own}"', f'{{"pipeline_config": {{"ingestion": "{own}"}}}}'):
        client.post("/pipelines", content=text, headers={"Content-Type": "application/json"})
    ids = [answer.json()["run_id"] for answer in runs if answer.status_code == 202]
    states = {run_id: stack.ended(client, run_id)["state"] for run_id in ids}
    assert len(ids) >= 8 and {"succeeded", "failed"} <= set(states.values())
    for run_id, state in states.items():
        ask_after(client, run_id, again=state == "failed")
    for path in ("/runs?limit=500", "/workers", "/health", "/metrics", "/schemas", "/notebooks"):
        client.get(path)


def ask_after(client: httpx.Client, run_id: str, *, again: bool) -> None:
    for part in ("", "/logs", "/logs/stream", "/events", "/card", "/artifacts"):
        client.get(f"/runs/{run_id}{part}")
    client.get(f"/tasks/{run_id}")
    for file in client.get(f"/runs/{run_id}/artifacts").json()["artifacts"]:
        client.get(f"/runs/{run_id}/artifacts/{file}")
    if again:
        client.post(f"/runs/{run_id}/retry")
        client.post(f"/runs/{run_id}/cancel")


def stages(own: str) -> list[tuple[str, Any]]:
    """Requests for single stages and notebooks."""
    rows = [{"id": number, "note": VALUE} for number in range(2)]
    cast = {"sql_query": "SELECT CAST(note AS integer) AS n FROM input_data"}
    return [
        ("/tasks/ingest", {"query": "SELECT CAST(note AS integer) AS n FROM notes", "source": "canary"}),
        ("/tasks/ingest", {"query": "SELECT id, note FROM notes", "source_db_url": own}),
        ("/tasks/transform", {"rows": rows, "config": cast}),
        ("/tasks/persist", {"rows": rows, "table_name": "kept", "destination": "canary"}),
        ("/tasks/persist", {"rows": [*rows, {"id": VALUE}], "table_name": "kept", "destination": "canary"}),
        ("/notebooks/failing.ipynb/runs", {"parameters": {"day": 2}}),
    ]


def plans(own: str) -> list[dict[str, Any]]:
    """Plans that succeed and that fail: at the source, in a step, at the target, before all of it."""
    read = {"query": "SELECT id, note FROM notes", "source": "canary"}
    into = {"table_name": "kept", "destination": "canary", "strategy": "replace"}
    step = {"type": "sql", "config": {"sql_query": "SELECT CAST(note AS integer) AS n FROM input_data"}}
    checked = {"columns": {"note": {"type": "integer"}}}
    return [
        {"ingestion": {**read, "query": "SELECT DISTINCT note FROM notes"}, "persistence": into},
        {
            "ingestion": {"query": "SELECT DISTINCT note FROM notes", "source_db_url": own},
            "persistence": {"table_name": "kept2", "dest_db_url": own},
        },
        {"ingestion": {**read, "query": "SELECT CAST(note AS integer) AS n FROM notes"}, "persistence": into},
        {"ingestion": {**read, "query": f"SELECT '{VALUE}'::integer AS n"}, "persistence": into},
        {
            "ingestion": {**read, "query": "SELECT id FROM notes WHERE id = :v", "parameters": {"v": VALUE}},
            "persistence": into,
        },
        {"ingestion": read, "transformation": step, "persistence": into},
        {"ingestion": read, "persistence": {**into, "strategy": "insert", "upsert_keys": ["note"]}},
        {"ingestion": read, "persistence": {**into, "strategy": "upsert", "upsert_keys": ["note"]}},
        {"ingestion": read, "transformation": {"type": "validate", "config": {"schema": checked}}, "persistence": into},
        {"ingestion": {"query": "SELECT 1", "source_db_url": own.replace("/test", "/other")}, "persistence": into},
        {"ingestion": {"query": "SELECT 1", "source_db_url": f"postgresql://canary:{PASSWORD}@10.0.0.1/x"}},
        {"ingestion": {"query": "SELECT 1", "source_db_url": f"canary:{PASSWORD}@x"}},
        {"ingestion": {"query": "SELECT 1", "source_db_url": f"mysql://u@x/x?password={PASSWORD}"}},
        {"ingestion": {"query": "SELECT 1", "source": own}},
        {"ingestion": read, "persistence": {"table_name": "t", "destination": own}},
    ]


def hits(text: str, *, value: bool = True) -> list[str]:
    """Where one of them is, with what is around it."""
    found = []
    for canary in (PASSWORD, VALUE) if value else (PASSWORD,):
        place = text.find(canary)
        if place >= 0:
            found.append(text[max(0, place - 150) : place + 80])
    return found


def test_no_answer_has_them(told: list[str]) -> None:
    assert len(told) > 100
    for text in told:
        # Rows that were asked for, the query and the parameters that a plan itself has.
        is_theirs = (
            '"rows"' in text or "pipeline_config" in text or f"'{VALUE}'::integer" in text or '"sections"' in text
        )
        assert hits(text, value=not is_theirs) == []


def test_no_log_has_them(told: list[str], stack: Stack) -> None:
    assert "ready" in stack.worker.log
    assert hits(stack.server.log) == []
    assert hits(stack.worker.log, value=False) == []
    lines = [line for line in stack.worker.log.splitlines() if f"'{VALUE}'::integer" not in line]
    assert hits("\n".join(lines)) == []


def test_redis_has_no_trace_of_them(told: list[str], stack: Stack) -> None:
    with stack.broker.client as client:
        names = list(client.scan_iter("*"))
    with redis.Redis.from_url(stack.broker.url) as client:  # the values as they are, whatever they are
        content = b"".join(client.dump(name) or b"" for name in names)
    assert names and hits(f"{names} {content.decode('latin-1')}") == []


def test_the_record_of_runs_has_neither(told: list[str], stack: Stack) -> None:
    tables = [name for (name,) in stack.sql("SELECT tablename FROM pg_tables WHERE tablename LIKE 'datapipe_%'")]
    assert len(tables) >= 8
    for table in tables:
        for row in stack.sql(f"SELECT to_jsonb(t) FROM {table} t"):
            found = row[0]
            # A plan that says the value itself has it in its document.
            for column in ("document", "message"):
                assert hits(str(found.pop(column, "")), value=False) == []
            assert hits(json.dumps(found)) == [], table


def test_no_file_has_them_but_rows_on_their_way(told: list[str], stack: Stack) -> None:
    files = [path for path in (stack.folder / "home").rglob("*") if path.is_file()]
    assert [path for path in files if path.name == "notebook.ipynb"], "there are artifacts"
    for path in files:
        assert hits(path.read_bytes().decode("latin-1"), value=path.suffix != ".arrow") == [], path


def test_no_process_shows_them(told: list[str]) -> None:
    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    lines = b"\n".join(path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists())
    assert hits(shown) == [] and hits(lines.decode("latin-1")) == []
