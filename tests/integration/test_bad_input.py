"""What people get wrong: one clear error each, by the API and by the command line, and nothing is written."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from datapipe.cli.app import app
from datapipe.errors import DataError, DatapipeError, FatalError, PlanError, SchemaError, TransientError
from datapipe.pipeline import Pipeline
from datapipe.plan import parse

UNREACHED = "postgresql://ann:s3cret@127.0.0.1:1/db"


@dataclass(frozen=True)
class Case:
    """A plan with one mistake, and what its error says."""

    ingestion: dict[str, Any]
    kind: type[DatapipeError]
    step: str
    words: tuple[str, ...]
    persistence: dict[str, Any] | None = None
    sql: str | None = None

    def plan(self, url: str) -> dict[str, Any]:
        """The plan's document form."""
        source = {"source_db_url": url} if "query" in self.ingestion or "table" in self.ingestion else {}
        target = {"table_name": "target", "dest_db_url": url, **(self.persistence or {})}
        steps = [{"type": "sql", "config": {"sql_query": self.sql}}] if self.sql else []
        return {"ingestion": {**source, **self.ingestion}, "transformation": steps, "persistence": target}


USERS = {"query": "SELECT id, name FROM users"}
SQLITE = "sqlite:///crm.db"
READ, WRITE, STEP = "ingestion", "persistence", "transformation step 1 (sql)"
CASES = {
    "wrong URL of the source": Case(
        {**USERS, "source_db_url": "ann:s3cret@host/db"}, PlanError, READ, ("database URL", "driver://")
    ),
    "wrong URL of the target": Case(USERS, PlanError, WRITE, ("database URL",), {"dest_db_url": "ann:s3cret@host"}),
    "wrong port": Case(
        {**USERS, "source_db_url": "postgresql://ann:s3cret@host:port/db"}, PlanError, READ, ("URL does not parse", "port")
    ),
    "unknown driver": Case({**USERS, "source_db_url": "oracel://ann:s3cret@host/db"}, PlanError, READ, ("'oracel'",)),
    "a target nobody writes": Case(USERS, PlanError, WRITE, ("oracel", "mariadb, sqlite and duckdb"), {"dest_db_url": "oracel://ann:s3cret@h/d"}),
    "refused connection to the source": Case(
        {**USERS, "source_db_url": UNREACHED}, TransientError, READ, ("127.0.0.1:1/db", "refused", "server runs")
    ),
    "refused connection to the target": Case(
        USERS, TransientError, WRITE, ("127.0.0.1:1/db", "refused", "server runs"), {"dest_db_url": UNREACHED}
    ),
    "missing table in a query": Case({"query": "SELECT * FROM userz"}, PlanError, READ, ('"userz" does not exist',)),
    "missing table": Case({"table": "userz"}, PlanError, READ, ("userz",)),
    "missing SQLite table": Case({"table": "userz", "source_db_url": SQLITE}, PlanError, READ, ("no such table: userz", "'users'")),
    "missing SQLite file": Case({**USERS, "source_db_url": "sqlite:///none.db"}, PlanError, READ, ("none.db", "path")),
    "missing file": Case({"files": "user.csv"}, PlanError, READ, ("no file 'user.csv'", "'users.csv'")),
    "unknown column of the source": Case({"query": "SELECT nam FROM users"}, PlanError, READ, ('"nam" does not exist', "users.name")),
    "unknown column in a step": Case(USERS, PlanError, STEP, ('"nam" not found', '"name"'), sql="SELECT nam FROM input_data"),
    "unknown table in a step": Case(USERS, PlanError, STEP, ("'input_dat'", "'input_data'"), sql="SELECT * FROM input_dat"),
    "two columns of one name": Case({"query": "SELECT id, name AS id FROM users"}, DataError, READ, ("two columns called 'id'", "AS")),
    "two columns of one name out of a step": Case(
        USERS, DataError, STEP, ("two columns called 'id'", "AS"), sql="SELECT id, name AS id FROM input_data"
    ),
    "a column of only NULLs": Case(
        {"query": "SELECT id, NULL AS v FROM users", "source_db_url": SQLITE}, SchemaError, WRITE, ("'v' holds only NULLs", "CAST")
    ),
    "text called Parquet": Case({"files": "lie.parquet"}, DataError, READ, ("lie.parquet is not a Parquet file", "format=")),
    "text called JSON": Case({"files": "lie.json"}, DataError, READ, ("lie.json", "not valid JSON")),
    "bytes called CSV": Case({"files": "lie.csv"}, DataError, READ, ("lie.csv is not CSV in UTF-8",)),
    "an empty file": Case({"files": "empty.csv"}, DataError, READ, ("empty.csv is empty",)),
    "unknown strategy": Case(USERS, PlanError, WRITE, ("unknown strategy 'upsrt'", "'upsert'"), {"strategy": "upsrt"}),
    "upsert without keys": Case(USERS, PlanError, WRITE, ("upsert needs keys", "upsert_keys: [id]"), {"strategy": "upsert"}),
    "keys not in the data": Case(
        USERS, PlanError, WRITE, ("key 'idd' is not a column", "'id'"), {"strategy": "upsert", "upsert_keys": ["idd"]}
    ),
    "NULL in a key": Case(
        {"query": "SELECT NULLIF(id, 3) AS id, name FROM users ORDER BY 2"}, DataError, WRITE,
        ("key 'id' is NULL in row 3", "Filter"), {"strategy": "upsert", "upsert_keys": ["id"]},
    ),
    "a value that is no number": Case(USERS, DataError, STEP, ("Could not convert", "TRY_CAST"), sql="SELECT name::INTEGER AS n FROM input_data"),
    "a folder that may not be made": Case(USERS, FatalError, WRITE, ("cannot write", "path"), {"path": "/proc/none/a.csv"}),
}  # fmt: skip
CASE = pytest.mark.parametrize("name", CASES)


