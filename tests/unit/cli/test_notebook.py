"""Commands about notebooks, without a kernel: what they show, what they refuse, how they end."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from notebookfiles import write_notebook
from typer.testing import CliRunner

from datapipe.cli.app import app
from datapipe.cli.reporting import code_of, reported
from datapipe.engine import CellResult, NotebookResult
from datapipe.errors import NotebookError, PlanError, RunCancelled, TransientError
from datapipe.store import RunStore, open_store

PARAMETERS = (
    "# parameters\nfrom datetime import date\n\nday: date  # the day to load\nlate: int = 15  # minutes\nnote: str = ''"
)
JOB = "name: nightly\nnotebook:\n  path: daily.ipynb\n  parameters: {day: 2013-05-01}\n"
KEPT = "/srv/notebooks/daily/2026-11-26/r1/1"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with a notebook, a job about it, and a plan; a record of runs of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATAPIPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATAPIPE_METADATA_URL", f"sqlite:///{tmp_path / 'runs.db'}")
    monkeypatch.delenv("DATAPIPE_ARTIFACTS_URL", raising=False)
    write_notebook(Path("daily.ipynb"), PARAMETERS, "print(day, late, note)")
    write_notebook(Path("broken.ipynb"), "print(1)", "import math\nprint(mth.pi)")
    write_notebook(Path("odd.ipynb"), "# outputs\nrows: integer", "print(1)")
    Path("job.yaml").write_text(JOB)
    Path("plan.json").write_text(json.dumps({"ingestion": {"query": "SELECT 1"}}))


def datapipe(*arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments])


RUN_AND_SUBMIT = [("run",), ("submit",), ("notebook", "run"), ("notebook", "submit")]


@pytest.mark.parametrize("command", RUN_AND_SUBMIT, ids=" ".join)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("daily.ipynb",), "daily.ipynb needs day. For example day=2013-05-01"),
        (("daily.ipynb", "-p", "day=today"), "takes date, not the text 'today'"),
        (("daily.ipynb", "-p", "dya=2013-05-01"), "has no parameter 'dya'. Did you mean 'day'?"),
        (("daily.ipynb", "-p", "day"), "a --param is not name=value"),
        (("job.yaml", "-p", "late=1", "-p", "late=2"), "--param late is given twice"),
        (("job.yaml", "--memory", "lots"), "memory 'lots' is not a size"),
        (("broken.ipynb",), "cell 2, line 2: the name 'mth' is not defined. Did you mean 'math'?"),
        (("odd.ipynb",), "odd.ipynb, outputs cell, line 2: unknown type integer"),
        (("dayly.ipynb",), "cannot read 'dayly.ipynb'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mistakes_are_told_before_a_kernel_starts(command: Sequence[str], arguments: Sequence[str], words: str) -> None:
    done = datapipe(*command, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr


@pytest.mark.parametrize("option", ["--query", "--table-name", "--dest-db-url", "--transform-config"])
@pytest.mark.parametrize("command", ["run", "submit", "explain"])
def test_options_of_plans_do_not_go_with_a_notebook(command: str, option: str) -> None:
    done = datapipe(command, "daily.ipynb", option, "x")
    assert done.exit_code == 2
    assert done.stderr == f"error: 'daily.ipynb' is a notebook, and {option} is for plans. Give one of them\n"


@pytest.mark.parametrize("file", ["daily.ipynb", "job.yaml"])
@pytest.mark.parametrize("command", [("explain",), ("preview",), ("schema", "check")], ids=" ".join)
def test_what_shows_a_plan_says_what_to_do_with_a_notebook(command: Sequence[str], file: str) -> None:
    done = datapipe(*command, file)
    assert done.exit_code == 2
    assert f"{file!r} is a notebook, not a plan. datapipe notebook check {file} looks it over" in done.stderr


@pytest.mark.parametrize("command", ["run", "submit", "params", "check", "history"])
def test_a_plan_is_no_notebook(command: str) -> None:
    done = datapipe("notebook", command, "plan.json")
    assert done.exit_code == 2
    assert "'plan.json' is a plan, not a notebook. Run it with: datapipe run plan.json" in done.stderr


def test_parameters_are_shown() -> None:
    table = datapipe("notebook", "params", "job.yaml").stdout.splitlines()
    assert [line.split()[:3] for line in table[1:]] == [
        ["day", "date", "required"],
        ["late", "int", "15"],
        ["note", "str", "''"],
    ]
    schema = json.loads(datapipe("notebook", "params", "daily.ipynb", "--json").stdout)
    assert (schema["required"], schema["properties"]["day"]["description"]) == (["day"], "the day to load")


def test_a_notebook_is_looked_over() -> None:
    good, bad, odd = (datapipe("notebook", "check", f"{name}.ipynb") for name in ("daily", "broken", "odd"))
    assert (good.exit_code, good.stdout) == (0, "nothing is wrong with it, as far as can be told without running it\n")
    assert (bad.exit_code, bad.stdout) == (
        1,
        "error: cell 2, line 2: the name 'mth' is not defined. Did you mean 'math'?\n",
    )
    assert (odd.exit_code, odd.stdout) == (2, "")
    (found,) = json.loads(datapipe("notebook", "check", "broken.ipynb", "--json").stdout)
    assert (found["level"], found["cell"], found["line"]) == ("error", 2, 2)


def test_a_mistake_is_told_as_json_too() -> None:
    done = datapipe("run", "daily.ipynb", "--json")
    assert (done.exit_code, json.loads(done.stdout)["error"]) == (
        2,
        "daily.ipynb needs day. For example day=2013-05-01",
    )


# --- runs on record -----------------------------------------------------------------------------------------


def store() -> RunStore:
    found = open_store()
    assert found is not None
    return found


def recorded(run_id: str, state: str, reason: str | None = None, **values: Any) -> None:
    """A run of the notebook that has ended."""
    result = NotebookResult(run_id, run_id, state, "daily.ipynb", "nightly", reason, artifacts=KEPT, **values)
    document = json.dumps({"format": 1, "notebook": {"path": "daily.ipynb", "parameters": {"day": "2013-05-01"}}})
    known = {"name": "nightly", "source": "daily.ipynb", "kind": "notebook", "document": document, "owner": "ann"}
    store().add(run_id, state="running", lease="l", **known)
    error = {"type": "", "message": values["error"]} if values.get("error") else None
    store().end(run_id, "l", (), state=state, reason=reason, result=result.to_dict(), error=error)


ENDS = [
    ("succeeded", None, 0),
    ("skipped", None, 0),
    ("failed", None, 1),
    ("failed", "timed_out", 124),
    ("failed", "kernel_died", 137),
    ("failed", "out_of_memory", 137),
    ("cancelled", None, 130),
]


@pytest.mark.parametrize(("state", "reason", "code"), ENDS)
@pytest.mark.parametrize("command", ["status", "watch"])
def test_exit_codes_tell_how_a_run_has_ended(command: str, state: str, reason: str | None, code: int) -> None:
    recorded("aaaabbbb", state, reason)
    done = datapipe(command, "aaaabbbb")
    assert done.exit_code == code, done.output
    assert f"{state.upper()} nightly" in done.stdout


def test_of_a_plan_they_are_as_before() -> None:
    store().add("plan1234", state="running", lease="l", source="a", target="b")
    assert code_of(store().run("plan1234")) == 0
    store().end("plan1234", "l", (), state="cancelled", reason="timed_out")
    assert code_of(store().run("plan1234")) == 1


def test_runs_are_listed_with_what_they_are_about() -> None:
    recorded("aaaabbbb", "succeeded")
    store().add("plan1234", state="queued", name="nightly", source="a", target="table b")
    plan, notebook = datapipe("runs").stdout.splitlines()
    assert notebook[19:] == "Z  succeeded           notebook  aaaabbbb  daily.ipynb"
    assert plan[19:] == "Z  queued                0 rows  plan1234  table b (nightly)"


def test_the_history_of_a_notebook_shows_what_came_of_it() -> None:
    assert datapipe("notebook", "history", "job.yaml").stdout == "no runs yet\n"
    recorded("aaaa0001", "succeeded", outputs={"rows": 842, "from": "a\x1b[2Jb"})
    recorded("aaaa0002", "failed", error="cell 5 (Load): ValueError: no rows")
    store().add("aaaa0003", state="queued", name="nightly", kind="notebook", source="daily.ipynb")
    store().add("plan1234", state="running", name="nightly", source="a", target="b")
    done = datapipe("notebook", "history", "job.yaml")
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["state", "started", "took", "parameters", "what", "came", "of", "it", "by", "run"]
    assert [line.split()[1] for line in lines[1:]] == ["QUEUED", "FAILED", "SUCCEEDED"]
    assert "day=2013-05-01  cell 5 (Load): ValueError: no rows" in lines[2] and lines[2].split()[-2:] == [
        "ann",
        "aaaa0002",
    ]
    assert "rows=842, from=a" in lines[3]
    assert len(datapipe("notebook", "history", "job.yaml", "-n", "1").stdout.splitlines()) == 2
    queued, failed, done_ = json.loads(datapipe("notebook", "history", "job.yaml", "--json").stdout)
    assert (queued["state"], queued["parameters"], failed["error"]) == (
        "queued",
        {},
        "cell 5 (Load): ValueError: no rows",
    )
    assert (done_["outputs"]["rows"], done_["parameters"], done_["artifacts"]) == (842, {"day": "2013-05-01"}, KEPT)
    assert datapipe("notebook", "history", "daily.ipynb").stdout == "no runs yet\n", "a job of another name"


# --- how errors end a command -------------------------------------------------------------------------------


def result(state: str = "failed", cell: str = "failed", reason: str | None = None) -> NotebookResult:
    cells = (CellResult(2, "Load", cell),)
    return NotebookResult("r", "r", state, "daily.ipynb", "daily", reason, cells=cells, artifacts=KEPT)


@pytest.mark.parametrize(
    ("error", "found", "code"),
    [
        (NotebookError("no rows"), result(), 1),
        (NotebookError("too long"), result(reason="timed_out"), 124),
        (NotebookError("too long"), result(cell="waiting", reason="timed_out"), 124),
        (NotebookError("killed"), result(reason="kernel_died"), 137),
        (PlanError("a cell's own"), result(), 1),
        (PlanError("no such kernel"), result(cell="waiting"), 2),
        (TransientError("no server"), result(), 1),
        (RunCancelled("stopped"), None, 130),
        (PlanError("no such column"), None, 2),
    ],
)
def test_an_error_ends_with_its_code(error: Any, found: Any, code: int) -> None:
    error.result = found
    with pytest.raises(typer.Exit) as ended, reported(cancelled=130):
        raise error
    assert ended.value.exit_code == code


def test_a_failure_says_where_the_notebook_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    error = NotebookError("cell 2 (Load): no rows")
    error.result = result()
    with pytest.raises(typer.Exit), reported():
        raise error
    assert capsys.readouterr().err == f"error: cell 2 (Load): no rows\nkept in {KEPT}\n"


# --- cleanup ------------------------------------------------------------------------------------------------


def test_cleanup_sweeps_what_old_runs_have_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("DEST_DB_URL", raising=False)
    monkeypatch.setenv("DATAPIPE_ARTIFACTS_DAYS", "30")
    root = tmp_path / "home" / "notebooks"
    old, young = (root / "daily" / "2026-01-01" / run / "1" / "notebook.ipynb" for run in ("r1", "r2"))
    for file, days in ((old, 40), (young, 10)):
        file.parent.mkdir(parents=True)
        file.write_text("{}" * 1000)
        os.utime(file, (time.time() - days * 86_400,) * 2)
    told = f"removed notebook run {old.parents[1]} (2.0 kB)\nremoved 1 thing, 2.0 kB\n"
    assert datapipe("cleanup", "--dry-run").stdout == told.replace("removed", "would remove")
    assert old.exists()
    assert datapipe("cleanup").stdout == told
    assert (old.exists(), young.exists()) == (False, True)
    assert datapipe("cleanup").stdout == "there is nothing to remove\n"
    shutil.rmtree(root)
    assert datapipe("cleanup").stdout == "there is nothing to remove\n"


def test_cleanup_forgets_old_runs_when_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("DEST_DB_URL", raising=False)
    recorded("aaaabbbb", "succeeded")
    time.sleep(0.01)  # so that it ended before now, by a clock of milliseconds
    told = "removed record of 1 run that ended more than 0 days ago\nremoved 1 thing, 0 bytes\n"
    assert datapipe("cleanup").stdout == "there is nothing to remove\n"
    assert datapipe("cleanup", "--runs-older-than", "1").stdout == "there is nothing to remove\n"
    assert datapipe("cleanup", "--runs-older-than", "0", "--dry-run").stdout == told.replace("removed", "would remove")
    assert datapipe("runs").stdout
    assert datapipe("cleanup", "--runs-older-than", "0").stdout == told
    assert datapipe("runs").stdout == "no runs yet\n"
    monkeypatch.setenv("DATAPIPE_METADATA_URL", "off")
    done = datapipe("cleanup", "--runs-older-than", "1")
    assert (done.exit_code, done.stderr.startswith("error: runs are not recorded")) == (2, True)
