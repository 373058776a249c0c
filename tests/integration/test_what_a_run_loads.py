"""What a run loads beside the libraries of its source, its steps and its target: nothing that takes its time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
from pyarrow import parquet

RUN = """
import json, sys, datapipe
watched = json.loads(sys.argv[2])
loaded = lambda: [name for name in watched if name in sys.modules]
people = datapipe.read("SELECT * FROM people", source=sys.argv[1])
people.write("copied", to=sys.argv[1]).run()
carried = loaded()
people.sql("SELECT *, upper(name) AS upper FROM input_data").write("merged", sys.argv[1], strategy="upsert", keys="id").run()
print(json.dumps([carried, loaded()]))
"""
FILES = """
import json, sys, datapipe
datapipe.read(sys.argv[2] + "/people.parquet").write("taken", to=sys.argv[1]).run()
print(json.dumps([name for name in ("duckdb", "pandas", "pyarrow.csv", "yaml") if name in sys.modules]))
"""
MADE = """
CREATE TABLE people AS SELECT i AS id, 'name ' || i AS name, now() AS at, now()::timestamp AS local, current_date AS day,
    current_time::time AS time, i * 1.5::numeric(12,2) AS price FROM generate_series(1, 3) AS i"""
# What no run needs whose rows nobody looks into.
LOOKING = ("adbc_driver_manager", "duckdb", "pgpq", "pyarrow.compute")
NEVER = (
    "celery", "datapipe.display.card", "datapipe.display.runs", "datapipe.notebooks", "datapipe.schemas.validation",
    "pandas", "pandera", "pydantic_settings", "pyarrow.csv", "pyarrow.parquet", "rich", "sqlalchemy.ext",
    "sqlalchemy.orm", "structlog", "typer", "yaml",
)  # fmt: skip


def told(script: str, *arguments: str) -> list[Any]:
    """What a script says of itself, in a new interpreter."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    return list(json.loads(done.stdout))


def test_a_plan_on_postgresql_loads_what_it_needs(postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url) as conn:
        conn.execute(MADE)
    carried, computed = told(RUN, postgresql_url, json.dumps([*LOOKING, *NEVER]))
    assert carried == []
    assert computed == list(LOOKING)


def test_a_parquet_file_is_read_without_duckdb(postgresql_url: str, tmp_path: Path) -> None:
    parquet.write_table(pa.table({"id": [1, 2]}), tmp_path / "people.parquet")
    assert told(FILES, postgresql_url, str(tmp_path)) == []
