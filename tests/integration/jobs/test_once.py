"""Keys, attempts and runs within runs: what a notebook does takes effect once."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from jobside import Ended, Side, calling, ended, sound
from notebookfiles import kept, write_notebook
from workerside import until

import datapipe
from datapipe.engine import NotebookResult
from datapipe.errors import DatapipeError, IdempotencyConflict, InProgress, NotebookError
from datapipe.history import Run
from datapipe.listing import runs
from datapipe.notebooks.job import NotebookJob

# A load of two rows into a file beside the notebook, and a mark for each time the cell has run.
pytestmark = pytest.mark.soak  # each waits for processes that it has killed: minutes in all

LOADS = """
import datapipe
from pathlib import Path
Path("tries").open("a").write("x")
Path("data.db").touch()
tries = len(Path("tries").read_text())
two = "SELECT 1 AS a UNION ALL SELECT 2"
datapipe.read(two, source="sqlite:///data.db").write("loaded", to="sqlite:///data.db", strategy="append").run()
"""
PARAMETERS = "# parameters\nday: int = 1"


def rows(folder: Path, table: str = "loaded") -> int:
    engine = sa.create_engine(f"sqlite:///{folder / 'data.db'}", poolclass=sa.NullPool)
    with engine.connect() as conn:
        return int(conn.scalar(sa.text(f"SELECT count(*) FROM {table}")) or 0)


def of_name(name: str) -> list[Run]:
    return [run for run in runs(50) if run.row.name == name]


@pytest.fixture(scope="module")
def begun(side: Side) -> Side:
    """All that is done in this module, side by side."""
    side.begin("again", LOADS, TWICE, UNTIL_THE_THIRD, retries=3)
    side.do("nested", lambda: nested(side))
    side.do("keys", lambda: with_a_key(side))
    side.do("relative", lambda: with_a_relative_record(side))
    side.do("gone", lambda: while_held(side, "gone", kills))
    side.do("held", lambda: while_held(side, "held", asks))
    return side


TWICE = """
for _ in range(2):
    datapipe.read("SELECT 1 AS a", source="sqlite:///data.db").write("looped", to="sqlite:///data.db").run()
"""
UNTIL_THE_THIRD = """
import os, signal, datapipe.errors
if tries == 1:
    datapipe.output("only_at_first", tries)
    raise datapipe.errors.TransientError("the server was away")
if tries == 2:
    os.kill(os.getpid(), signal.SIGKILL)
datapipe.output("tries", tries)
"""


def test_each_attempt_is_kept_and_loads_once(begun: Side) -> None:
    run, folder = begun.found("again"), begun.folder("again")
    assert (run.error, run.result.attempts, run.folder.name) == (None, 3, "3")
    assert rows(folder) == 2, "loaded once, by the first attempt"
    assert rows(folder, "looped") == 2, "a loop loads as often as it turns"
    assert sorted(found.name for found in run.folder.parent.iterdir()) == ["1", "2", "3"]
    assert [kept(str(run.folder.parent / number), "run.json")["state"] for number in "123"] == [
        "failed",
        "failed",
        "succeeded",
    ]
    assert "the server was away; trying again in" in run.log and "was killed (SIGKILL)" in run.log
    assert run.result.outputs == {"tries": 3}, "what the last attempt gave"
    sound(run)


OUTER = """
import datapipe, datapipe.errors
from pathlib import Path
found = datapipe.notebook("inner/inner.ipynb").run()
datapipe.output("rows", found.outputs["rows"])
"""
FAILS_AT_FIRST = """
if not Path("failed").exists():
    Path("failed").touch()
    raise datapipe.errors.TransientError("not yet")