@pytest.fixture(scope="module")
def database(postgresql_server: str) -> Iterator[str]:
    """A database with three users, which every case reads and none may write to."""
    name = f"bad_input_{os.getpid()}"
    url = f"{postgresql_server.rpartition('/')[0]}/{name}"
    with psycopg.connect(postgresql_server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("CREATE TABLE users (id bigint, name text)")
            conn.execute("INSERT INTO users VALUES (1, 'hidden a'), (2, 'hidden b'), (3, 'hidden c')")
        yield url
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with files that are not what they seem."""
    monkeypatch.chdir(tmp_path)
    for name in ("SOURCE_DB_URL", "DEST_DB_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("users.csv", "lie.parquet", "lie.json"):
        Path(name).write_text("id,name\n1,hidden a\n")
    Path("lie.csv").write_bytes(b"\xff\xfeP\x00A\x00R\x001\x00hidden" * 50)
    Path("empty.csv").touch()
    with sqlite3.connect("crm.db") as conn:
        conn.execute("CREATE TABLE users (id INTEGER, name TEXT)")
        conn.execute("INSERT INTO users VALUES (1, 'hidden a')")
    conn.close()
    return tmp_path


def case_plan(case: Case, url: str) -> dict[str, Any]:
    plan = case.plan(url)
    if case.persistence and "path" in case.persistence:
        plan["persistence"] = case.persistence
    return plan


def tables(url: str) -> list[str]:
    with psycopg.connect(url) as conn:
        query = (
            "SELECT tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema', '_datapipe')"
        )
        return [name for (name,) in conn.execute(query)]


def check_text(text: str, case: Case) -> None:
    assert all(word in text for word in case.words), text
    assert "s3cret" not in text
    assert "hidden" not in text
    assert "Traceback" not in text


@CASE
def test_the_api_says_what_is_wrong_and_what_to_do(database: str, folder: Path, name: str) -> None:
    case = CASES[name]
    before = sorted(folder.rglob("*"))
    with pytest.raises(DatapipeError) as caught:
        Pipeline(parse(case_plan(case, database))).run()
    error = caught.value
    assert type(error) is case.kind, repr(error)
    assert error.step == case.step
    assert error.hint
    check_text(str(error), case)
    assert tables(database) == ["users"]
    assert sorted(folder.rglob("*")) == before


@CASE
def test_the_command_line_says_it_in_one_line(database: str, folder: Path, name: str) -> None:
    case = CASES[name]
    Path("plan.json").write_text(json.dumps(case_plan(case, database)))
    done = CliRunner().invoke(app, ["run", "plan.json"])
    assert done.exit_code == (2 if issubclass(case.kind, PlanError) else 1), done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {case.step}: ")
    assert len(done.stderr.splitlines()) == 1
    check_text(done.stderr, case)
    assert tables(database) == ["users"]


@pytest.mark.parametrize(
    "name", ["wrong URL of the source", "refused connection to the source", "a column of only NULLs"]
)
def test_a_process_of_its_own_says_nothing_else(database: str, folder: Path, name: str) -> None:
    case = CASES[name]
    Path("plan.json").write_text(json.dumps(case_plan(case, database)))
    done = run_cli("run", "plan.json")
    assert done.returncode == (2 if issubclass(case.kind, PlanError) else 1)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    check_text(done.stderr, case)


def run_cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "datapipe", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_debug_shows_the_traceback_too(folder: Path) -> None:
    options = ["--source-db-url", UNREACHED, "--table-name", "t", "--dest-db-url", "sqlite:///out.db", "--debug"]
    done = run_cli("run", "--query", "SELECT 1 AS a", *options)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "s3cret" not in done.stderr


def test_an_empty_source_is_no_error(database: str, folder: Path) -> None:
    plan = {
        "ingestion": {"query": "SELECT * FROM users WHERE false", "source_db_url": database},
        "transformation": {"type": "sql", "config": {"sql_query": "SELECT id, upper(name) AS name FROM input_data"}},
        "persistence": {"table_name": "empty", "dest_db_url": "sqlite:///out.db"},
    }
    result = Pipeline(parse(plan)).run()
    assert (result.rows_read, result.rows_written, result.created) == (0, 0, True)
    with sqlite3.connect("out.db") as conn:
        assert conn.execute("SELECT name, type FROM pragma_table_info('empty')").fetchall() == [
            ("id", "BIGINT"),
            ("name", "TEXT"),
        ]
    conn.close()


def test_a_failed_run_leaves_the_rows_that_were_there(database: str, folder: Path) -> None:
    with sqlite3.connect("crm.db") as conn:
        conn.execute("CREATE TABLE target (n INTEGER)")
        conn.execute("INSERT INTO target VALUES (7)")
    plan = {
        "ingestion": {"query": "SELECT id, name FROM users", "source_db_url": database},
        "transformation": {
            "type": "sql",
            "config": {"sql_query": "SELECT CASE WHEN id < 3 THEN id ELSE name::INTEGER END AS n FROM input_data"},
        },
        "persistence": {"table_name": "target", "dest_db_url": "sqlite:///crm.db", "strategy": "replace"},
    }
    with pytest.raises(DataError) as caught:
        Pipeline(parse(plan)).run()
    assert caught.value.result.state == "failed"
    assert caught.value.result.rows_written == 0
    assert conn.execute("SELECT * FROM target").fetchall() == [(7,)]
    conn.close()
