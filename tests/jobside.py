"""Runs of notebooks for tests: run in processes of their own, and looked at from every side when they have ended."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat
import psutil
from notebookfiles import kept, statuses, write_notebook
from workerside import until

import datapipe
from datapipe.engine import NotebookResult
from datapipe.history import Run
from datapipe.listing import runs
from datapipe.notebooks.cells import codes
from datapipe.notebooks.order import Outcome
from datapipe.store import RunRow

STATUS = {"done": "completed", "failed": "failed", "waiting": "pending"}
_LOADED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)\s*=\s*[\"']?(?!data:)", re.IGNORECASE)
_REMOTE = re.compile(r"import\s*\(\s*[\"']https?:|@import\s+[\"'(]*(?:url\()?[\"']?https?:|url\([\"']?https?:")


@dataclass(frozen=True)
class Ended:
    """A run that has ended: what was raised, what was returned, what is on record, what is kept."""

    error: BaseException | None
    result: NotebookResult

    @cached_property
    def row(self) -> RunRow:
        return datapipe.attach(self.result.run_id).row

    @property
    def log(self) -> str:
        return "\n".join(line.message for line in datapipe.attach(self.result.run_id).logs())

    @property
    def folder(self) -> Path:
        return Path(self.result.artifacts)

    @property
    def statuses(self) -> list[str]:
        return statuses(self.result.artifacts)

    @property
    def files(self) -> set[str]:
        return {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()}

    def kept(self, name: str) -> Any:
        return kept(self.result.artifacts, name)

    @property
    def told(self) -> dict[str, Any]:
        """The error as it is kept among the artifacts."""
        found: dict[str, Any] = self.kept("error.json")["error"]
        return found

    def shown(self, cell: int) -> str:
        """The text that a code cell of the executed notebook shows; cells count from 0, code cells alone."""
        cells = [found for found in self.kept("notebook.ipynb")["cells"] if found["cell_type"] == "code"]
        texts = [output.get("text") or output.get("data", {}).get("text/plain") for output in cells[cell]["outputs"]]
        return "".join("".join(text) for text in texts if text)


def ended(job: Any, **options: Any) -> Ended:
    """Run a job, however it ends."""
    try:
        return Ended(None, job.run(**options))
    except BaseException as error:
        found = getattr(error, "result", None)
        if found is None:
            raise
        return Ended(error, found)


def sound(run: Ended) -> Ended:
    """What holds of every run that has ended, however it did: all who tell of it tell the same."""
    result, row = run.result, run.row
    facts, notebook = run.kept("run.json"), run.kept("notebook.ipynb")
    told = notebook["metadata"]["datapipe"]
    assert (row.state, row.reason) == (result.state, result.reason)
    assert (facts["state"], facts["reason"]) == (result.state, result.reason)
    assert (told["state"], told.get("reason")) == (result.state, result.reason)
    assert notebook["metadata"]["papermill"]["exception"] is (result.state != "succeeded")
    assert facts["run_id"] == told["run_id"] == row.id == result.run_id
    assert run.statuses == [STATUS[cell.state] for cell in result.cells], "cells"
    assert row.ended is not None and row.attempts == result.attempts
    assert row.result is not None and NotebookResult.from_dict(row.result) == result
    nbformat.validate(nbformat.from_dict(notebook))  # type: ignore[no-untyped-call]  # it has none
    assert {"notebook.ipynb", "notebook.html", "run.json"} <= run.files
    assert ("error.json" in run.files) is (facts["error"] is not None)
    assert (run.error is None) is (result.state == "succeeded")
    _has_a_banner(run, notebook)
    until(lambda: processes_within(result.run_id) == [], 10)
    return run


def _has_a_banner(run: Ended, notebook: Mapping[str, Any]) -> None:
    """A run that did not succeed says so on top, with a link to the cell it ended in."""
    cells = notebook["cells"]
    marks = [
        place for place, cell in enumerate(cells) if "papermill-error-cell-tag" in cell["metadata"].get("tags", ())
    ]
    if run.result.state == "succeeded":
        assert marks == []
        return
    assert marks[0] == 0 and cells[0]["source"].startswith("**✗ ")
    failed = [place for place, cell in enumerate(cells) if cell["metadata"]["papermill"]["status"] == "failed"]
    assert len(failed) <= 1
    if not failed:
        return
    assert marks == [0, failed[0] - 1], "one on top, one above the cell"
    number = [place for place in codes(cells) if place <= failed[0]].index(failed[0]) + 1
    assert f"[cell {number}](#papermill-error-cell)" in cells[0]["source"]
    assert 'id="papermill-error-cell"' in cells[marks[1]]["source"]
    assert 'href="#papermill-error-cell"' in run.kept("notebook.html")
    assert 'id="papermill-error-cell"' in run.kept("notebook.html")
    if run.row.error is not None:
        assert run.row.error["step"] == f"cell {number}"


def remote_parts(page: str) -> list[str]:
    """What an HTML page loads from elsewhere."""
    return [match.group(0) for pattern in (_LOADED, _REMOTE) for match in pattern.finditer(page)]


def processes_within(run_id: str) -> list[psutil.Process]:
    """The kernel of a run, and all that was started in it, as its environment tells."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("DATAPIPE_PARENT_RUN_ID") == run_id:
                found.append(process)
        except psutil.Error:
            continue
    return [process for process in found if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


@dataclass
class Side:
    """Does several things side by side, each with a notebook in a folder of its own."""

    home: Path
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(3, "side"))
    begun: dict[str, Future[Any]] = field(default_factory=dict)

    def folder(self, name: str) -> Path:
        """Where the notebook of a name is."""
        found = self.home / name
        found.mkdir(exist_ok=True)
        return found

    def begin(self, name: str, *cells: str, check: bool = True, **options: Any) -> None:
        """Have a notebook run as soon as there is room."""
        path = write_notebook(self.folder(name) / f"{name}.ipynb", *cells)
        self.do(name, lambda: ended(datapipe.notebook(path, **options), check=check))

    def do(self, name: str, work: Callable[[], Any]) -> None:
        """Have something done as soon as there is room."""
        self.begun[name] = self.pool.submit(work)

    def found(self, name: str) -> Any:
        """What has come of it; how the notebook has ended."""
        return self.begun[name].result(180)


