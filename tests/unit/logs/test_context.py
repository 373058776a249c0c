"""Ids are where they were bound, and nowhere else."""

from __future__ import annotations

import decimal
import logging
import threading

import pytest

from datapipe.logs import bound, carried, ids, logger, of_run, session_name


def in_a_thread(call):
    found = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def test_a_thread_has_the_ids_that_are_carried_there_and_nothing_else():
    with bound(run_id="r1"), decimal.localcontext(prec=3):
        assert in_a_thread(ids) == {}
        assert in_a_thread(carried(ids)) == {"run_id": "r1"}
        assert in_a_thread(carried(lambda: decimal.getcontext().prec)) != 3


def test_none_takes_an_id_away_until_the_end_of_the_block():
    with bound(step="ingestion"):
        with bound(step=None):
            assert ids() == {}
        assert ids() == {"step": "ingestion"}


def test_a_worker_says_whose_pipeline_a_run_is_and_a_run_inside_is_not_of_it():
    with bound(run_id="r1", pipeline_id="daily"), of_run("r1", "c1"):
        assert ids()["pipeline_id"] == "daily"
        with of_run("r2", "c1", "r1"):
            assert (ids()["pipeline_id"], ids()["parent_run_id"]) == ("r2", "r1")


def test_a_kernel_has_the_ids_of_its_job(monkeypatch: pytest.MonkeyPatch):
    for name, value in {"PARENT_RUN_ID": "job", "CORRELATION_ID": "c1", "PIPELINE_ID": "daily"}.items():
        monkeypatch.setenv(f"DATAPIPE_{name}", value)
    assert ids() == {"run_id": "job", "correlation_id": "c1", "pipeline_id": "daily"}
    with of_run("inside", "c1", "job"):
        assert ids()["run_id"] == "inside"


def test_records_have_the_ids_for_any_formatter_and_their_own_fields_stay(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO), of_run("r1", "c1"), bound(message="no", name="no"):
        logger("datapipe.test").info("%d rows", 3, extra={"queue": "q"})
    found = vars(caplog.records[-1])
    assert (found["message"], found["name"]) == ("3 rows", "datapipe.test")
    assert (found["run_id"], found["correlation_id"], found["queue"]) == ("r1", "c1", "q")


@pytest.mark.parametrize(
    ("run", "correlation", "name"),
    [
        ("7d7d5f5c-8a5f", "7d7d5f5c-8a5f", "datapipe 7d7d5f5c-8a5f"),
        ("7d7d5f5c-8a5f", "order-17", "datapipe 7d7d5f5c order-17"),
        ("7d7d5f5c-8a5f", "a'b\\c%d\n\N{SNOWMAN}", "datapipe 7d7d5f5c a?b?c?d??"),
        ("r", "x" * 100, "datapipe r " + "x" * 52),
    ],
)
def test_a_session_has_a_name_that_needs_no_quotes_and_is_not_cut(run: str, correlation: str, name: str):
    with of_run(run, correlation):
        assert session_name(63) == name
