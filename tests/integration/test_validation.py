"""A validation among other steps: shown before a run, cancelled in the middle of a check."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import datapipe
from datapipe.display import plan_text
from datapipe.errors import DataError

PEOPLE = pa.table({"id": pa.array([1, 2, 3], pa.int64()), "price": [1.0, -1.0, None]})
CONTRACT = {
    "columns": {
        "id": {"type": "int", "unique": True},
        "price": {"type": "float", "nullable": True, "checks": {"ge": 0}},
    }
}


def test_shown_before_a_run(sqlite_url: str) -> None:
    plan = (
        datapipe.read(PEOPLE)
        .validate(CONTRACT, checks=["AVG(price) > 0"], on_error="quarantine")
        .write("t", to=sqlite_url)
    )
    assert "id int, price float, AVG(price) > 0, on error quarantine" in plan_text(plan.plan)
    assert "on error quarantine" in plan._repr_html_()
    text = str(plan.explain())
    for words in (
        "id: int, unique",
        "price: float, NULL allowed, greater_than_or_equal_to(0)",
        "AVG(price) > 0",
        "on error: quarantine",
    ):
        assert words in text
    assert "2 rows" in str(plan.preview()) or len(plan.preview().frame) == 2
    assert not Path(sqlite_url.partition(":///")[2]).exists()


def test_between_sql_and_functions() -> None:
    found = (
        datapipe.read(PEOPLE)
        .sql("SELECT id, price * 2 AS price FROM input_data")
        .validate(CONTRACT, on_error="drop")
        .apply(lambda frame: frame.assign(more=frame["id"] + 1))
        .validate({"columns": {"more": {"type": "int", "unique": True}}, "strict": "filter"})
        .sql("SELECT sum(more) AS n FROM input_data")
        .collect("arrow")
    )
    assert found.to_pylist() == [{"n": 6}]


def test_counts_of_every_step(sqlite_url: str) -> None:
    result = datapipe.read(PEOPLE).validate(CONTRACT, on_error="drop").write("t", to=sqlite_url).run()
    assert [(step.rows_in, step.rows_out, step.rejected) for step in result.steps[1:]] == [(3, 2, 1), (2, 2, 0)]
    assert (result.rejected, result.rows_written) == (1, 2)


def test_ctrl_c_in_a_slow_check(sqlite_url: str) -> None:
    began = threading.Event()

    def slow(column: pd.Series[Any]) -> Any:
        began.set()
        while True:
            time.sleep(0.01)

    plan = (
        datapipe.read(PEOPLE).validate({"columns": {"id": {"checks": [{"function": slow}]}}}).write("t", to=sqlite_url)
    )

    def interrupt() -> None:
        began.wait(10)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        plan.run()
    thread.join()


def test_a_check_that_raises_leaves_the_target_unchanged(sqlite_url: str) -> None:
    datapipe.read(PEOPLE).write("t", to=sqlite_url).run()

    def breaks(column: pd.Series[Any]) -> Any:
        raise ValueError("no such user")

    rule = {"checks": [{"function": breaks}]}
    with pytest.raises(DataError, match="the check breaks failed: ValueError: no such user"):
        datapipe.read(PEOPLE).validate({"columns": {"id": rule}}).write("t", to=sqlite_url).run()
    assert len(datapipe.read("t", source=sqlite_url).collect()) == 3
