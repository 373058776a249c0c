"""What a run loads beside the libraries of its source, its steps and its target: nothing that takes its time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psycopg

RUN = """
import json, sys, datapipe
people = datapipe.read("SELECT * FROM people", source=sys.argv[1])
people.write("copied", to=sys.argv[1]).run()
people.sql("SELECT *, upper(name) AS upper FROM input_data").write("merged", sys.argv[1], strategy="upsert", keys="id").run()
print(json.dumps([name for name in ("celery", "pandas", "pandera", "rich", "structlog") if name in sys.modules]))
"""
MADE = """
CREATE TABLE people AS SELECT i AS id, 'name ' || i AS name, now() AS at, now()::timestamp AS local, current_date AS day,
    current_time::time AS time, i * 1.5::numeric(12,2) AS price FROM generate_series(1, 3) AS i"""


def test_a_plan_on_postgresql_loads_no_pandas(postgresql_url: str, tmp_path: Path) -> None:
    with psycopg.connect(postgresql_url) as conn:
        conn.execute(MADE)
    command = [sys.executable, "-c", RUN, postgresql_url]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert json.loads(done.stdout) == []
