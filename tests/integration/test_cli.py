"""The command line as the specification writes it, each time as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from forked import forked_cli
from workerside import patient

PROGRAMS = ["datapipe", "pipeline-cli"]
UPPER = json.dumps({"sql_query": "SELECT id, UPPER(name) AS name FROM input_data"})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a database with two users, and the user's own module."""
    monkeypatch.chdir(tmp_path)
    for name in ("SOURCE_DB_URL", "DEST_DB_URL", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    with sqlite3.connect("crm.db") as conn:
        conn.execute("CREATE TABLE users (id INTEGER, name TEXT)")
        conn.execute("INSERT INTO users VALUES (1, 'ann'), (2, 'bob')")
    conn.close()
    Path("recipes").mkdir()
    Path("recipes/users.py").write_text(
        "import time\n"
        "def clean(df):\n    print('from the function')\n    return df.assign(name=df['name'].str.title())\n"
        "def slow(df):\n    open('started', 'w').close()\n    time.sleep(60)\n    return df\n"
        "def broken(df):\n    raise ValueError('the function failed')\n"
    )
    return tmp_path


def cli(*arguments: str, program: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program of a name; without one, the forked one, which starts sooner and does the same."""
    command = [str(Path(sys.executable).with_name(program)) if program else forked_cli(), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env=os.environ | environment
    )


def rows(table: str, file: str = "crm.db") -> list[tuple[Any, ...]]:
    conn = sqlite3.connect(file)
    try:
        return sorted(conn.execute(f"SELECT * FROM {table}").fetchall())
    finally:
        conn.close()


def document(**parts: Any) -> dict[str, Any]:
    return {
        "ingestion": {"query": "SELECT id, name FROM users", "source_db_url": "sqlite:///crm.db"},
        "persistence": {"table_name": "copy", "dest_db_url": "sqlite:///crm.db"},
        **parts,
    }


def test_the_forked_program_of_other_tests_does_the_same(folder: Path, forked_cli: Path) -> None:
    for arguments in (
        ["run", "--query", "SELECT id FROM userz", "--source-db-url", "sqlite:///crm.db"],
        ["run", "--odd"],
    ):
        own, forked = (
            subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
            for program in (Path(sys.executable).with_name("datapipe"), forked_cli)
        )
        assert own.returncode == 2
        assert (own.returncode, own.stdout, own.stderr) == (forked.returncode, forked.stdout, forked.stderr)


# --- the specification's lines ------------------------------------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_run_given_piece_by_piece(folder: Path, program: str) -> None:
    done = cli(
        "run", "--query", "SELECT * FROM users", "--source-db-url", "sqlite:///crm.db",
        "--transform-type", "sql", "--transform-config", UPPER,
        "--table-name", "users_staging", "--strategy", "insert", "--wait",
        program=program, DEST_DB_URL="sqlite:///out.db",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 rows read, 2 written to table users_staging" in done.stdout
    assert rows("users_staging", "out.db") == [(1, "ANN"), (2, "BOB")]


@pytest.mark.parametrize("arguments", [("--config", "plan.json", "--wait"), ("plan.json",)])
def test_a_run_from_a_file(folder: Path, arguments: tuple[str, ...]) -> None:
    Path("plan.json").write_text(json.dumps(document()))
    assert cli("run", *arguments).returncode == 0
    assert rows("copy") == [(1, "ann"), (2, "bob")]


def test_a_run_from_a_python_file(folder: Path) -> None:
    Path("plan.py").write_text(
        "import datapipe\nfrom recipes.users import clean\n"
        "plan = datapipe.read('SELECT id, name FROM users', source='sqlite:///crm.db')"
        ".apply(clean).write('copy', to='sqlite:///crm.db')\n"
    )
    done = cli("run", "plan.py")
    assert done.returncode == 0, done.stderr
    assert rows("copy") == [(1, "Ann"), (2, "Bob")]


def test_an_upsert_by_two_keys(folder: Path) -> None:
    for _ in range(2):
        done = cli(
            "run", "--query", "SELECT id, name FROM users", "--source-db-url", "sqlite:///crm.db", "--table-name", "copy",
            "--strategy", "upsert", "--upsert-keys", "id,name", "--dest-db-url", "sqlite:///crm.db",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert rows("copy") == [(1, "ann"), (2, "bob")]


def test_parameters_have_their_types(folder: Path) -> None:
    query = "SELECT id, name FROM users WHERE id > :low AND name <> :not AND :on = 1"
    source = {"query": query, "source_db_url": "sqlite:///crm.db", "parameters": {"low": 99, "not": "", "on": False}}
    Path("plan.yaml").write_text(json.dumps(document(ingestion=source)))
    done = cli("run", "plan.yaml", "--param", "low=1", "-p", "not=ann", "--param", "on=true")
    assert done.returncode == 0, done.stderr
    assert rows("copy") == [(2, "bob")]


# --- JSON ---------------------------------------------------------------------------------------------------


def test_json_is_all_there_is_on_stdout(folder: Path) -> None:
    step = {"type": "code", "config": {"function": "recipes.users:clean"}}
    Path("plan.json").write_text(json.dumps(document(transformation=step)))
    done = cli("run", "plan.json", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["state"] == "succeeded"
    assert found["persistence"]["rows_written"] == 2
    assert "from the function" in done.stderr
    assert rows("copy") == [(1, "Ann"), (2, "Bob")]


@pytest.mark.parametrize(
    ("parts", "code", "words"),
    [
        ({"persistence": {"table_name": "copy", "strategy": "upsrt"}}, 2, "unknown strategy 'upsrt'"),
        ({"ingestion": {"query": "SELECT x FROM users", "source_db_url": "sqlite:///crm.db"}}, 2, "no such column: x"),
        ({"ingestion": {"query": "SELECT id, id FROM users", "source_db_url": "sqlite:///crm.db"}}, 1, "two columns"),
        (
            {"transformation": {"type": "code", "config": {"function": "recipes.users:broken"}}},
            1,
            "the function failed",
        ),
    ],
)
def test_json_tells_of_a_failure(folder: Path, parts: dict[str, Any], code: int, words: str) -> None:
    Path("plan.json").write_text(json.dumps(document(**parts)))
    done = cli("run", "plan.json", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["state"]) == (code, "failed")
    assert words in found["error"]
    assert found["step"]
    assert "Traceback" not in done.stderr
    assert words in done.stderr


# --- looking ------------------------------------------------------------------------------------------------


def test_preview_shows_rows_and_writes_nothing(folder: Path) -> None:
    options = ("--query", "SELECT * FROM users ORDER BY id", "--source-db-url", "sqlite:///crm.db")
    transform = ("--transform-type", "sql", "--transform-config", UPPER)
    done = cli("preview", *options, *transform, "--rows", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "ANN" in done.stdout
    assert "BOB" not in done.stdout
    assert "ann" in cli("preview", *options, *transform, "--step", "0").stdout
    refused = cli("preview", *options, "--step", "5")
    assert (refused.returncode, "there is no step 5" in refused.stderr) == (2, True)


def test_explain_shows_what_would_run(folder: Path) -> None:
    Path("plan.json").write_text(
        json.dumps(
            document(persistence={"table_name": "copy", "dest_db_url": "sqlite:///new.db", "strategy": "replace"})
        )
    )
    done = cli("explain", "plan.json")
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("SELECT id, name FROM users", 'CREATE TABLE "copy"', 'DELETE FROM "copy"'):
        assert words in done.stdout
    assert not Path("new.db").exists()


# --- functions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "program", [[str(Path(sys.executable).with_name("datapipe"))], [sys.executable, "-m", "datapipe"]]
)
def test_the_working_directory_is_where_functions_are_looked_for(folder: Path, program: list[str]) -> None:
    step = {"type": "code", "config": {"function": "recipes.users:clean"}}
    Path("plan.json").write_text(json.dumps(document(transformation=step)))
    done = subprocess.run([*program, "run", "plan.json"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert rows("copy") == [(1, "Ann"), (2, "Bob")]


def test_an_unknown_function_is_named_with_those_there_are(folder: Path) -> None:
    step = {"type": "code", "config": {"function": "recipes.users:cleen"}}
    Path("plan.json").write_text(json.dumps(document(transformation=step)))
    done = cli("run", "plan.json")
    assert done.returncode == 2
    assert "no 'cleen'" in done.stderr
    assert "'clean'" in done.stderr


# --- usage --------------------------------------------------------------------------------------------------


def test_a_python_file_that_fails_gets_no_traceback_unless_asked(folder: Path) -> None:
    Path("plan.py").write_text("raise RuntimeError('in the script')\n")
    done, debug = cli("run", "plan.py"), cli("run", "plan.py", "--debug")
    assert (done.returncode, debug.returncode) == (1, 1)
    assert done.stderr.startswith("error: RuntimeError: in the script")
    assert "Traceback" not in done.stderr
    assert "Traceback" in debug.stderr


def test_the_version(folder: Path) -> None:
    done = cli("--version", program="datapipe")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("datapipe 0.")


# --- Ctrl-C -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_ends_a_run_that_waits_for_the_server(folder: Path, postgresql_url: str, as_json: bool) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as conn:
        conn.execute("CREATE TABLE copy (id bigint)")
        conn.execute("INSERT INTO copy VALUES (7)")
        source = {"query": "SELECT 1::bigint AS id FROM pg_sleep(60)", "source_db_url": postgresql_url}
        target = {"table_name": "copy", "dest_db_url": postgresql_url, "strategy": "replace"}
        Path("plan.json").write_text(json.dumps(document(ingestion=source, persistence=target)))
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active' AND pid <> pg_backend_pid()"
        done = interrupted("plan.json", lambda: conn.execute(sleeping).fetchone() == (1,), as_json=as_json)
        check_interrupted(done, as_json=as_json)
        assert conn.execute("SELECT * FROM copy").fetchall() == [(7,)]
        until = time.monotonic() + 2
        while conn.execute(sleeping).fetchone() != (0,) and time.monotonic() < until:
            time.sleep(0.05)  # the cancelled query may be ending still
        assert conn.execute(sleeping).fetchone() == (0,)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_in_a_function(folder: Path, number: signal.Signals, code: int) -> None:
    step = {"type": "code", "config": {"function": "recipes.users:slow"}}
    Path("plan.json").write_text(json.dumps(document(transformation=step)))
    done = interrupted("plan.json", Path("started").exists, number=number)
    check_interrupted(done, code=code)
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        rows("copy")


def interrupted(
    plan: str, ready: Any, *, as_json: bool = False, number: signal.Signals = signal.SIGINT
) -> tuple[int, str, str, float]:
    """Start a run, press Ctrl-C when it is ready; its exit code, output, and the seconds it took to end."""
    command = [str(Path(sys.executable).with_name("datapipe")), "run", plan, *(["--json"] if as_json else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        limit = time.monotonic() + 30
        while not ready():
            assert child.poll() is None, child.stderr.read() if child.stderr else ""
            assert time.monotonic() < limit
            time.sleep(0.05)
        child.send_signal(number)
        sent = time.monotonic()
        output, errors = child.communicate(timeout=30)
    return child.returncode, output, errors, time.monotonic() - sent


def check_interrupted(done: tuple[int, str, str, float], *, as_json: bool = False, code: int = 130) -> None:
    ended, output, errors, seconds = done
    assert ended == code, errors
    assert seconds < patient(2)
    assert errors == "cancelled; the target is unchanged\n"
    assert (json.loads(output)["state"] if as_json else output) == ("cancelled" if as_json else "")
