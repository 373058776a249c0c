"""Runs on record: what is written of a run of this process, and what another process sees and does."""

from __future__ import annotations

import json
import logging
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from forked import forked_cli

import datapipe
from datapipe.errors import DataError, PlanError, RunCancelled, TransientError


@pytest.fixture(autouse=True)
def _recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATAPIPE_METADATA_URL")
    monkeypatch.setenv("DATAPIPE_HOME", str(tmp_path / "home"))


def plan(tmp_path: Path, fn: Any = None) -> datapipe.Pipeline:
    begun = datapipe.read(pa.table({"id": range(10)})).sql("SELECT id FROM input_data")
    return (begun.apply(fn) if fn else begun).write("t", to=f"sqlite:///{tmp_path / 'target.db'}")


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([forked_cli(), *arguments], capture_output=True, text=True, check=False)


def test_a_run_is_on_record_for_every_process(tmp_path: Path) -> None:
    result = plan(tmp_path).run()
    run = datapipe.attach(result.run_id)
    assert run.status == "succeeded"
    assert run.result() == result
    assert [step.rows_out for step in run.progress] == [10, 10, 10]
    listed = datapipe.runs()
    assert listed[0].id == result.run_id
    assert listed.frame.loc[0, "rows_written"] == 10
    told = json.loads(cli("status", result.run_id, "--json").stdout)
    assert (told["state"], told["rows_written"], told["steps"][1]["version"]) == (
        "succeeded",
        10,
        result.steps[1].version,
    )
    assert result.run_id in cli("runs").stdout


def test_a_failed_run_gives_its_own_error_again(tmp_path: Path) -> None:
    broken = datapipe.read(pa.table({"a": ["x"]})).sql("SELECT CAST(a AS INT) AS a FROM input_data")
    with pytest.raises(DataError) as caught:
        broken.write("t", to=f"sqlite:///{tmp_path / 't.db'}").run()
    run = datapipe.attach(caught.value.result.run_id)
    with pytest.raises(DataError) as again:
        run.result()
    assert str(again.value) == str(caught.value)
    done = cli("status", run.id)
    assert done.returncode == 1
    assert "Could not convert" in done.stdout


def test_notes_are_in_the_log(tmp_path: Path) -> None:
    plan(tmp_path).run()
    run = datapipe.attach(plan(tmp_path).run().run_id)
    assert [(line.kind, line.message[:19]) for line in run.logs()] == [("notice", "the same plan loade")]


def test_a_run_is_cancelled_from_elsewhere(tmp_path: Path) -> None:
    started = threading.Event()

    def slow(frame):  # a user's function
        started.set()
        time.sleep(0.3)
        return frame

    results: list[BaseException] = []

    def running() -> None:
        try:
            big = datapipe.read(pa.table({"id": range(100_000)})).apply(slow, per_batch=True)
            big.write("t", to=f"sqlite:///{tmp_path / 'target.db'}").run()
        except RunCancelled as error:
            results.append(error)

    runner = threading.Thread(target=running)
    runner.start()
    assert started.wait(30)
    run = datapipe.attach(datapipe.runs(1)[0].id)
    with pytest.raises(TransientError, match=r"is running after"):
        run.result(timeout=0.1)
    assert run.cancel()
    runner.join(5)
    assert len(results) == 1
    assert run.status == "cancelled"
    with pytest.raises(RunCancelled):
        run.result()


def test_a_store_that_cannot_be_written_costs_a_warning_and_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DATAPIPE_HOME", str(tmp_path / "file" / "below"))
    with caplog.at_level(logging.WARNING, "datapipe"):
        assert plan(tmp_path).run().rows_written == 10
    assert "this run is not recorded" in caplog.text


def test_a_replay_says_whose_result_it_has(tmp_path: Path) -> None:
    first, again = (plan(tmp_path).run(idempotency_key="k") for _ in range(2))
    assert again.replayed
    row = datapipe.attach(datapipe.runs(1)[0].id).row
    assert (row.state, row.reason) == ("succeeded", f"run {first.run_id} had done it")


def test_a_store_that_fails_in_the_middle_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def breaking(frame):  # a user's function
        for path in (tmp_path / "home").iterdir():
            path.write_bytes(b"no database")
        return frame

    with caplog.at_level(logging.WARNING, "datapipe"):
        assert plan(tmp_path, breaking).run().rows_written == 10
    assert caplog.text.count("is incomplete: ") == 1


def test_off_means_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_METADATA_URL", "off")
    assert plan(tmp_path).run().rows_written == 10
    assert not (tmp_path / "home").exists()
    with pytest.raises(PlanError, match="DATAPIPE_METADATA_URL is off"):
        datapipe.runs()


def test_a_failed_run_on_record_has_only_those_steps_done_that_ended(tmp_path: Path) -> None:
    def fail(frame: Any) -> Any:
        if frame["id"].iloc[0] > 20_000:
            raise ValueError("no")
        return frame

    made = datapipe.read(pa.table({"id": range(200_000)})).sql("SELECT * FROM input_data")
    with pytest.raises(DataError):
        made.apply(fail, per_batch=True).write("t", to=f"sqlite:///{tmp_path}/t.db").run()
    states = [step.state for step in datapipe.runs()[0].view.steps]
    assert states[1:3] == ["running", "failed"]
