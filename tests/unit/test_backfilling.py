"""How a range is cut into slices, and what is refused."""

from __future__ import annotations

import datetime as dt
import itertools
import signal
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from notebookfiles import write_notebook

import datapipe
from datapipe.backfilling import Backfill
from datapipe.errors import PlanError, TransientError
from datapipe.notebooks.job import NotebookJob
from datapipe.pipeline import Pipeline
from datapipe.slices import Slice, slices

DAY = dt.date(2024, 1, 1)


@pytest.mark.parametrize(
    ("start", "until", "every", "edges"),
    [
        ("2024-01-01", "2024-01-03", "1 day", ["2024-01-01", "2024-01-02", "2024-01-03"]),
        (DAY, DAY + dt.timedelta(days=3), dt.timedelta(days=2), ["2024-01-01", "2024-01-03", "2024-01-04"]),
        (DAY, "2024-01-02", "12h", ["2024-01-01 00:00:00", "2024-01-01 12:00:00", "2024-01-02 00:00:00"]),
        ("2024-01-31", "2024-03-31", "1 month", ["2024-01-31", "2024-02-29", "2024-03-31"]),
        ("2024-02-29", "2026-01-01", "1 year", ["2024-02-29", "2025-02-28", "2026-01-01"]),
        (
            "2024-01-01T00:00+00:00",
            "2024-01-01T01:30+00:00",
            "1h",
            [f"2024-01-01 0{h}:00+00:00" for h in ("0:00", "1:00", "1:30")],
        ),
        (0, 10, 4, ["0", "4", "8", "10"]),
        ("0.5", "1.5", "0.5", ["0.5", "1.0", "1.5"]),
    ],
)
def test_a_range_is_cut(start: Any, until: Any, every: Any, edges: list[str]) -> None:
    found = slices(start, until, every)
    assert [str(each.start) for each in found] + [str(found[-1].until)] == edges
    assert all(one.until == other.start for one, other in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("start", "until", "every", "message"),
    [
        ("soon", 5, 1, "no value of a cursor"),
        (5, 1, 1, "there is nothing from 5 to 1"),
        (1, 5, 0, "lead nowhere"),
        (1, 5, -1, "lead nowhere"),
        (1, 5, "1 day", "do not go together"),
        (1, 5, "1 month", "do not go together"),
        (DAY, 5, "1 day", "do not go together"),
        (DAY, DAY + dt.timedelta(days=2), "1 fortnight", "no length of time"),
        (0, 10**9, 1, "more than 100,000 slices"),
        (Decimal(0), DAY, 1, "do not go together"),
    ],
)
def test_what_cannot_be_cut(start: Any, until: Any, every: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        slices(start, until, every)


def test_only_an_incremental_plan_with_a_table_is_loaded_in_slices() -> None:
    read = datapipe.read("t", source="sqlite:///crm.db")
    with pytest.raises(PlanError, match="only an incremental plan"):
        datapipe.backfill(read.write("copy", to="sqlite:///crm.db"), 1, 2, every=1)
    read = datapipe.read("t", source="sqlite:///crm.db", incremental="id")
    with pytest.raises(PlanError, match="into a table"):
        datapipe.backfill(read, 1, 2, every=1)
    read = datapipe.read("inbox/*.csv", incremental=True)
    with pytest.raises(PlanError, match=r"files are not cut into slices.*by a pattern"):
        datapipe.backfill(read.write("copy", to="sqlite:///crm.db"), 1, 2, every=1)


def job(folder: Path, parameters: str) -> NotebookJob:
    return datapipe.notebook(write_notebook(folder / "daily.ipynb", f"# parameters\n{parameters}", "print(day)"))


@pytest.mark.parametrize(
    ("parameters", "more", "message"),
    [
        ("day: int", {}, "daily.ipynb has no parameter start and no until"),
        ("day = 1", {"into": ("day", "night")}, "has no parameter night"),
        ("day = 1", {"into": ("day", "day")}, "into names the parameter for a slice's start"),
        ("day = 1", {"into": ()}, "into names the parameter for a slice's start"),
        ("day = 1", {"into": "day"}, "parameter 'day' takes int, not the text '2024-01-01'"),
        ("from datetime import date\nday: date", {"into": "day", "every": "6h"}, "takes date, not the text"),
        ("day = 'x'\nleast: int", {"into": "day"}, "needs least"),
        ("day = 'x'", {"into": "day", "memory": "much"}, "memory"),
    ],
)
def test_a_notebook_that_cannot_take_the_slices_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameters: str, more: dict[str, Any], message: str
) -> None:
    monkeypatch.delenv("DATAPIPE_METADATA_URL")
    monkeypatch.setenv("DATAPIPE_HOME", str(tmp_path / "home"))
    with pytest.raises(PlanError, match=message):
        datapipe.backfill(job(tmp_path, parameters), DAY, "2024-01-03", **{"every": "1 day", **more})
    assert list(datapipe.runs()) == []


