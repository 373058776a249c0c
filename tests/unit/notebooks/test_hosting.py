"""One run of a notebook, with executions that are made up: what is ordered, recorded, and belongs to another run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from jobside import latest, succeeding

import datapipe
from datapipe.engine import FrameOutput, NotebookResult
from datapipe.errors import FatalError, Interrupted, PlanError, RunCancelled, TransientError
from datapipe.notebooks import running
from datapipe.notebooks.hosting import options_of
from datapipe.notebooks.order import Outcome


def test_it_succeeds_and_is_on_record(job: Any, executing: Any) -> None:
    frame = {
        "name": "f",
        "shown": "3 rows",
        "uri": "/kept/f",
        "rows": 3,
        "bytes": 9,
        "columns": {"a": "int64"},
        "sha256": "0",
    }
    day = {"name": "x", "value": {"type": "date", "value": "2024-01-01"}, "shown": "d"}
    executing(succeeding(day, frame))
    result = job.bind(day=5).run()
    assert (result.state, result.parameters, result.attempts) == ("succeeded", {"day": 5}, 1)
    assert str(result.outputs["x"]) == "2024-01-01"
    assert result.outputs["f"] == FrameOutput("/kept/f", 3, 9, {"a": "int64"}, "0")
    assert [(cell.number, cell.state, cell.seconds, cell.count) for cell in result.cells] == [
        (n + 1, "done", 0.5, n + 1) for n in range(4)
    ]
    row = latest().row
    assert (row.id, row.state, row.kind, row.name, row.attempts) == (result.run_id, "succeeded", "notebook", "daily", 1)
    assert [step.name for step in row.steps] == ["cell 1", "cell 2", "cell 3", "cell 4"]
    assert latest().result() == result and row.fingerprint == job.bind(day=5).fingerprint
    assert json.loads(row.document or "")["notebook"]["parameters"] == {"day": 5}


def test_what_is_ordered(job: Any, executing: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = executing(succeeding())
    monkeypatch.chdir(home)
    (home / ".env").write_text("ONLY_THERE=1\nDATAPIPE_ARTIFACTS_RUNS=5\n")
    job = datapipe.notebook(home / "daily.ipynb", {"day": 2}, memory="1GB", kernel="other")
    result = job.run(idempotency_key="k")
    (order,) = orders
    assert (order.kernel, order.memory, order.folder, order.parameters) == ("other", 1 << 30, str(home), {"day": 2})
    assert order.defaults["ONLY_THERE"] == "1" and "PATH" not in order.defaults
    assert order.environment["DATAPIPE_PARENT_RUN_ID"] == order.environment["DATAPIPE_CORRELATION_ID"] == result.run_id
    assert order.environment["DATAPIPE_JOB_KEY"] == "k"
    assert order.about["run_id"] == result.run_id and order.about["attempt"] == 1
    assert result.artifacts == f"{order.root}/{order.place}" and order.place.startswith("daily/")
    assert not Path(order.scratch).exists(), "it is removed in the end"
    assert any("day = 2" in cell["source"] for cell in order.notebook["cells"])


def test_cancelled_and_interrupted(job: Any, executing: Any) -> None:
    executing(Outcome("cancelled"))
    with pytest.raises(RunCancelled) as cancelled:
        job.run()
    assert cancelled.value.result.state == latest().row.state == "cancelled"
    executing(Outcome("cancelled", "interrupted"))
    with pytest.raises(Interrupted) as interrupted:
        job.run()
    assert interrupted.value.result.reason == latest().row.reason == "interrupted"


@pytest.mark.parametrize(("error", "state"), [(KeyboardInterrupt(), "cancelled"), (ValueError("a bug"), "failed")])
def test_what_breaks_through_is_on_record(error: BaseException, state: str, job: Any, executing: Any) -> None:
    def breaks(**_: Any) -> Outcome:
        raise error

    executing(breaks)
    with pytest.raises(type(error)):
        job.run()
    assert latest().row.state == state and latest().row.ended is not None


def test_a_store_that_fails_costs_a_warning(
    job: Any, executing: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise TransientError("the run store fails: it is away")

    executing(succeeding())
    for name in ("add", "beat", "end", "children"):
        monkeypatch.setattr(f"datapipe.store.RunStore.{name}", fails)
    assert job.run().state == "succeeded"
    assert "is incomplete: the run store fails" in caplog.text


def test_old_artifacts_are_swept(job: Any, executing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    swept = []
    monkeypatch.setattr(running, "sweep", lambda _, name, days, runs: swept.append((name, days, runs)))
    monkeypatch.setenv("DATAPIPE_ARTIFACTS_RUNS", "7")
    executing(succeeding())
    job.run()
    assert swept == [("daily", 90, 7)]


def test_a_sweep_that_fails_costs_nothing(job: Any, executing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise FatalError("no")

    monkeypatch.setattr(running, "sweep", fails)
    executing(succeeding())
    assert job.run().state == "succeeded"


def test_a_run_that_had_been_done_is_shown_as_such(job: Any, executing: Any) -> None:
    orders = executing(succeeding({"name": "x", "value": 1, "shown": "1"}))
    first, again = job.run(idempotency_key="k"), job.run(idempotency_key="k")
    assert len(orders) == 1 and (again.replayed, again.outputs, again.run_id) == (True, {"x": 1}, first.run_id)
    assert again.view is not None and again.view.replay_of == first.run_id
    assert latest().row.reason == f"run {first.run_id} had done it" and isinstance(latest().result(), NotebookResult)


def test_wishes_that_make_no_sense() -> None:
    with pytest.raises(PlanError, match="if_running cannot be 'maybe'"):
        options_of(None, "maybe")  # type: ignore[arg-type]  # which is what is tested
    with pytest.raises(PlanError, match="the idempotency key is empty"):
        options_of("", "wait")


def test_a_run_within_a_run_belongs_to_it(monkeypatch: pytest.MonkeyPatch, job: Any, executing: Any) -> None:
    monkeypatch.setenv("DATAPIPE_PARENT_RUN_ID", "outer")
    monkeypatch.setenv("DATAPIPE_CORRELATION_ID", "all")
    monkeypatch.setenv("DATAPIPE_JOB_KEY", "outer key")
    monkeypatch.setenv("DATAPIPE_JOB_PROCESS", str(os.getpid()))
    orders = executing(succeeding())
    result = job.run()
    again = job.run()
    row = datapipe.attach(result.run_id).row
    assert (row.parent_run_id, row.correlation_id, result.correlation_id) == ("outer", "all", "all")
    keys = [order.environment["DATAPIPE_JOB_KEY"] for order in orders]
    assert (
        orders[0].environment["DATAPIPE_CORRELATION_ID"] == "all"
        and orders[0].environment["DATAPIPE_PARENT_RUN_ID"] == row.id
    )
    assert keys[0] != keys[1] and all(key.startswith("outer key/") for key in keys), (
        "an attempt of the outer run loads nothing twice"
    )
    assert again.run_id != result.run_id
