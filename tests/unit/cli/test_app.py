"""Usage: what is wrong ends with 2 and a sentence, and help has an example to copy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

import datapipe
from datapipe.cli.app import app
from datapipe.errors import NotPortableError
from datapipe.store import open_store


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, but for a file that is no plan."""
    monkeypatch.chdir(tmp_path)
    Path("crm.db").write_bytes(b"SQLite format 3\0\xff")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "none.yaml"), "cannot read 'none.yaml'"),
        (("run", "none.yaml", "--config", "other.yaml"), "both FILE and --config"),
        (("run", "none.yaml", "--query", "SELECT 1"), "both a plan file and single options"),
        (("run",), "no plan is given"),
        (("run", "--query", "SELECT 1 AS a", "--source-db-url", "sqlite://"), "the plan writes nowhere"),
        (("run", "--query", "SELECT 1 AS a", "--memory", "lots"), "memory"),
        (("run", "--querry", "x"), "No such option"),
        (("rum",), "No such command"),
        (("run", "crm.db"), "error: crm.db: "),
        (("runs", "--limit", "-1"), "--limit"),
        (("notebook", "history", "daily.ipynb", "--limit", "0"), "--limit"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_sentence(arguments: tuple[str, ...], words: str) -> None:
    done = CliRunner().invoke(app, [*arguments])
    assert done.exit_code == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("command", [(), ("run",), ("preview",), ("explain",)])
def test_help_has_an_example(command: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*command, "--help"])
    assert done.exit_code == 0
    assert f"\n  datapipe {command[0] if command else 'run'} recipes/upsert_users.yaml" in done.stdout


PARTS = dict(vars(typer.main.get_command(app))["commands"])
COMMANDS = [
    (name, *part) for name, found in PARTS.items() for part in [(), *((n,) for n in vars(found).get("commands", ()))]
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_every_command_has_an_example_of_it(command: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*command, "--help"])
    assert done.exit_code == 0
    assert f"\n  datapipe {' '.join(command)}" in done.stdout


