"""datapipe schema: what the registry has, and the gate that a CI job needs; on SQLite, and once on PostgreSQL."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

import datapipe
from datapipe.cli.app import app

USERS = "SELECT id, name FROM users"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a database with two users, and a plan that has run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATAPIPE_METADATA_URL", f"sqlite:///{tmp_path / 'runs.db'}")
    with sqlite3.connect("crm.db") as conn:
        conn.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)")
        conn.execute("INSERT INTO users VALUES (1, 'ann'), (2, 'bob')")
    conn.close()
    write_plan("plan.yaml", USERS)
    return tmp_path


@pytest.fixture
def loaded() -> str:
    """The id of the run that has created the target."""
    return datapipe.load("plan.yaml").run().run_id


def write_plan(file: str, query: str, to: str = "sqlite:///out.db", **more: Any) -> None:
    source = {"query": query, "source_db_url": "sqlite:///crm.db"}
    target = {"table_name": "users_staging", "strategy": "replace", "dest_db_url": to, **more}
    Path(file).write_text(yaml.safe_dump({"ingestion": source, "persistence": target}), "utf-8")


def schema(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["schema", *arguments])


def told(*arguments: str) -> Any:
    return json.loads(schema(*arguments, "--json").stdout)


# --- the registry ----------------------------------------------------------------------------------------------


def test_an_empty_registry() -> None:
    assert (schema("list").stdout, told("list")) == ("no schemas yet\n", [])
    done = schema("show", "users_staging")
    assert done.exit_code == 2
    assert "no schema is registered for 'users_staging'. A plan's first load registers its target" in done.stderr


def test_list_show_and_history(loaded: str) -> None:
    with sqlite3.connect("out.db") as conn:
        conn.execute("ALTER TABLE users_staging ADD COLUMN note TEXT")
    conn.close()
    datapipe.load("plan.yaml").run()
    (line,) = schema("list").stdout.splitlines()
    subject = f"main.users_staging on sqlite {Path('out.db').resolve()}"
    assert line.endswith(f"version   2     3 columns  {subject}")
    assert schema("show", "users_staging").stdout.splitlines()[1:] == ["  id BIGINT", "  name TEXT", "  note TEXT"]
    head, *columns = schema("show", "users_staging", "--version", "1").stdout.splitlines()
    assert head.startswith(f"{subject}, version 1 (") and head.endswith(f"by run {loaded}")
    assert columns == ["  id BIGINT", "  name TEXT"]
    lines = schema("history", "users_staging").stdout.splitlines()
    assert [lines[1], lines[3]] == ["  2 columns", "  added note: TEXT"]


def test_json_of_the_registry(loaded: str) -> None:
    (listed,) = told("list")
    assert told("show", "users_staging") == listed
    assert told("history", "users_staging") == [listed]
    assert (listed["version"], listed["run_id"], listed["changes"]) == (1, loaded, None)
    assert listed["columns"][0] == {"name": "id", "type": "BIGINT", "nullable": True}
    assert told("show", "users_staging", "--version", listed["fingerprint"]) == listed


def test_what_is_not_there(loaded: str) -> None:
    done = schema("history", "users_stagin")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Did you mean 'users_staging'?" in done.stderr
    assert "has no version 7. It has version 1" in schema("show", "users_staging", "--version", "7").stderr
    done = schema("diff", "plan.yaml", "--version", "7", "--json")
    assert done.exit_code == 2
    assert "has no version 7" in json.loads(done.stdout)["error"]


# --- what a plan would change ----------------------------------------------------------------------------------


def test_diff_ends_with_1_if_there_is_a_difference(loaded: str) -> None:
    done = schema("diff", "plan.yaml")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "have the same schema" in done.stdout
    write_plan("new.yaml", "SELECT id, name, 1 AS n FROM users WHERE id > :low")
    done = schema("diff", "new.yaml", "--against", "plan.yaml", "-p", "low=0")
    assert done.exit_code == 2, "the other plan has no such parameter"
    done = schema("diff", "new.yaml", "--param", "low=0")
    assert (done.exit_code, done.stdout.partition(" (")[0]) == (1, "added n: BIGINT")
    assert schema("diff", "new.yaml", "-p", "low=0", "--version", "1").exit_code == 1
    found = told("diff", "plan.yaml", "--version", "1")
    assert found["changes"] == []


def test_diff_of_two_plans() -> None:
    write_plan("new.yaml", "SELECT CAST(id AS TEXT) AS id, name FROM users")
    done = schema("diff", "new.yaml", "--against", "plan.yaml")
    assert (done.exit_code, done.stdout) == (1, "breaking: retyped id: bigint -> text\n")
    assert schema("diff", "plan.yaml", "--against", "plan.yaml").exit_code == 0
    done = schema("diff", "plan.yaml", "--against", "plan.yaml", "--version", "1")
    assert (done.exit_code, "both --against and --version" in done.stderr) == (2, True)


def test_check_fails_on_a_breaking_change_and_shows_it(loaded: str) -> None:
    done = schema("check", "plan.yaml")
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, "no breaking changes")
    write_plan("new.yaml", "SELECT name AS id FROM users")
    done = schema("check", "new.yaml")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[:2] == [
        "1 breaking change",
        "breaking: retyped id: BIGINT -> TEXT (another class of types, and the load is refused)",
    ]
    found = told("check", "new.yaml")
    assert (found["ok"], found["mode"], found["changes"][0]["column"]) == (False, None, "id")


@pytest.mark.parametrize(
    ("query", "codes"),
    [
        (USERS, {"backward": 0, "forward": 0, "full": 0}),
        ("SELECT id FROM users", {"backward": 0, "forward": 0, "full": 0}),
        ("SELECT id, name, 1 AS n FROM users", {"backward": 0, "forward": 0, "full": 0}),
        ("SELECT name AS id, name FROM users", {"backward": 1, "forward": 1, "full": 1}),
    ],
)
def test_check_by_a_promise(loaded: str, query: str, codes: dict[str, int]) -> None:
    write_plan("new.yaml", query)
    assert {mode: schema("check", "new.yaml", "--mode", mode).exit_code for mode in codes} == codes


def test_check_by_a_promise_before_the_first_load() -> None:
    done = schema("check", "plan.yaml", "--mode", "full")
    assert (done.exit_code, done.stdout) == (
        0,
        "no version of the target's schema is registered yet: there is nothing to break\n",
    )
    assert told("check", "plan.yaml", "--mode", "full") == {"ok": True, "mode": "full", "changes": []}


def test_what_a_function_prints_is_not_in_the_json(folder: Path) -> None:
    Path("plan.py").write_text(
        "import datapipe, pandas as pd\n"
        "def loud(frame):\n    print('loud')\n    return frame\n"
        "plan = datapipe.read(pd.DataFrame({'id': [1]})).apply(loud).write('t', to='sqlite:///out.db')\n"
    )
    assert told("diff", "plan.py")["changes"][0]["column"] == "id"
    assert told("check", "plan.py")["ok"]


@pytest.mark.parametrize("arguments", [("check", "none.yaml"), ("diff", "plan.yaml", "--against", "none.yaml")])
def test_a_plan_that_is_not_there(arguments: tuple[str, ...]) -> None:
    done = schema(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "cannot read 'none.yaml'" in done.stderr


@pytest.mark.parametrize("name", ["list", "show", "history", "diff", "check"])
def test_help_has_an_example(name: str) -> None:
    assert f"\n  datapipe schema {name}" in schema(name, "--help").stdout


def test_a_ci_job_on_postgresql(postgresql_url: str, forked_cli: Path) -> None:
    """Commands as processes of their own, with the registry and the target in PostgreSQL."""
    write_plan("plan.yaml", USERS, postgresql_url)
    write_plan("new.yaml", "SELECT CAST(id AS TEXT) AS id, 'x' AS name FROM users", postgresql_url, schema="public")
    with psycopg.connect(postgresql_url, autocommit=True) as conn:
        conn.execute("CREATE TABLE users_staging (id int PRIMARY KEY, name varchar(20))")

    def job(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [forked_cli, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert job("run", "plan.yaml").returncode == 0
    done = job("schema", "check", "plan.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert "widened id: integer -> bigint" in done.stdout
    done = job("schema", "check", "new.yaml")
    assert (done.returncode, "breaking: retyped id: integer -> text" in done.stdout) == (1, True)
    done = job("schema", "check", "new.yaml", "--mode", "backward")
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "1 breaking change")
    assert "id integer NOT NULL" in job("schema", "show", "users_staging").stdout
