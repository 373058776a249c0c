"""Whoever is killed or interrupted, the caller, the process that executes or the kernel: what is left is told truly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from jobside import Ended, Side, calling, ended, left_over, processes_within, sound
from notebookfiles import kept, statuses, write_notebook
from workerside import until

import datapipe
from datapipe.engine import NotebookResult
from datapipe.errors import NotebookError, RunCancelled
from datapipe.history import Run
from datapipe.listing import runs

# A cell that works on, beside a process that it has started, until it is interrupted.
pytestmark = pytest.mark.soak  # each waits for processes that it has killed: minutes in all

WORKS = """
import subprocess, time
from pathlib import Path
beside = subprocess.Popen(["sleep", "300"])
Path("{name}.mark").touch()
try:
    time.sleep(120)
finally:
    print("tidied")
"""
STUBBORN = WORKS.replace("finally:\n    print", "except KeyboardInterrupt:\n    time.sleep(120)\n    print")
SCRIPT = "import sys, datapipe\ndatapipe.notebook(sys.argv[1], retries=0).run()\nprint('went on')"
CLOSED = "import os\nfor number in (0, 1, 2): os.close(number)\n"  # as in a service


def working(folder: Path, name: str, *, source: str = WORKS) -> Path:
    cells = ("import datapipe\ndatapipe.output('before', 1)", source.format(name=name), "print('never')")
    return write_notebook(folder / f"{name}.ipynb", *cells)


def began(folder: Path, name: str) -> None:
    until((folder / f"{name}.mark").exists, 60)


def the_run(name: str) -> Run:
    return next(run for run in runs(50) if run.row.name == name)


def folder_of(home: Path, name: str) -> str:
    (found,) = Path(home, "notebooks", name).glob("*/*/1")
    return str(found)


@dataclass(frozen=True)
class Called:
    """A user's process, with the run that it has begun."""

    name: str
    home: Path
    process: subprocess.Popen[str]

    def end(self, number: signal.Signals, *whom: str, seconds: float = 40) -> tuple[int, str]:
        """Signal it, and processes it has started whose command has a word; its exit code, and what it said."""
        began(self.home / self.name, self.name)
        time.sleep(0.3)
        found = processes_within(the_run(self.name).id) if "ipykernel" in whom else []
        executors = [one for one in _executors(self.process.pid) if "datapipe.execution" in whom]
        for process in (self.process, *executors, *found):
            os.kill(process.pid, number)
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out + err

    @property
    def artifacts(self) -> str:
        return folder_of(self.home, self.name)

    @property
    def state(self) -> Any:
        return kept(self.artifacts, "notebook.ipynb")["metadata"]["datapipe"]["state"]


def _executors(pid: int) -> list[Any]:
    return [one for one in psutil.Process(pid).children() if "datapipe.execution" in one.cmdline()]


WAYS = {
    "lost": ("script", CLOSED + SCRIPT, WORKS),
    "interrupted": ("script", SCRIPT, WORKS),
    "impatient": ("script", SCRIPT, STUBBORN),
    "terminated": ("command", "", WORKS),
    "stopped": ("command", "", WORKS),
}


@pytest.fixture(scope="module")
def called(side: Side) -> Iterator[dict[str, Called]]:
    """Processes of users, each with a notebook that works on; they start side by side, with two of our own."""
    side.do("executor", lambda: without_executor(side.folder("executor"), side.home))
    side.do("background", lambda: in_the_background(side.folder("background")))
    found = {}
    for name, (kind, script, source) in WAYS.items():
        path = str(working(side.folder(name), name, source=source))
        command = ("notebook", "run", path, "--retries", "0")
        found[name] = Called(
            name,
            side.home,
            calling(side.home, path, script=script) if kind == "script" else calling(side.home, *command),
        )
    yield found
    for one in found.values():
        one.process.kill()
        one.process.communicate()


def test_a_caller_that_is_killed_leaves_no_kernel_and_a_run_that_is_lost(called: dict[str, Called]) -> None:
    one = called["lost"]
    code, _ = one.end(signal.SIGKILL)
    run = the_run("lost")
    assert code == -signal.SIGKILL
    until(lambda: processes_within(run.id) == [], 12)
    until(lambda: Path(one.artifacts, "notebook.html").exists(), 20)
    assert one.state == "lost" and statuses(one.artifacts) == ["completed", "failed", "pending"]
    notebook = kept(one.artifacts, "notebook.ipynb")
    assert notebook["metadata"]["papermill"]["exception"] is True
    assert notebook["cells"][0]["source"].startswith(
        "**✗ Stopped (the process that had started it is gone) in [cell 2]"
    )
    assert kept(one.artifacts, "run.json")["outputs"]["before"]["value"] == 1
    until(lambda: run.row.state == "lost", 10)
    assert run.row.reason == "its process has ended"


