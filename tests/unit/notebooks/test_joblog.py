"""A job as log lines: its cells and its end, without what a cell has said."""

from __future__ import annotations

import logging

import pytest

from datapipe.logs import of_run
from datapipe.notebooks.joblog import log_attempt, log_end, log_event, log_start
from datapipe.notebooks.order import Outcome

FAILED = Outcome("failed", None, {"type": "ValueError", "message": "no user ann", "cell": 2, "traceback": "ann"})


def test_cells_are_steps_and_what_they_say_is_left_out(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO), of_run("r1", "c1"):
        log_start("daily.ipynb", "daily")
        log_event({"event": "cell_began", "cell": 2, "time": 0.0})
        log_event({"event": "output", "output": {"name": "user", "value": "ann", "shown": "ann"}})
        log_event({"event": "cell_ended", "cell": 2, "state": "failed", "seconds": 1.23456})
        log_attempt(FAILED, 0.5)
        log_end(FAILED, 2.0)
    told = [(record.levelname, record.getMessage(), getattr(record, "step", None)) for record in caplog.records]
    assert told == [
        ("INFO", "run started", None),
        ("INFO", "step started", "cell 2"),
        ("INFO", "output given", None),
        ("INFO", "step finished", "cell 2"),
        ("WARNING", "attempt failed", None),
        ("ERROR", "run failed", None),
    ]
    fields = [vars(record) for record in caplog.records]
    assert (fields[3]["seconds"], fields[4]["pause"], fields[5]["error"]) == (1.235, 0.5, "cell 2: ValueError")
    assert {found["run_id"] for found in fields} == {"r1"} and "ann" not in str(fields)


def test_a_job_that_took_too_long_says_so(caplog: pytest.LogCaptureFixture):
    error = {"type": "TimedOut", "message": "cell 2 took longer than 1 s", "cell": 2}
    log_end(Outcome("failed", "timed_out", error), 1.0)
    found = vars(caplog.records[-1])
    assert (found["reason"], found["error"]) == ("timed_out", "cell 2: cell 2 took longer than 1 s")
