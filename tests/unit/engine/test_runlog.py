"""A run as log lines: what it did, by its ids, and nothing of what its rows hold."""

from __future__ import annotations

import logging

import pandas as pd
import pytest

import datapipe
from datapipe.engine import Event, run_recorded, runlog
from datapipe.engine.options import RunOptions
from datapipe.errors import DatapipeError, TransientError
from datapipe.logs import bound

CANARY = "cnry9f2value"
FRAME = pd.DataFrame({"id": [1, 2, 3], "name": [CANARY] * 3})


@pytest.fixture(autouse=True)
def informed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def shown(record: logging.LogRecord) -> str:
    return f"{record.getMessage()} {vars(record)}"


def test_a_run_tells_its_steps_with_rows_and_seconds(caplog, sqlite_url):
    plan = datapipe.read(FRAME).sql("SELECT * FROM input_data WHERE id > 1").write("t", to=sqlite_url).named("daily")
    result = plan.run()
    ours = [record for record in caplog.records if record.name == "datapipe.runs"]
    assert {(record.run_id, record.correlation_id, record.pipeline_id) for record in ours} == {(result.run_id,) * 3}
    first, last = ours[0], ours[-1]
    assert (first.getMessage(), first.plan, first.target) == ("run started", "daily", result.target)
    assert (last.getMessage(), last.rows_read, last.rows_written) == ("run succeeded", 3, 2) and last.seconds > 0
    done = [(record.step, record.rows_out) for record in ours if record.getMessage() == "step finished"]
    assert done == [("ingestion", 3), ("transformation step 1 (sql)", 2), ("persistence", 2)]
    assert not [record for record in caplog.records if CANARY in shown(record)]


def test_a_users_function_logs_under_the_step_it_is(sqlite_url):
    def clean(frame):
        logging.getLogger("mine").info("cleaning")
        seen.append(datapipe.logs.ids())
        return frame

    seen: list[dict[str, str]] = []
    run = datapipe.read(FRAME).apply(clean).apply(clean, per_batch=True).write("t", to=sqlite_url)
    with bound(correlation_id="order-17"):
        result = run.run()
    assert result.correlation_id == "order-17"
    assert [found["step"] for found in seen] == ["transformation step 1 (code)", "transformation step 2 (code)"]
    assert {(found["run_id"], found["correlation_id"]) for found in seen} == {(result.run_id, "order-17")}


def fails_on_a_value(frame):
    return frame.assign(id=frame["name"].astype(int))


def says_a_value(frame):
    raise TransientError(f"no {frame['name'][0]}", hint=frame["name"][0])


@pytest.mark.parametrize("function", [fails_on_a_value, says_a_value])
def test_what_a_function_says_of_a_row_is_in_no_line(caplog, sqlite_url, monkeypatch, function):
    monkeypatch.setenv("MAX_RETRIES", "1")
    monkeypatch.setenv("RETRY_BACKOFF_BASE", "0.01")
    with pytest.raises(DatapipeError, match=CANARY):
        datapipe.read(FRAME).apply(function).write("t", to=sqlite_url).run()
    last = caplog.records[-1]
    assert (last.levelname, last.getMessage(), last.state) == ("ERROR", "run failed", "failed")
    assert last.error.startswith("transformation step 1 (code): ")
    assert not [record for record in caplog.records if CANARY in shown(record)]


def test_an_attempt_that_failed_is_told_with_the_pause_before_the_next(caplog, sqlite_url, monkeypatch):
    monkeypatch.setenv("MAX_RETRIES", "1")
    monkeypatch.setenv("RETRY_BACKOFF_BASE", "0.01")
    tried = []

    def passing(frame):
        tried.append(frame)
        if len(tried) == 1:
            raise TransientError("the shop is closed")
        return frame

    run_recorded(datapipe.read(FRAME).apply(passing).write("t", to=sqlite_url).plan, RunOptions(run_id="r1"))
    failed = next(record for record in caplog.records if record.getMessage() == "attempt failed")
    assert (failed.levelname, failed.run_id) == ("WARNING", "r1") and 0 <= failed.pause <= 0.01
    assert caplog.records[-1].getMessage() == "run succeeded"


def test_where_nobody_has_set_up_logging_nothing_is_logged(monkeypatch, capsys):
    log = logging.getLogger("datapipe.runs")
    monkeypatch.setattr(log, "propagate", False)
    plan = datapipe.read(FRAME).write("t", to="sqlite:///t.db").plan
    runlog.logged(plan)(Event("run_finished", "r1", "c1", 1, 0.0, state="failed", discreet="no"))
    assert capsys.readouterr() == ("", "")