@pytest.mark.parametrize(
    "command",
    [command for command in COMMANDS if not hasattr(PARTS[command[0]], "commands") or command[1:]],
    ids=" ".join,
)
def test_every_command_has_json(command: tuple[str, ...]) -> None:
    found = PARTS[command[0]]
    for part in command[1:]:
        found = vars(found)["commands"][part]
    assert any("--json" in parameter.opts for parameter in found.params)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("preview", "--query", "SELECT 1 AS a, NULL AS b", "--source-db-url", "sqlite://"), "rows"),
        (("explain", "--query", "SELECT 1 AS a", "--source-db-url", "sqlite://"), "sections"),
        (("config", "show"), "settings"),
        (("health", "--no-workers"), "parts"),
        (("init", "new"), "written"),
        (("runs",), None),
        (("metrics",), None),
    ],
)
def test_json_is_all_there_is_on_stdout(
    arguments: tuple[str, ...], key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAPIPE_METADATA_URL", "sqlite:///runs.db")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code in {0, 1}
    told = json.loads(done.stdout)
    assert isinstance(told, list) if key is None else key in told


def test_a_preview_as_json_has_columns_and_rows() -> None:
    query = "SELECT 1 AS id, 'ann' AS name UNION ALL SELECT 2, NULL"
    done = CliRunner().invoke(app, ["preview", "--query", query, "--source-db-url", "sqlite://", "-n", "2", "--json"])
    told = json.loads(done.stdout)
    assert [column["name"] for column in told["columns"]] == ["id", "name"]
    assert [column["nulls"] for column in told["columns"]] == [0, 1]
    assert told["rows"] == [{"id": 1, "name": "ann"}, {"id": 2, "name": None}]


# --- completion ---------------------------------------------------------------------------------------------


def completed(words: str, monkeypatch: pytest.MonkeyPatch, shell: str = "bash") -> list[str]:
    """What a shell would offer for the last of the words."""
    monkeypatch.setenv("_DATAPIPE_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    done = CliRunner().invoke(app, [], prog_name="datapipe")
    return done.stdout.split()


def test_bash_completes_commands_files_states_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_METADATA_URL", "sqlite:///runs.db")
    for name in ("plan.yaml", "plans/daily.ipynb", "plan.txt", ".hidden.yaml"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    store = open_store()
    assert store is not None
    for run_id in ("a1f0", "a1f1", "b2"):
        store.add(run_id, state="failed", source="users", target="copy")
    for words, wanted in {
        "datapipe st": ["status"],
        "datapipe schema ch": ["check"],
        "datapipe run ": ["plan.yaml", "plans/"],
        "datapipe run plans/": ["plans/daily.ipynb"],
        "datapipe notebook run plans/d": ["plans/daily.ipynb"],
        "datapipe run --config pl": ["plan.yaml", "plans/"],
        "datapipe run --strategy up": ["upsert"],
        "datapipe run --transform-type co": ["code", "config"],
        "datapipe runs --state f": ["failed"],
        "datapipe status a1": ["a1f0", "a1f1"],
        "datapipe cancel b": ["b2"],
        "datapipe run nowhere/": [],
    }.items():
        assert sorted(completed(words, monkeypatch)) == wanted, words


def test_completion_says_nothing_where_the_store_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("off", "sqlite:////nowhere/at/all.db", "nonsense"):
        monkeypatch.setenv("DATAPIPE_METADATA_URL", url)
        assert completed("datapipe status ", monkeypatch) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_DATAPIPE_COMPLETE", f"source_{shell}")
    done = CliRunner().invoke(app, [], prog_name="datapipe")
    assert "_DATAPIPE_COMPLETE=complete" in done.stdout


def test_a_secret_that_a_function_says_in_its_error_is_told_and_kept_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "cnry-9f2x-abcdef")
    monkeypatch.setenv("DATAPIPE_METADATA_URL", f"sqlite:///{tmp_path}/runs.db")
    monkeypatch.syspath_prepend(tmp_path)
    Path("saying.py").write_text(
        'import os\n\n\ndef say(df):\n    raise ValueError("it is " + os.environ["SHOP_TOKEN"])\n'
    )
    Path("a.csv").write_text("id\n1\n")
    plan = {
        "ingestion": {"files": "a.csv"},
        "transformation": {"type": "code", "config": {"function": "saying:say"}},
        "persistence": {"path": "out.csv"},
    }
    Path("plan.json").write_text(json.dumps(plan))
    done = CliRunner().invoke(app, ["run", "plan.json", "--json", "--debug"])
    assert done.exit_code == 1 and "ValueError: it is ***" in json.loads(done.stdout)["error"]
    assert "cnry" not in done.output
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("runs.db*"))
    assert b"it is ***" in kept and b"cnry" not in kept


SCRIPT = """
from __future__ import annotations
import dataclasses
import datapipe
print("building")

@dataclasses.dataclass
class Clean:
    suffix: str = "x"

    def transform(self, frame):
        return frame

def also(frame):
    return frame

read = datapipe.read("SELECT 1 AS id", source="sqlite://", incremental="id")
plan = read.apply(Clean()).apply(also).write("t", to="sqlite:///t.db")
"""


def test_a_script_may_have_dataclasses_and_print(tmp_path: Path) -> None:
    Path("scripted.py").write_text(SCRIPT)
    done = CliRunner().invoke(app, ["watermark", "show", "scripted.py", "--json"])
    assert done.exit_code == 0, done.output
    assert (json.loads(done.stdout)["begin"], done.stderr) == (None, "building\n")
    plan = datapipe.load("scripted.py")
    assert isinstance(plan, datapipe.Pipeline)
    with pytest.raises(NotPortableError):  # its functions are nowhere else
        plan.to_yaml()


def test_what_runs_are_called_moves_no_cursor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_METADATA_URL", f"sqlite:///{tmp_path / 'runs.db'}")
    store = open_store()
    assert store is not None
    store.add("r1", state="queued", target="\x1b[2Jt", name="\x1b]0;pwned\x07")
    assert "\x1b" not in CliRunner().invoke(app, ["runs"]).stdout + repr(datapipe.runs())


def test_a_wrong_parameter_of_a_task_is_told_in_a_sentence() -> None:
    done = CliRunner().invoke(app, ["ingest", "--query", "SELECT 1", "--param", "low"])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "a --param is not name=value" in done.stderr