def test_days_kept_as_text_are_cut_and_a_slice_that_fails_leaves_no_lock(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'crm.db'}"
    with closing(sqlite3.connect(tmp_path / "crm.db", isolation_level=None)) as raw:
        raw.execute("CREATE TABLE t (id INT, at TEXT)")
        raw.execute("INSERT INTO t VALUES (1, '2024-01-01'), (2, '2024-01-02T09:30'), (3, '2024-01-03')")
        plan = datapipe.read("t", source=url, incremental="at").write("copy", to=url)
        failed = datapipe.backfill(plan, 1, 3, every=1, tell=lambda _: None)
        assert [each.state for each in failed.slices] == ["failed", "failed"]
        raw.execute("INSERT INTO t VALUES (4, '2024-01-03 10:00')")  # nobody holds the database
        found = datapipe.backfill(plan, DAY, "2024-01-04", every="1 day", tell=lambda _: None)
        assert [each.rows for each in found.slices] == [1, 1, 2]


def incremental(folder: Path) -> Pipeline:
    url = f"sqlite:///{folder / 'crm.db'}"
    datapipe.read(pd.DataFrame({"id": [1, 2, 3]})).write("t", to=url).run()
    return datapipe.read("t", source=url, incremental="id")


def test_ctrl_c_leaves_the_slices_that_are_loaded_and_says_so(tmp_path: Path) -> None:
    def stopping(frame: pd.DataFrame) -> pd.DataFrame:
        if frame["id"].tolist() == [2]:
            signal.raise_signal(signal.SIGINT)
        return frame

    url = f"sqlite:///{tmp_path / 'crm.db'}"
    plan = incremental(tmp_path).apply(stopping).write("copy", to=url)
    with pytest.raises(KeyboardInterrupt, match=r"interrupted: 1 of 3 slices are loaded\. Called again, it does what"):
        datapipe.backfill(plan, 1, 4, every=1, tell=lambda _: None)
    assert datapipe.read("copy", source=url).collect()["id"].tolist() == [1]


def test_what_is_queued_before_the_broker_goes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []

    def submit(*_: object, **__: object) -> None:
        if sent:
            raise TransientError("the broker cannot be reached", hint="Nothing was queued")
        sent.append(1)

    monkeypatch.setenv("DATAPIPE_METADATA_URL", f"sqlite:///{tmp_path / 'runs.db'}")
    monkeypatch.setattr("datapipe.workers.queue.submit", submit)
    plan = incremental(tmp_path).write("copy", to=f"sqlite:///{tmp_path / 'crm.db'}")
    with pytest.raises(TransientError, match="Slices that are queued, and go on: 1"):
        datapipe.backfill(plan, 1, 4, every=1, workers=True, tell=lambda _: None)


def test_a_path_is_neither_a_plan_nor_a_notebook() -> None:
    with pytest.raises(PlanError, match="a str cannot be loaded in slices"):
        datapipe.backfill("daily.ipynb", 1, 2, every=1)  # type: ignore[arg-type]  # as users may try


def test_a_plan_takes_no_parameters_for_its_slices() -> None:
    plan = datapipe.read("t", source="sqlite:///crm.db", incremental="id").write("copy", to="sqlite:///crm.db")
    with pytest.raises(PlanError, match="into is for notebooks"):
        datapipe.backfill(plan, 1, 2, every=1, into="day")


def test_what_is_told_of_slices() -> None:
    good, bad = Slice(1, 2, "succeeded", 1_000), Slice(2, 3, "failed", error="no")
    assert str(Backfill((good, bad))) == "1 of 2 slices are loaded: 1,000 rows\n2 to 3: failed: no"