"""


def nested(side: Side) -> Ended:
    """A notebook that runs another one, and is tried twice."""
    folder = side.folder("nested")
    (folder / "inner").mkdir()
    write_notebook(folder / "inner" / "inner.ipynb", LOADS, "datapipe.output('rows', 2)")
    path = write_notebook(folder / "outer.ipynb", OUTER, FAILS_AT_FIRST)
    return ended(datapipe.notebook(path, retries=1))


def test_a_notebook_within_a_notebook_belongs_to_it_and_loads_once(begun: Side) -> None:
    run = sound(begun.found("nested"))
    assert run.error is None and run.result.outputs == {"rows": 2} and run.result.attempts == 2
    children = datapipe.attach(run.result.run_id).children()
    assert {child.kind for child in children} == {"notebook"}
    assert {child.parent_run_id for child in children} == {run.row.id}
    assert {child.correlation_id for child in children} == {run.row.id}
    (load, *_) = datapipe.attach(children[0].id).children()
    assert (load.kind, load.correlation_id) == ("plan", run.row.id)
    assert rows(begun.folder("nested") / "inner") == 2, "the second attempt has loaded again"


COUNTS = "import sys, datapipe\nfound = datapipe.notebook(sys.argv[1]).run()\nprint(len(found.pipelines))"


def with_a_relative_record(side: Side) -> str:
    """What a script prints that is told to record its runs in its working directory."""
    folder = side.folder("relative")
    (folder / "there").mkdir()
    path = write_notebook(folder / "there" / "job.ipynb", LOADS)
    caller = calling(folder, str(path), script=COUNTS, DATAPIPE_METADATA_URL="sqlite:///record.db")
    return "".join(caller.communicate(timeout=60))


def test_a_record_at_a_relative_path_is_one_record(begun: Side) -> None:
    assert begun.found("relative") == "1\n"
    assert not (begun.folder("relative") / "there" / "record.db").exists()


def with_a_key(side: Side) -> list[NotebookResult | DatapipeError]:
    """Four runs under one key, of which the first fails and the last is another job."""
    cells = (PARAMETERS, LOADS, "assert tries > 1, 'not yet'", "datapipe.output('tries', tries)")
    job = datapipe.notebook(write_notebook(side.folder("keys") / "keys.ipynb", *cells))
    found: list[NotebookResult | DatapipeError] = []
    for one in (job, job, job, job.bind(day=2)):
        try:
            found.append(one.run(idempotency_key="k"))
        except DatapipeError as error:
            found.append(error)
    return found


def test_a_key_takes_effect_once_and_is_left_by_who_failed(begun: Side) -> None:
    failed, first, again, other = begun.found("keys")
    assert isinstance(failed, NotebookError) and "AssertionError: not yet" in str(failed)
    assert (first.replayed, first.outputs, rows(begun.folder("keys"))) == (False, {"tries": 2}, 2)
    assert (again.replayed, again.run_id, again.outputs) == (True, first.run_id, {"tries": 2})
    assert isinstance(other, IdempotencyConflict)
    assert str(other).startswith(f"run {first.run_id} has done something else under this idempotency key. ")
    assert (begun.folder("keys") / "tries").read_text() == "xx"
    conflict, replay, done, _ = [run.row for run in of_name("keys")]
    assert (conflict.state, replay.state, done.id) == ("failed", "succeeded", first.run_id)
    assert replay.reason == f"run {first.run_id} had done it" and replay.id != first.run_id
    assert datapipe.attach(replay.id).result().outputs == {"tries": 2}


HOLDS = """
import time
from pathlib import Path
Path("holds").touch()
while not Path("go").exists():
    time.sleep(0.05)
import datapipe
datapipe.output("x", 1)
"""
HOLDER = "import sys, datapipe\ndatapipe.notebook(sys.argv[1]).run(idempotency_key=sys.argv[2])"


def while_held(side: Side, name: str, work: Callable[[NotebookJob, subprocess.Popen[str], Path], Any]) -> Any:
    """Do something while another process runs a notebook under a key of its name."""
    folder = side.folder(name)
    path = write_notebook(folder / f"{name}.ipynb", HOLDS)
    process = calling(side.home, str(path), name, script=HOLDER)
    try:
        until((folder / "holds").exists, 60)
        return work(datapipe.notebook(path), process, folder)
    finally:
        (folder / "go").touch()
        process.kill()
        process.communicate()


def asks(job: NotebookJob, process: subprocess.Popen[str], folder: Path) -> None:
    """Ask for a key in every way."""
    holder = of_name("held")[0].row.id
    with pytest.raises(InProgress, match=f"run {holder} has the idempotency key and is running"):
        job.run(idempotency_key="held", if_running="fail")
    skipped = job.run(idempotency_key="held", if_running="skip")
    assert (skipped.state, skipped.outputs, skipped.replayed) == ("skipped", {}, False)
    assert f"run {holder} has the idempotency key; this run left it to that one" in skipped.notices
    assert [run.row.state for run in of_name("held")] == ["skipped", "failed", "running"]
    waits = job.run(idempotency_key="held", background=True)
    time.sleep(1)
    assert waits.row.state == "running"
    (folder / "go").touch()
    assert waits.result(60).run_id == holder and waits.row.reason == f"run {holder} had done it"
    process.communicate(timeout=60)
    assert process.returncode == 0


def kills(job: NotebookJob, process: subprocess.Popen[str], folder: Path) -> NotebookResult:
    """Run it when the other process is gone."""
    process.kill()
    process.communicate()
    (folder / "go").touch()
    time.sleep(4)  # by then it has given no sign of life
    return job.run(idempotency_key="gone", if_running="skip")


def test_while_another_process_has_the_key(begun: Side) -> None:
    begun.found("held")


def test_a_process_that_is_gone_holds_no_key(begun: Side) -> None:
    result = begun.found("gone")
    assert (result.state, result.replayed, result.outputs) == ("succeeded", False, {"x": 1})
    assert [run.row.state for run in of_name("gone")] == ["succeeded", "lost"]