def left_over(side: Side) -> list[str]:
    """What is in the temporary folder, which is theirs alone, when they have ended; locks stay, for the next run."""
    names = (found.name for found in (side.home / "tmp").iterdir())
    return sorted(name for name in names if not name.startswith("datapipe-locks"))


def calling(home: Path, *arguments: str, script: str | None = None, **environment: str) -> subprocess.Popen[str]:
    """Start the command ``datapipe``, or a script, in a process of its own."""
    command = [sys.executable, "-c", script] if script is not None else [sys.executable, "-m", "datapipe"]
    return subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=home,
        env={**os.environ, "DATAPIPE_HOME": str(home), **environment},
        start_new_session=True,
    )


Execution = Callable[..., Outcome]


def succeeding(*outputs: Mapping[str, Any]) -> Execution:
    """An execution of four cells that is made up, as the one that runs it hears it."""

    def way(hear: Any, **_: Any) -> Outcome:
        for number in range(1, 5):
            hear({"event": "cell_began", "cell": number, "time": 0.0})
            hear({"event": "cell_replied", "cell": number, "count": number, "time": 0.0})
            hear({"event": "cell_ended", "cell": number, "state": "done", "seconds": 0.5, "time": 0.0})
        for output in outputs:
            hear({"event": "output", "output": output, "time": 0.0})
        return Outcome("succeeded")

    return way


def latest() -> Run:
    """The run that began last."""
    return next(iter(runs(1)))
