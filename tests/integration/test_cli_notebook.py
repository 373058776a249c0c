"""Commands that run notebooks: what they print, and the exit codes by which a script knows how each ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from notebookfiles import kept, processes_of, statuses, write_notebook
from services import private_redis, redis_program
from workerside import running_worker, until

WORK = """
import os
import time
from pathlib import Path

import datapipe

datapipe.output("how", how)
if how == "sleep":
    Path(f"{mark}.sleeps").touch()
    time.sleep(120)
if how == "raise":
    raise ValueError("no rows")
if how == "die":
    os.kill(os.getpid(), 9)
""".strip()
PARAMETERS = (
    "# parameters\nfrom typing import Literal\n\nhow: Literal['well', 'raise', 'die', 'sleep'] = 'well'\nmark: str = ''"
)
STOPPED = "the notebook was cancelled. What the pipelines of the notebook had loaded before stays loaded\n"


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Place:
    """A folder with a notebook, and the environment of the commands."""

    folder: Path
    program: Path
    environment: dict[str, str]

    def start(self, *arguments: str, signalled: bool = True, **further: str) -> subprocess.Popen[str]:
        """A process of its own; one that is not to be sent signals starts sooner."""
        pipe = subprocess.PIPE
        command = [*([sys.executable, "-m", "datapipe"] if signalled else [str(self.program)]), *arguments]
        environment = self.environment | further
        return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=pipe, stderr=pipe, text=True)

    def datapipe(self, *arguments: str, **further: str) -> Ended:
        done = subprocess.run(
            [self.program, *arguments],
            cwd=self.folder,
            env=self.environment | further,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, forked_cli: Path) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("shell")
    home = str(folder / "home")
    write_notebook(folder / "ends.ipynb", "md:# How it ends", PARAMETERS, "md:## Work", WORK)
    (folder / "job.yaml").write_text("notebook:\n  path: ends.ipynb\n  parameters: {how: well}\n")
    foreign = ("DATAPIPE_", "CELERY_", "SOURCE_DB", "DEST_DB", "REDIS_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    record = {"DATAPIPE_HOME": home, "DATAPIPE_METADATA_URL": f"sqlite:///{folder / 'runs.db'}"}
    yield Place(folder, forked_cli, environment | record | {"MAX_RETRIES": "0"})
    until(lambda: not processes_of(home), 20)


@pytest.fixture(scope="module")
def ends(place: Place) -> dict[str, Ended]:
    """How commands end, each in its own way; they run beside each other."""
    started = {
        "well": place.start("run", "job.yaml", "--idempotency-key", "k1", "--json", signalled=False),
        "raise": place.start("notebook", "run", "ends.ipynb", "-p", "how=raise", signalled=False),
        "SIGTERM": place.start("notebook", "run", "ends.ipynb", "-p", "how=sleep", "-p", "mark=a"),
        "SIGINT": place.start("run", "ends.ipynb", "-p", "how=sleep", "-p", "mark=b"),
    }
    for name, mark in (("SIGTERM", "a"), ("SIGINT", "b")):
        until((place.folder / f"{mark}.sleeps").exists, 90)
        started[name].send_signal(signal.Signals[name])
    return {name: ended(process) for name, process in started.items()}


def ended(process: subprocess.Popen[str]) -> Ended:
    out, err = process.communicate(timeout=90)
    return Ended(process.returncode, out, err)


def test_exit_codes(ends: dict[str, Ended]) -> None:
    codes = {"well": 0, "raise": 1, "SIGTERM": 143, "SIGINT": 130}
    assert {name: found.code for name, found in ends.items()} == codes, ends


def test_the_result_as_json(ends: dict[str, Ended]) -> None:
    well = json.loads(ends["well"].out)
    assert (well["state"], well["outputs"], well["name"]) == ("succeeded", {"how": "well"}, "ends")
    assert ends["well"].err == ""
    assert statuses(well["artifacts"]) == ["completed"] * 3


def test_a_failure_names_cell_and_line_and_where_the_notebook_is(ends: dict[str, Ended]) -> None:
    found = ends["raise"]
    assert found.out == ""
    first, where, *code, last = found.err.splitlines()
    assert first == "error: cell 3 (Work): ValueError: no rows"
    assert where == "In[3]:12" and '--> 12     raise ValueError("no rows")' in code
    artifacts = last.removeprefix("kept in ")
    assert kept(artifacts, "error.json")["error"]["line"] == 12


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_notebook_that_is_stopped_is_kept(ends: dict[str, Ended], name: str) -> None:
    assert ends[name].out == ""
    assert ends[name].err.startswith(STOPPED)
    artifacts = ends[name].err.removeprefix(STOPPED).strip().removeprefix("kept in ")
    assert statuses(artifacts) == ["completed", "completed", "failed"]
    assert kept(artifacts, "notebook.ipynb")["metadata"]["datapipe"]["state"] == "cancelled"


def test_another_run_of_the_key_does_nothing(place: Place, ends: dict[str, Ended]) -> None:
    again = place.datapipe("notebook", "run", "job.yaml", "--idempotency-key", "k1")
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith("replayed, succeeded: 3 of 3 cells of ends.ipynb") and "\nhow = well\n" in again.out
    other = place.datapipe("run", "job.yaml", "-p", "how=raise", "--idempotency-key", "k1")
    assert (other.code, "has done something else under this idempotency key" in other.err) == (2, True)


def test_the_runs_are_told_of(place: Place, ends: dict[str, Ended]) -> None:
    listed = [line.split()[1:] for line in place.datapipe("runs").out.splitlines()]
    assert {(state, kind, file) for state, kind, _, file in listed} >= {
        ("succeeded", "notebook", "ends.ipynb"),
        ("failed", "notebook", "ends.ipynb"),
        ("cancelled", "notebook", "ends.ipynb"),
    }
    history = place.datapipe("notebook", "history", "ends.ipynb").out
    assert "how=raise  " in history and "cell 3 (Work): ValueError: no rows" in history and "how=well" in history
    ids = {state: run_id for state, _, run_id, _ in listed}
    failed = place.datapipe("status", ids["failed"])
    assert (failed.code, "✗ FAILED ends" in failed.out, "ValueError: no rows" in failed.out) == (1, True, True)
    assert place.datapipe("watch", ids["cancelled"]).code == 130


# --- on workers ---------------------------------------------------------------------------------------------


@pytest.fixture
def broker(place: Place) -> Iterator[dict[str, str]]:
    with private_redis(redis_program()) as server:
        yield {"REDIS_URL": server.url, "DATAPIPE_SIGNING_KEY": "k" * 40}


@pytest.mark.soak
def test_who_waits_for_a_worker_is_told_how_it_ends(place: Place, broker: dict[str, str], tmp_path: Path) -> None:
    submit = ("submit", "ends.ipynb", "--wait", "--queue")
    asked, left = (place.start(*submit, queue, **broker) for queue in ("asked", "left"))
    until(lambda: len(queued(place)) == 2, 60)
    for run_id, queue in queued(place).items():
        if queue == "asked":
            assert place.datapipe("cancel", run_id).code == 0
        else:
            left.terminate()
    found, told = ended(asked), ended(left)
    assert (found.code, "the run was cancelled" in found.err) == (130, True)
    assert (told.code, "the run goes on; datapipe status" in told.err) == (143, True)

    with running_worker(place.environment | broker, tmp_path):
        done = place.datapipe("submit", "ends.ipynb", "-p", "how=die", "--wait", "--json", **broker)
    result = json.loads(done.out)
    assert (done.code, result["reason"]) == (137, "kernel_died")
    assert statuses(result["artifacts"]) == ["completed", "completed", "failed"]
    assert "SIGKILL" in result["error"] and f"kept in {result['artifacts']}" in done.err
    assert place.datapipe("status", result["run_id"]).code == 137


def queued(place: Place) -> dict[str, str]:
    found = json.loads(place.datapipe("runs", "--state", "queued", "--json").out)
    return {run["id"]: run["queue"] for run in found}
