"""A full disk under the target, the spill or a file: a clear error, nothing visible, no temporary file left."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

import datapipe
from datapipe.errors import FatalError

CHILD = """
import json, os, resource, sys, tempfile
import pyarrow as pa
import datapipe
case, folder = sys.argv[1:]
os.environ["TMPDIR"] = tempfile.tempdir = os.path.join(folder, "tmp")
os.mkdir(tempfile.tempdir)
rows = pa.table({"id": range(400_000), "text": [os.urandom(40).hex() for _ in range(400_000)]})
plan = datapipe.read(rows)
if case == "spill":
    plan = plan.sql("SELECT * FROM input_data ORDER BY text").write(os.path.join(folder, "out.parquet"))
elif case == "sqlite":
    plan = plan.write("t", to=f"sqlite:///{folder}/out.db")
else:
    plan = plan.write(os.path.join(folder, "out." + case))
import datapipe.engine, datapipe.persistence.files, datapipe.transformation
limit = 2_000_000
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    plan.run("64MB")
    print(json.dumps(["no error", "", ""]))
except datapipe.DatapipeError as error:
    print(json.dumps([type(error).__name__, error.step, str(error)]))
left = [os.path.join(at, f) for at, _, files in os.walk(folder) for f in files if not f.endswith(".lock")]
print(json.dumps(left))
"""


@pytest.mark.parametrize("case", ["parquet", "csv", "jsonl", "sqlite", "spill"])
def test_a_file_that_may_not_grow(tmp_path: Path, case: str) -> None:
    command = [sys.executable, "-c", CHILD, case, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    (kind, step, message), left = map(json.loads, done.stdout.splitlines())
    assert kind == "FatalError", message
    assert step == ("transformation step 1 (sql)" if case == "spill" else "persistence")
    assert "isk" in message
    # SQLite's own journal may stay; opening the database uses it up.
    assert {Path(path).name for path in left} - {"out.db-journal"} == ({"out.db"} if case == "sqlite" else set())
    if case == "sqlite":
        import sqlite3

        with contextlib.closing(sqlite3.connect(tmp_path / "out.db")) as conn:
            assert conn.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        assert not (tmp_path / "out.db-journal").exists()


@pytest.fixture
def small_disk(tmp_path: Path, postgresql_url: str) -> Iterator[str]:
    """A database whose default tablespace is on 30 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", folder], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("needs root, to mount a small disk")
    try:
        with psycopg.connect(postgresql_url, autocommit=True) as conn:
            row = conn.execute("SHOW data_directory").fetchone()
            assert row is not None
            owner = Path(row[0]).stat()
            for path in (folder, *[p for p in folder.parents if p.is_relative_to(tmp_path.parents[1])]):
                path.chmod(0o755)
            space = folder / "space"
            space.mkdir()
            os.chown(space, owner.st_uid, owner.st_gid)
            name = f"small_{os.getpid()}"
            conn.execute(f"CREATE TABLESPACE {name} LOCATION '{space}'".encode())
            try:
                yield name
            finally:
                conn.execute("DROP TABLE IF EXISTS t")
                conn.execute(f"DROP TABLESPACE {name}".encode())
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("strategy", ["append", "upsert"])
def test_a_full_tablespace(postgresql_url: str, small_disk: str, strategy: str) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as conn:
        conn.execute(f"CREATE TABLE t (id bigint PRIMARY KEY, text text) TABLESPACE {small_disk}".encode())
        conn.execute("INSERT INTO t VALUES (-1, 'before')")
        keys = ["id"] if strategy == "upsert" else []
        rows = datapipe.read(
            "SELECT g::bigint AS id, repeat('x', 200) AS text FROM generate_series(1, 400000) g", source=postgresql_url
        )
        with pytest.raises(FatalError, match="disk"):
            rows.write("t", to=postgresql_url, strategy=strategy, keys=keys).run()
        assert conn.execute("SELECT * FROM t").fetchall() == [(-1, "before")]
        assert conn.execute("SELECT count(*) FROM _datapipe.loads").fetchone() == (0,)
