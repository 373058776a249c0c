"""The specification's examples for people outside of Python, as it has them but for ports and the users' own names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

REST = """
import requests

# Submit a pipeline
response = requests.post("http://localhost:8000/pipelines", json={
    "pipeline_config": {
        "ingestion": {
            "query": "SELECT * FROM users WHERE created_at > :start_date",
            "source_db_url": "postgresql://user:pass@localhost:5432/source_db",
            "parameters": {"start_date": "2024-01-01"}
        },
        "transformation": {
            "type": "sql",
            "config": {
                "sql_query": "SELECT id, UPPER(name) as name_upper FROM input_data"
            }
        },
        "persistence": {
            "table_name": "users_staging",
            "strategy": "upsert",
            "upsert_keys": ["id"]
        }
    }
})

result = response.json()
pipeline_id = result["pipeline_id"]
task_id = result["task_id"]

# Check status
status = requests.get(f"http://localhost:8000/pipelines/{pipeline_id}/status")
print(status.json())
"""
_USERS = """
DROP TABLE IF EXISTS orders, users;
CREATE TABLE users (id int PRIMARY KEY, name text, created_at date);
INSERT INTO users VALUES (1, 'ann', '2023-12-31'), (2, 'bob', '2024-01-02'), (3, 'eve', '2024-02-01');
GRANT SELECT ON users TO "user";
"""


def prepared(database: str, env_file: Path) -> int:
    """Make the specification's source database on a server, and let ``.env`` name it; the server's port."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE ROLE \"user\" LOGIN PASSWORD 'pass'")
        conn.execute("CREATE DATABASE source_db")
    with psycopg.connect(urlsplit(database)._replace(path="/source_db").geturl(), autocommit=True) as conn:
        conn.execute(_USERS)
    port = urlsplit(database).port or 5432
    env_file.write_text(f"DATAPIPE_CONNECTION_CRM=postgresql://user:pass@localhost:{port}/source_db\n")
    return port


def submitted(address: str, database_port: int, environment: Mapping[str, str]) -> dict[str, Any]:
    """Run the example for REST; what it printed."""
    code = REST.replace("http://localhost:8000", address).replace("localhost:5432", f"localhost:{database_port}")
    own = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=own, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = eval(done.stdout)  # what print() makes of a dict
    return found


def answer(address: str, path: str) -> Any:
    """What a GET answers."""
    with urllib.request.urlopen(f"{address}{path}", timeout=30) as response:
        return json.load(response)


def finished(address: str, run_id: str) -> dict[str, Any]:
    """A run, when it has ended."""
    until = time.monotonic() + 60
    while (found := answer(address, f"/runs/{run_id}"))["state"] in {"queued", "running"}:
        assert time.monotonic() < until, found
        time.sleep(0.1)
    return dict(found)
