"""Keys, attempts and runs within runs: what a notebook does takes effect once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from jobside import calling, ended, sound
from notebookfiles import write_notebook
from workerside import until

import datapipe
from datapipe.errors import IdempotencyConflict, InProgress, NotebookError
from datapipe.history import Run
from datapipe.listing import runs

# A load of two rows into a file beside the notebook, and a mark for each time the cell has run.
LOADS = """
import datapipe
import pandas as pd
from pathlib import Path
Path("tries").open("a").write("x")
tries = len(Path("tries").read_text())
frame = pd.DataFrame({"a": [1, 2]})
datapipe.read(frame).write("loaded", to="sqlite:///data.db", strategy="append").run()
"""
PARAMETERS = "# parameters\nday: int = 1"


def rows(folder: Path, table: str = "loaded") -> int:
    engine = sa.create_engine(f"sqlite:///{folder / 'data.db'}", poolclass=sa.NullPool)
    with engine.connect() as conn:
        return int(conn.scalar(sa.text(f"SELECT count(*) FROM {table}")) or 0)


def of_name(name: str) -> list[Run]:
    return [run for run in runs(50) if run.row.name == name]


def test_each_attempt_is_kept_and_loads_once(home: Path) -> None:
    ways = """
import os, signal
if tries == 1:
    datapipe.output("only_at_first", tries)
    raise datapipe.errors.TransientError("the server was away")
if tries == 2:
    os.kill(os.getpid(), signal.SIGKILL)
datapipe.output("tries", tries)
"""
    twice = "for _ in range(2):\n    datapipe.read('SELECT 1 AS a', source='sqlite:///data.db').write('looped', to='sqlite:///data.db').run()"
    path = write_notebook(home / "again.ipynb", LOADS.replace("import datapipe", "import datapipe, datapipe.errors"), twice, ways)
    run = sound(ended(datapipe.notebook(path, retries=3)))
    assert (run.error, run.result.attempts, run.folder.name) == (None, 3, "3")
    assert rows(home) == 2, "loaded once, by the first attempt"
    assert rows(home, "looped") == 2, "a loop loads as often as it turns"
    states = [(run.folder.parent / number / "notebook.ipynb").exists() for number in "123"]
    assert states == [True] * 3 and len(list(run.folder.parent.iterdir())) == 3
    assert "the server was away; trying again in" in run.log and "was killed (SIGKILL)" in run.log
    assert run.result.outputs == {"tries": 3}, "what the last attempt gave"


def test_what_does_not_pass_is_not_tried_again(home: Path) -> None:
    path = write_notebook(home / "no.ipynb", LOADS, "raise ValueError('no')")
    run = ended(datapipe.notebook(path, retries=3))
    assert isinstance(run.error, NotebookError)
    assert (run.result.attempts, (home / "tries").read_text()) == (1, "x")


def test_a_notebook_within_a_notebook_belongs_to_it_and_loads_once(home: Path) -> None:
    (home / "inner").mkdir()
    write_notebook(home / "inner" / "inner.ipynb", LOADS, "datapipe.output('rows', 2)")
    outer = """
import datapipe, datapipe.errors
from pathlib import Path
found = datapipe.notebook("inner/inner.ipynb").run()
datapipe.output("rows", found.outputs["rows"])
"""
    fails = """
if not Path("failed").exists():
    Path("failed").touch()
    raise datapipe.errors.TransientError("not yet")