def test_ctrl_c_in_a_script_cancels_and_keeps(called: dict[str, Called]) -> None:
    one = called["interrupted"]
    code, said = one.end(signal.SIGINT)
    assert code != 0 and "went on" not in said
    assert "the notebook was cancelled. What the pipelines of the notebook had loaded before stays loaded" in said
    row = the_run("interrupted").row
    assert (row.state, row.reason, one.state) == ("cancelled", "interrupted", "cancelled")
    assert statuses(one.artifacts) == ["completed", "failed", "pending"]
    assert "tidied" in json.dumps(kept(one.artifacts, "notebook.ipynb"))
    assert processes_within(row.id) == []


def test_a_second_ctrl_c_does_not_wait_and_keeps_what_there_is(called: dict[str, Called]) -> None:
    one = called["impatient"]
    began(one.home / one.name, one.name)
    one.process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert one.process.poll() is None, "the cell does not stop"
    code, said = one.end(signal.SIGINT, seconds=15)
    assert code != 0 and "went on" not in said
    row = the_run("impatient").row
    assert processes_within(row.id) == []
    assert (row.state, one.state) == ("cancelled", "cancelled")
    assert statuses(one.artifacts) == ["completed", "failed", "pending"]


def test_a_command_that_is_told_to_end_cancels_and_keeps(called: dict[str, Called]) -> None:
    one = called["terminated"]
    code, said = one.end(signal.SIGTERM)
    row = the_run("terminated").row
    assert code == 143, said
    assert (row.state, one.state) == ("cancelled", "cancelled")
    assert "had loaded before stays loaded" in said
    assert statuses(one.artifacts) == ["completed", "failed", "pending"]
    assert "tidied" in json.dumps(kept(one.artifacts, "notebook.ipynb"))


def test_a_service_manager_that_tells_every_process_to_end(called: dict[str, Called]) -> None:
    one = called["stopped"]
    code, said = one.end(signal.SIGTERM, "datapipe.execution", "ipykernel")
    row = the_run("stopped").row
    assert processes_within(row.id) == []
    assert statuses(one.artifacts) == ["completed", "failed", "pending"]
    assert (row.state, one.state, code) == ("cancelled", "cancelled", 143), said


def without_executor(folder: Path, home: Path) -> tuple[Ended, float]:
    """A run whose process that executes is killed, and the seconds for which its kernel lives on."""
    path = working(folder, "executor")
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(ended, datapipe.notebook(path))
        began(folder, "executor")
        (kernel,) = [one for one in processes_within(the_run("executor").id) if "ipykernel" in " ".join(one.cmdline())]
        kernel.parent().kill()
        lived = until(lambda: not kernel.is_running() or kernel.status() == "zombie", 5)
        return future.result(60), lived


def test_the_process_that_executes_is_killed(called: dict[str, Called], side: Side) -> None:
    run, lived = side.found("executor")
    assert isinstance(run.error, NotebookError)
    assert "the process that executed the notebook was killed (SIGKILL)" in str(run.error)
    assert (run.result.state, run.result.reason) == ("failed", "kernel_died")
    assert run.result.outputs == {"before": 1} and run.statuses == ["completed", "failed", "pending"]
    assert lived < 3
    sound(run)


def in_the_background(folder: Path) -> tuple[Ended, Run]:
    """A run in the background that is cancelled."""
    run = datapipe.notebook(working(folder, "background")).run(background=True)
    began(folder, "background")
    until(lambda: [step.name for step in run.progress] == ["cell 1", "cell 2"], 10)
    assert run.row.state == "running" and run.cancel()
    with pytest.raises(
        RunCancelled, match=r"the run was cancelled\. What the pipelines of the notebook had loaded"
    ) as raised:
        run.result(60)
    return Ended(raised.value, NotebookResult.from_dict(run.row.result or {})), run


def test_cancelled_in_the_background(called: dict[str, Called], side: Side) -> None:
    found, run = side.found("background")
    assert "tidied" in found.shown(1) and found.statuses == ["completed", "failed", "pending"]
    assert not run.cancel(), "it has ended"
    sound(found)


def test_nothing_is_left_in_the_temporary_folder(called: dict[str, Called], side: Side) -> None:
    for run in side.begun.values():
        run.exception()
    until(lambda: left_over(side) == [], 15)
