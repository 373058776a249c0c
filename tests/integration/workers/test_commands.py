"""The specification's lines as a shell runs them, and what commands tell programs."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from conftest import Site

# As they stand there, but for the databases and the task's id.
LINES = """
pipeline-cli run \\
  --query "SELECT * FROM users" \\
  --source-db-url "postgresql://user:pass@localhost:5432/source_db" \\
  --transform-type sql \\
  --transform-config '{"sql_query": "SELECT id, UPPER(name) FROM input_data"}' \\
  --table-name users_staging \\
  --strategy insert \\
  --wait

# Or use config file
pipeline-cli run --config pipeline_config.json --wait

# Check task status
pipeline-cli status <task_id>

# Health check
pipeline-cli health

# List workers
pipeline-cli workers
"""
CONFIG = {
    "ingestion": {
        "query": "SELECT * FROM users WHERE created_at > :start_date",
        "source_db_url": "postgresql://user:pass@localhost:5432/source_db",
        "parameters": {"start_date": "2024-01-01"},
    },
    "transformation": {
        "type": "sql",
        "config": {"sql_query": "SELECT id, UPPER(name) as name_upper FROM input_data"},
    },
    "persistence": {"table_name": "users_config", "strategy": "upsert", "upsert_keys": ["id"]},
}


def test_the_specifications_lines(site: Site, postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(postgresql_url) as conn:
        conn.execute("CREATE TABLE users (id bigint, name text, created_at timestamptz)")
        conn.execute("INSERT INTO users VALUES (1, 'ann', '2023-05-01'), (2, 'bob', '2024-05-01')")
    monkeypatch.setenv("SOURCE_DB_URL", postgresql_url)
    monkeypatch.setenv("DEST_DB_URL", postgresql_url)
    (site.folder / "pipeline-cli").symlink_to(site.datapipe)
    monkeypatch.setenv("PATH", os.pathsep.join([str(site.folder), os.environ["PATH"]]))
    given = "postgresql://user:pass@localhost:5432/source_db"
    Path("pipeline_config.json").write_text(json.dumps(CONFIG).replace(given, postgresql_url))
    site.start_worker("w1")
    task = site.cli("ingest", "--query", "SELECT * FROM users", "--wait").stdout.strip()
    script = LINES.replace(given, postgresql_url).replace("<task_id>", task)
    done = subprocess.run(["bash", "-ec", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "2 written to table users_staging" in done.stdout
    assert "1 written to table users_config" in done.stdout
    assert "1 worker is online" in done.stdout
    assert f"ingest · run {task[:8]}" in done.stdout
    with psycopg.connect(postgresql_url) as conn:
        assert conn.execute("SELECT * FROM users_staging ORDER BY 1").fetchall() == [(1, "ANN"), (2, "BOB")]
        assert conn.execute("SELECT * FROM users_config").fetchall() == [(2, "BOB")]


def test_the_status_of_tasks_and_pipelines(site: Site) -> None:
    waits = site.cli("ingest", "--query", "SELECT id FROM users").stdout.strip()
    told = site.cli("status", waits, "--json")  # no worker has begun it, so that it is no run yet
    assert (told.returncode, json.loads(told.stdout)) == (0, {"task_id": waits, "state": "queued"})
    assert site.cli("status", waits).stdout == f"task {waits}: queued\n"
    Path("plan.json").write_text('{"ingestion": {"table": "users"}, "persistence": {"table_name": "copy"}}')
    run_id = site.cli("submit", "plan.json", "--pipeline-id", "nightly").stdout.strip()
    assert json.loads(site.cli("status", "nightly", "--json").stdout)["id"] == run_id
    unknown = site.cli("status", "nobody")
    assert (unknown.returncode, unknown.stderr.startswith("error: no run has the id 'nobody'")) == (2, True)
    away = site.cli("status", waits, REDIS_URL="redis://127.0.0.1:1/0")
    assert (away.returncode, "no run has the id" in away.stderr) == (2, True)


def test_watching_as_json_tells_each_change_once(site: Site, wait: Callable[..., None]) -> None:
    run_id = site.submit("slow")
    command = [str(site.datapipe), "watch", run_id, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["state"] == "queued"
        site.start_worker("w1")
        wait(lambda: json.loads(site.cli("status", run_id, "--json").stdout)["state"] == "running")
        asked = site.cli("cancel", run_id, "--json")
        assert (asked.returncode, json.loads(asked.stdout)["asked"]) == (0, True)
        lines = [json.loads(line) for line in watching.stdout]
    assert watching.returncode == 1
    assert lines[-1]["state"] == "cancelled"
    assert "running" in [line["state"] for line in lines]
    assert all(one != other for one, other in itertools.pairwise(lines))
    late = site.cli("cancel", run_id, "--json")
    assert (late.returncode, json.loads(late.stdout)) == (1, {"run_id": run_id, "asked": False, "state": "cancelled"})
    again = site.cli("retry", run_id, "--json")
    assert (again.returncode, json.loads(again.stdout)["run_id"]) == (0, run_id)


def test_a_stage_that_is_waited_for_is_shown(site: Site) -> None:
    site.start_worker("w1")
    done = site.cli("ingest", "--query", "SELECT id FROM users", "--wait", "--json", DATAPIPE_DISPLAY="text")
    assert (done.returncode, json.loads(done.stdout)["row_count"]) == (0, 100)
    assert done.stderr.splitlines()[-1] == "100 rows: id bigint"
    assert "SUCCEEDED" in done.stderr


def test_a_worker_tells_in_a_line_that_it_is_ready(site: Site) -> None:
    command = [sys.executable, "-m", "datapipe", "worker", "--json", "-c", "1", "-Q", "one,two", "-n", "w9"]
    log = site.folder / "log"
    with log.open("w") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as worker:
        assert worker.stdout is not None
        told = json.loads(worker.stdout.readline())
        worker.send_signal(signal.SIGTERM)
        rest = worker.stdout.read()
        assert worker.wait(30) == 0, log.read_text()
    assert (told["ready"], told["queues"], told["concurrency"]) == (True, ["one", "two"], 1)
    assert told["worker"].startswith("w9@")
    assert rest == ""
