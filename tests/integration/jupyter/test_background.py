"""B5, B6, B9: runs that go on while the user does, across reloads, and on workers."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from lab.cells import slow_plan
from lab.notebook import Notebook
from services import private_redis, redis_program
from workerside import running_worker

Open = Callable[..., Notebook]


def test_a_background_run_gives_the_cell_back(notebook: Open) -> None:
    found = notebook(
        slow_plan("warm.parquet", seconds=0.2, name="warm"),
        "plan.run(background=True).result().state",
        slow_plan("background.parquet", seconds=8),
        "run = plan.run(background=True)",
        "6 * 7",
        "run.result().state",
    )
    found.run_all(0, 1, 2)
    found.run(3)
    assert found.wait(3) < 0.3
    found.wait_for_text(3, "RUNNING orders")
    found.run_all(4)
    assert found.text(4) == "42"
    before = found.wait_for_text(3, r"([\d,]+) of 60,000 rows")[1]
    found.pause(1.5)
    assert found.wait_for_text(3, r"([\d,]+) of 60,000 rows")[1] != before
    found.wait_for_text(3, "✓ SUCCEEDED orders")
    found.run_all(5)
    assert "succeeded" in found.text(5)
    found.save()
    outputs = found.saved()["cells"][3]["outputs"]
    assert [output["data"].keys() for output in outputs] == [{"text/html", "text/plain"}]


def test_a_card_goes_on_after_a_reload(notebook: Open) -> None:
    found = notebook(slow_plan("reload.parquet", seconds=25), "run = plan.run(background=True)")
    found.run_all(0, 1)
    before = found.wait_for_text(1, r"([\d,]+) of 60,000 rows")[1]
    found.save()
    found.reload()
    after = found.wait_for_text(1, r"([\d,]+) of 60,000 rows", 5)[1]
    assert after != before
    found.pause(1.5)
    assert found.wait_for_text(1, r"([\d,]+) of 60,000 rows", 3)[1] != after
    found.wait_for_text(1, "✓ SUCCEEDED orders", 60)


def test_a_card_of_a_busy_cell_is_there_after_a_reload_when_the_cell_has_ended(notebook: Open) -> None:
    """A page that is loaded anew asks the kernel for its widgets, and ipykernel answers when the cell has ended.

    Nothing in Python can mend that: until then the page has the card's place only. What is promised is the final card
    a few seconds after the end, that the run is not disturbed, and that the notebook goes on.
    """
    found = notebook(slow_plan("busy.parquet", seconds=10), "plan.run()", "len(calls)")
    found.run_all(0)
    found.run(1)
    found.wait_for_text(1, r"[1-9][\d,]* of 60,000 rows")
    found.save()
    found.reload()
    until = time.monotonic() + 60
    while not (found.server.folder / "busy.parquet").exists():
        assert time.monotonic() < until
        found.pause(0.1)
    assert "60,000 rows read" in found.wait_for_text(1, "✓ SUCCEEDED orders", 5).string
    assert found.text(1).count("SUCCEEDED") == 1
    found.run_all(2)
    assert int(found.text(2)) >= 100


def test_a_run_on_workers_is_watched_from_two_notebooks(notebook: Open, tmp_path: Path) -> None:
    functions = "import time\ndef slow(df):\n    time.sleep(0.75)\n    return df\n"
    (tmp_path / "lab_functions.py").write_text(functions)
    with private_redis(redis_program()) as broker:
        variables = {
            "REDIS_URL": broker.url,
            "DATAPIPE_HOME": str(tmp_path / "home"),
            "DATAPIPE_FUNCTION_MODULES": "lab_functions",
            "BATCH_SIZE": "100",
        }
        rows = f"import pandas; pandas.DataFrame({{'id': range(4000)}}).to_parquet({str(tmp_path / 'in.parquet')!r})"
        given = f"import os, sys; os.environ.update(json.loads({json.dumps(variables)!r}))"
        setup = f"import json, datapipe\n{given}\nsys.path.insert(0, {str(tmp_path)!r})\n{rows}"
        plan = (
            f"datapipe.read({str(tmp_path / 'in.parquet')!r}).apply('lab_functions:slow', per_batch=True)"
            f".write({str(tmp_path / 'out.parquet')!r}).named('orders')"
        )
        one = notebook(setup, f"run = {plan}.submit()\nrun.watch_behind()", "print(run.id)")
        one.run_all(0, 1, 2)
        one.wait_for_text(1, "⏳ QUEUED orders")
        run_id = one.text(2)
        paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[3])])
        worker_variables = {**variables, "PYTHONPATH": paths, "DATAPIPE_METADATA_URL": ""}
        with running_worker(worker_variables, tmp_path) as worker:
            one.wait_for_text(1, "▶ RUNNING orders", 60)
            other = notebook(setup, f"datapipe.attach({run_id!r}).watch()", f"datapipe.attach({run_id!r}).status")
            other.run_all(0)
            other.run(1)
            other.wait_for_text(1, "▶ RUNNING orders")
            other.interrupt()  # of the watching alone
            other.wait(1)
            other.run_all(2)
            assert "running" in other.text(2)
            one.wait_for_text(1, "✓ SUCCEEDED orders", 90)
            again = one.add(f"lost = {plan.replace('out.parquet', 'lost.parquet')}.submit()\nlost.watch_behind()")
            one.run_all(again)
            one.wait_for_text(again, "▶ RUNNING orders", 60)
            os.killpg(worker.pid, signal.SIGKILL)
            one.wait_for_text(again, r"⚠|LOST|no sign of life|QUEUED", 90)
