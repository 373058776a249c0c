"""B9: runs on workers, watched from notebooks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from lab.notebook import Notebook
from lab.server import ROOT
from services import private_redis, redis_program
from workerside import Worker, running_worker

Open = Callable[..., Notebook]

FUNCTIONS = "import time\ndef slow(df):\n    time.sleep(0.5)\n    return df\n"


@dataclass(frozen=True)
class Place:
    """Where runs are sent to: a broker, a run store, and a plan of so many batches of half a second."""

    folder: Path
    variables: dict[str, str]

    def setup(self) -> str:
        """A cell that says where that is, and makes the rows."""
        given = f"os.environ.update(json.loads({json.dumps(self.variables)!r}))"
        return f"import json, os, sys\n{given}\nsys.path.insert(0, {str(self.folder)!r})\nimport datapipe, pandas"

    def submit(self, batches: int) -> str:
        """A cell that sends a run of its own, and watches it."""
        source, target = (str(self.folder / name) for name in ("in.parquet", f"out_{batches}.parquet"))
        rows = f"pandas.DataFrame({{'id': range({100 * batches})}}).to_parquet({source!r})"
        plan = (
            f"datapipe.read({source!r}).apply('lab_functions:slow', per_batch=True).write({target!r}).named('orders')"
        )
        return f"{rows}\nrun = {plan}.submit()\nrun.watch_behind()"

    def worker(self, name: str) -> AbstractContextManager[Worker]:
        """A worker that takes them, killed at the end."""
        paths = os.pathsep.join([str(self.folder), str(ROOT)])
        variables = {**self.variables, "PYTHONPATH": paths, "DATAPIPE_METADATA_URL": ""}
        return running_worker(variables, self.folder, name)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "lab_functions.py").write_text(FUNCTIONS)
    with private_redis(redis_program()) as broker:
        variables = {
            "REDIS_URL": broker.url,
            "DATAPIPE_HOME": str(tmp_path / "home"),
            "DATAPIPE_FUNCTION_MODULES": "lab_functions",
            "BATCH_SIZE": "100",
        }
        yield Place(tmp_path, variables)


def test_a_run_on_workers_is_watched_from_two_notebooks(notebook: Open, place: Place) -> None:
    one = notebook(place.setup(), place.submit(16), "print(run.id)", "run.result().state")
    one.run_all(0, 1, 2)
    one.wait_for_text(1, "⏳ QUEUED orders")
    run_id = one.text(2)
    other = notebook(place.setup(), f"run = datapipe.attach({run_id!r}); run.watch()", "run.status", "run.watch()")
    other.run_all(0)
    other.run(1)
    other.wait_for_text(1, "⏳ QUEUED orders")
    with place.worker("w1"):
        one.wait_for_text(1, "▶ RUNNING orders", 60)
        other.wait_for_text(1, "▶ RUNNING orders")
        other.interrupt()  # of the watching alone
        other.wait(1)
        other.wait_for_text(1, "no longer watched; the run itself goes on", 5)
        other.run_all(2)
        assert "running" in other.text(2)
        one.wait_for_text(1, "✓ SUCCEEDED orders", 90)
        one.run_all(3)
        assert "succeeded" in one.text(3)
        other.run_all(3)
        assert "1,600 rows read" in other.wait_for_text(3, "✓ SUCCEEDED orders", 5).string


@pytest.mark.soak
def test_the_card_tells_of_a_worker_that_was_killed_and_of_the_one_that_goes_on(notebook: Open, place: Place) -> None:
    """Silence is told after 15 seconds, and after a minute the run counts as lost; then another worker takes it."""
    one = notebook(place.setup(), place.submit(40), "print(run.id)")
    one.run_all(0, 1, 2)
    other = notebook(place.setup(), f"run = datapipe.attach({one.text(2)!r}); run.watch_behind()", "run.status")
    other.run_all(0, 1)
    with place.worker("w1") as first:
        for found in (one, other):
            found.wait_for_text(1, r"▶ RUNNING orders(?s:.*)[1-9][\d,]* of 4,000 rows", 60)
        first.kill()
        for found in (one, other):
            found.wait_for_text(1, "⚠ no sign of life for", 30)
        for found in (one, other):
            found.wait_for_text(1, "⚠ LOST orders", 80)
            assert found.output(1).locator("progress").count() == 0  # nothing pretends to move
        other.run_all(2)
        assert "lost" in other.text(2)
        with place.worker("w2"):
            for found in (one, other):
                found.wait_for_text(1, "▶ RUNNING orders", 60)
            for found in (one, other):
                assert "4,000 written" in found.wait_for_text(1, "✓ SUCCEEDED orders", 60).string