"""
    path = write_notebook(home / "outer.ipynb", outer, fails)
    run = sound(ended(datapipe.notebook(path, retries=1)))
    assert run.error is None and run.result.outputs == {"rows": 2} and run.result.attempts == 2
    children = datapipe.attach(run.result.run_id).children()
    assert {child.kind for child in children} == {"notebook"}
    assert {child.parent_run_id for child in children} == {run.row.id}
    assert {child.correlation_id for child in children} == {run.row.id}
    (load, *_) = datapipe.attach(children[0].id).children()
    assert (load.kind, load.correlation_id) == ("plan", run.row.id)
    assert rows(home / "inner") == 2, "the second attempt has loaded again"


def test_a_record_at_a_relative_path_is_one_record(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_METADATA_URL", "sqlite:///record.db")
    (home / "there").mkdir()
    path = write_notebook(home / "there" / "job.ipynb", LOADS)
    run = ended(datapipe.notebook(path))
    assert len(datapipe.attach(run.result.run_id).children()) == 1
    assert not (home / "there" / "record.db").exists()


def test_a_key_takes_effect_once(home: Path) -> None:
    path = write_notebook(home / "once.ipynb", PARAMETERS, LOADS, "datapipe.output('tries', tries)")
    job = datapipe.notebook(path)
    first, again = job.run(idempotency_key="k"), job.run(idempotency_key="k")
    assert (again.replayed, again.run_id, again.outputs) == (True, first.run_id, {"tries": 1})
    assert (home / "tries").read_text() == "x"
    latest, earlier = of_name("once")
    assert (earlier.row.id, latest.row.state) == (first.run_id, "succeeded")
    assert latest.row.reason == f"run {first.run_id} had done it" and latest.row.id != first.run_id
    assert latest.result().outputs == {"tries": 1}
    with pytest.raises(IdempotencyConflict, match=f"run {first.run_id} has done something else under this idempotency key"):
        job.bind(day=2).run(idempotency_key="k")
    assert of_name("once")[0].row.state == "failed" and (home / "tries").read_text() == "x"


def test_a_run_that_failed_leaves_its_key_and_what_it_has_loaded(home: Path) -> None:
    path = write_notebook(home / "frees.ipynb", LOADS, "assert tries > 1, 'not yet'", "datapipe.output('tries', tries)")
    job = datapipe.notebook(path)
    with pytest.raises(NotebookError, match="AssertionError: not yet"):
        job.run(idempotency_key="k")
    result = job.run(idempotency_key="k")
    assert (result.replayed, result.outputs, rows(home)) == (False, {"tries": 2}, 2)


HOLDS = """
import time
from pathlib import Path
Path("holds").touch()
while not Path("go").exists():
    time.sleep(0.05)
import datapipe
datapipe.output("x", 1)
"""
SCRIPT = "import sys, datapipe\ndatapipe.notebook(sys.argv[1]).run(idempotency_key='k')"


@pytest.fixture
def held(home: Path) -> Iterator[Any]:
    """Another process runs the notebook under the key."""
    path = write_notebook(home / "held.ipynb", HOLDS)
    caller = calling(home, str(path), script=SCRIPT)
    until((home / "holds").exists, 60)
    yield datapipe.notebook(path), caller
    caller.kill()
    caller.communicate()


def test_while_another_process_has_the_key(home: Path, held: Any) -> None:
    job, process = held
    holder = of_name("held")[0].row.id
    began = time.monotonic()
    with pytest.raises(InProgress, match=f"run {holder} has the idempotency key and is running"):
        job.run(idempotency_key="k", if_running="fail")
    skipped = job.run(idempotency_key="k", if_running="skip")
    assert (skipped.state, skipped.outputs, skipped.replayed) == ("skipped", {}, False)
    assert f"run {holder} has the idempotency key; this run left it to that one" in skipped.notices
    assert [run.row.state for run in of_name("held")] == ["skipped", "failed", "running"]
    assert time.monotonic() - began < 5
    waits = job.run(idempotency_key="k", background=True)
    time.sleep(1)
    assert waits.row.state == "running"
    (home / "go").touch()
    assert waits.result(60).run_id == holder and waits.row.reason == f"run {holder} had done it"
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_process_that_is_gone_holds_no_key(home: Path, held: Any) -> None:
    job, process = held
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    (home / "go").touch()
    time.sleep(4)  # by then it has given no sign of life
    result = job.run(idempotency_key="k", if_running="skip")
    assert (result.state, result.replayed, result.outputs) == ("succeeded", False, {"x": 1})
    assert [run.row.state for run in of_name("held")] == ["succeeded", "lost"]
