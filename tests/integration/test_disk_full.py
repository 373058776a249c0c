"""A full disk under the target, the spill or a file: a clear error, nothing visible, no temporary file left."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from contracts.sinks import Sink
from forked import forked_python
from services import find_mysql, mysql_database, running_mysql

import datapipe
from datapipe.errors import FatalError

STRATEGIES = ("append", "insert", "upsert", "replace")
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
left = [os.path.join(at, f) for at, _, files in os.walk(folder) for f in files if f != "gate"]
print(json.dumps(left))
"""


@pytest.mark.parametrize("case", ["parquet", "csv", "jsonl", "sqlite", "spill"])
def test_a_file_that_may_not_grow(tmp_path: Path, case: str) -> None:
    command = [forked_python(), "-c", CHILD, case, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    (kind, step, message), left = map(json.loads, done.stdout.splitlines())
    assert kind == "FatalError", message
    assert step == ("transformation step 1 (sql)" if case == "spill" else "persistence")
    assert "isk" in message
    # SQLite's own journal may stay; opening the database uses it up.
    assert {Path(path).name for path in left} - {"out.db-journal"} == ({"out.db"} if case == "sqlite" else set())
    if case == "sqlite":
        with contextlib.closing(sqlite3.connect(tmp_path / "out.db")) as conn:
            assert conn.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        assert not (tmp_path / "out.db-journal").exists()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 30 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs root, to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def temporary(disk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small disk, as the temporary folder."""
    monkeypatch.setenv("TMPDIR", str(disk))
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    return disk


@pytest.fixture
def tablespace(disk: Path, tmp_path: Path, postgresql_url: str) -> Iterator[str]:
    """A tablespace on the small disk."""
    with psycopg.connect(postgresql_url, autocommit=True) as conn:
        row = conn.execute("SHOW data_directory").fetchone()
        assert row is not None
        owner = Path(row[0]).stat()
        for path in (disk, *[p for p in disk.parents if p.is_relative_to(tmp_path.parents[1])]):
            path.chmod(0o755)
        space = disk / "space"
        space.mkdir()
        os.chown(space, owner.st_uid, owner.st_gid)
        name = f"small_{os.getpid()}"
        conn.execute(f"CREATE TABLESPACE {name} LOCATION '{space}'".encode())
        try:
            yield name
        finally:
            conn.execute("DROP TABLE IF EXISTS t")
            conn.execute(f"DROP TABLESPACE {name}".encode())


@functools.cache
def table() -> pa.Table:
    """About 100 MB, which nobody can squeeze to half."""
    return pa.table({"id": range(400_000), "text": [os.urandom(120).hex() for _ in range(400_000)]})


def rows() -> datapipe.Pipeline:
    return datapipe.read(table())


def keys(strategy: str) -> list[str]:
    return ["id"] if strategy in {"insert", "upsert"} else []


def refused(plan: datapipe.Pipeline, step: str = "persistence") -> None:
    with pytest.raises(FatalError) as caught:
        plan.run("160MB")
    assert caught.value.step == step
    assert "disk" in str(caught.value)
    assert caught.value.hint
    assert caught.value.row is None


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_full_tablespace(postgresql_url: str, tablespace: str, strategy: str) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as conn:
        conn.execute(f"CREATE TABLE t (id bigint PRIMARY KEY, text text) TABLESPACE {tablespace}".encode())
        conn.execute("INSERT INTO t VALUES (-1, 'before')")
        refused(rows().write("t", to=postgresql_url, strategy=strategy, keys=keys(strategy)))
        assert conn.execute("SELECT * FROM t").fetchall() == [(-1, "before")]
        assert conn.execute("SELECT count(*) FROM _datapipe.loads").fetchone() == (0,)


def test_a_full_tablespace_of_temporary_tables(postgresql_url: str, tablespace: str) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as conn:
        conn.execute("CREATE TABLE t (id bigint PRIMARY KEY, text text)")
        conn.execute(
            f"ALTER ROLE CURRENT_USER IN DATABASE {conn.info.dbname} SET temp_tablespaces = {tablespace}".encode()
        )
        refused(rows().write("t", to=postgresql_url, strategy="upsert", keys="id"))
        assert conn.execute("SELECT count(*) FROM t").fetchone() == (0,)
        assert conn.execute("SELECT count(*) FROM pg_class WHERE relname LIKE '%datapipe_stage%'").fetchone() == (0,)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_full_disk_under_sqlite(disk: Path, strategy: str) -> None:
    with sqlite_database(disk / "t.db") as conn:
        refused(rows().write("t", to=f"sqlite:///{disk / 't.db'}", strategy=strategy, keys=keys(strategy)))
        assert conn.execute("SELECT name FROM sqlite_master").fetchall() == [("t",)]
    assert left(disk) == {"t.db"}


UPSERT = """
import sys
import pyarrow as pa
import datapipe
rows = pa.table({"id": range(400_000), "text": ["x" * 200] * 400_000})
try:
    datapipe.read(rows).write("t", to=sys.argv[1], strategy="upsert", keys="id").run()
except datapipe.DatapipeError as error:
    print(type(error).__name__, error)
"""


def test_a_full_disk_under_the_temporary_tables_of_sqlite(disk: Path, tmp_path: Path) -> None:
    """Where they are is decided once in a process."""
    with sqlite_database(tmp_path / "t.db"):
        command = [sys.executable, "-c", UPSERT, f"sqlite:///{tmp_path / 't.db'}"]
        environment = os.environ | {"TMPDIR": str(disk)}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        assert done.stdout.startswith("FatalError persistence: sqlite t.db: database or disk is full")
    assert left(disk) == {"gate"}


@contextlib.contextmanager
def sqlite_database(file: Path) -> Iterator[sqlite3.Connection]:
    """A database with a row in it, which is all there is in the end."""
    with contextlib.closing(sqlite3.connect(file)) as conn:
        conn.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
        conn.execute("INSERT INTO t VALUES (-1, 'before')")
        conn.commit()
        yield conn
        assert conn.execute("SELECT * FROM t").fetchall() == [(-1, "before")]


def test_a_full_disk_under_duckdb(temporary: Path) -> None:
    refused(rows().write("t", to=f"duckdb:///{temporary / 't.duckdb'}"))
    assert left(temporary) <= {"t.duckdb", "gate"}


@pytest.mark.parametrize("strategy", ["append", "replace"])
@pytest.mark.parametrize("ending", [".parquet", ".csv", ".json", ".jsonl"])
def test_a_full_disk_under_a_file(temporary: Path, ending: str, strategy: str) -> None:
    path = temporary / f"out{ending}"
    path.mkdir() if strategy == "append" else path.write_text("before")
    refused(rows().write(path, strategy=strategy))
    assert left(temporary) == ({"gate"} if strategy == "append" else {"gate", path.name})
    assert path.is_dir() or path.read_text() == "before"


SPILLS = {
    "sort": "SELECT * FROM input_data ORDER BY text",
    "aggregate": "SELECT text, count(*) AS n FROM input_data GROUP BY text",
    "join": "SELECT a.id, b.text FROM input_data a JOIN input_data b ON a.text = b.text",
    "window": "SELECT id, text, lag(text) OVER (ORDER BY text) AS before FROM input_data",
}


@pytest.mark.parametrize("sql", SPILLS.values(), ids=SPILLS)
def test_a_full_disk_under_the_spill(temporary: Path, tmp_path: Path, sql: str) -> None:
    refused(rows().sql(sql).write(tmp_path / "out.parquet"), "transformation step 1 (sql)")
    assert not (tmp_path / "out.parquet").exists()
    assert left(temporary) == {"gate"}


def test_no_room_for_temporary_files(temporary: Path, tmp_path: Path) -> None:
    with contextlib.suppress(OSError), (temporary / "full").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    small = datapipe.read(pa.table({"id": [1]}))
    assert small.write(tmp_path / "out.csv").run().rows_written == 1
    assert small.write("t", to=f"sqlite:///{tmp_path / 't.db'}").run().rows_written == 1


def test_no_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(FatalError, match=r"cannot make a temporary directory: No such file.*TMPDIR"):
        datapipe.read(pa.table({"id": [1]})).write(tmp_path / "out.csv").run()


def left(folder: Path) -> set[str]:
    """The names of the files below a folder."""
    return {path.name for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def small_mysql(mysql_server: str) -> Iterator[Sink]:
    """A MariaDB with 40 MB for its tables, and as much for temporary ones."""
    service = find_mysql()
    if service is None or service.program is None:
        pytest.skip(f"needs a MariaDB to start, beside {mysql_server}")
    spaces = {"data": "ibdata1", "temp-data": "ibtmp1"}
    sizes = [f"--innodb-{name}-file-path={file}:12M:autoextend:max:40M" for name, file in spaces.items()]
    with running_mysql(service, "--innodb-file-per-table=0", *sizes) as server, mysql_database(server) as url:
        yield Sink("mysql", url)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_full_tablespace_of_mariadb(small_mysql: Sink, strategy: str) -> None:
    small_mysql.sql(
        "CREATE OR REPLACE TABLE t (id bigint PRIMARY KEY, text longtext)", "INSERT INTO t VALUES (-1, 'old')"
    )
    refused(rows().write("t", to=small_mysql.url, strategy=strategy, keys=keys(strategy)))
    assert small_mysql.rows() == [(-1, "old")]
    assert not [name for name in small_mysql.tables() if "stage" in name]
    assert small_mysql.sql("SELECT count(*) FROM _datapipe_loads") == [(0,)]
