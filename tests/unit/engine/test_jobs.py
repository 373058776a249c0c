"""The result of a notebook's run as a value, and the runs that belong to a run."""

from __future__ import annotations

import datetime as dt
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapipe.engine import CellResult, FrameOutput, NotebookResult, RunOptions
from datapipe.engine.nested import Lineage, lineage, nested, next_key
from datapipe.errors import DataError
from datapipe.notebooks.outputs import _value as shown_value
from datapipe.notebooks.running import _value
from datapipe.plan import FrameSource, Plan, TableTarget
from datapipe.reading import read

FRAME = FrameOutput("/kept/rows.parquet", 3, 100, {"a": "int64"}, "0" * 64)
RESULT = NotebookResult(
    "r",
    "c",
    "failed",
    "nb/daily.ipynb",
    "daily",
    reason="timed_out",
    parameters={"day": "2013-05-01"},
    outputs={"rows": 5, "frame": FRAME, "day": dt.date(2013, 5, 1), "many": [1, {"a": [None]}]},
    cells=(CellResult(2, "Load", "done", 1.5, 1), CellResult(3, "Fail", "failed", 0.1, 2), CellResult(4, "Never")),
    pipelines=("p1", "p2"),
    artifacts="/kept/1",
    hash="h",
    seconds=2.5,
    started="2026-11-26T00:00:00.000+00:00",
    attempts=2,
    error="cell 3 (Fail): no",
    notices=("note",),
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC))
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.binary()
)
NAMES = st.text(max_size=5) | st.sampled_from(["type", "value", "uri", "rows", "columns"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)


def test_it_travels_as_json() -> None:
    travelled = NotebookResult.from_dict(json.loads(json.dumps(RESULT.to_dict())))
    assert travelled == RESULT and isinstance(travelled.outputs["frame"], FrameOutput)


def test_one_of_another_version_is_read() -> None:
    found = {**RESULT.to_dict(), "unheard_of": 1}
    del found["notices"]
    assert NotebookResult.from_dict(found).notices == ()


@given(VALUES)
def test_an_output_comes_back_as_it_was(value: Any) -> None:
    shown = json.loads(json.dumps(shown_value("x", value)))
    assert _value(shown) == value, "from the kernel"
    result = NotebookResult("r", "r", "succeeded", "a", "a", outputs={"x": value})
    found = NotebookResult.from_dict(json.loads(json.dumps(result.to_dict()))).outputs["x"]
    assert found == value and type(found) is type(value), "from the record"


@pytest.mark.parametrize(
    "value", [{"type": "bar", "value": 3}, {"type": "decimal", "value": "1"}, {"type": "datapipe.frame", "value": {}}]
)
def test_a_dict_that_looks_like_ours_is_the_users(value: Any) -> None:
    result = NotebookResult("r", "r", "succeeded", "a", "a", outputs={"x": value})
    assert _value(json.loads(json.dumps(shown_value("x", value)))) == value
    assert NotebookResult.from_dict(json.loads(json.dumps(result.to_dict()))).outputs["x"] == value


def test_a_frame_says_where_it_is() -> None:
    assert str(FRAME).startswith("3 rows ") and str(FRAME).endswith(" 1 column in /kept/rows.parquet")


def test_it_says_in_a_few_lines_what_it_did() -> None:
    assert str(RESULT).splitlines() == [
        "failed (timed_out): 1 of 3 cells of nb/daily.ipynb in 2.50 s",
        "rows = 5",
        f"frame = {FRAME}",
        "day = 2013-05-01",
        "many = [1, {'a': [None]}]",
        "note: note",
        "kept in /kept/1",
    ]
    assert repr(RESULT).startswith("<run r: failed") and RESULT._repr_html_().startswith("<pre>")


def test_a_frame_that_is_gone_or_another_is_told(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    found = FrameOutput(str(file), 1, 1, {}, "0" * 64)
    with pytest.raises(DataError, match=r"rows\.parquet is not there any more. Run the notebook again"):
        found.read()
    pd.DataFrame({"a": [1]}).to_parquet(file)
    with pytest.raises(DataError, match=r"rows\.parquet is not the file that the notebook has left"):
        found.read()


# --- runs within runs -----------------------------------------------------------------------------------------------


@pytest.fixture
def within(monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment of a job's kernel; each test has a job of its own, for this process counts."""
    key = uuid4().hex
    names = {"PARENT_RUN_ID": "outer", "CORRELATION_ID": "all", "JOB_KEY": key, "JOB_PROCESS": str(os.getpid())}
    for name, value in names.items():
        monkeypatch.setenv(f"DATAPIPE_{name}", value)
    return key


def plan(table: str = "t") -> Plan:
    return read(pd.DataFrame({"a": [1]})).write(table, to="sqlite:///a.db").plan


def test_what_the_environment_says(within: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lineage() == Lineage("outer", "all", within)
    monkeypatch.setenv("DATAPIPE_JOB_KEY", "")
    assert lineage().key is None


def test_outside_of_a_job_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATAPIPE_PARENT_RUN_ID", "DATAPIPE_CORRELATION_ID", "DATAPIPE_JOB_KEY"):
        monkeypatch.delenv(name, raising=False)
    options = RunOptions()
    assert lineage() == Lineage()
    with nested(options, plan()) as found, next_key("f") as key:
        assert found is options and key is None


def begun(options: RunOptions, one: Plan) -> RunOptions:
    """The options of a run that ends well."""
    with nested(options, one) as found:
        return found


def test_loads_have_keys_of_the_job_the_plan_and_the_turn(within: str) -> None:
    one, other = plan(), plan("other")
    first, second, third = (begun(RunOptions(), found) for found in (one, one, other))
    assert (first.parent_run_id, first.correlation_id, first.derived_key) == ("outer", "all", True)
    assert first.idempotency_key == f"{within}/{one.fingerprint}/1"
    assert second.idempotency_key == f"{within}/{one.fingerprint}/2"
    assert third.idempotency_key == f"{within}/{other.fingerprint}/1"


def test_a_key_whose_run_fails_is_free_again(within: str) -> None:
    with next_key("f") as first, pytest.raises(KeyboardInterrupt), next_key("f") as second:
        assert (first, second) == (f"{within}/f/1", f"{within}/f/2")
        raise KeyboardInterrupt
    with next_key("f") as third, next_key("f") as fourth:
        assert (third, fourth) == (f"{within}/f/2", f"{within}/f/3")
    with pytest.raises(ValueError, match="no"), nested(RunOptions(), plan()):
        raise ValueError("no")
    assert str(begun(RunOptions(), plan()).idempotency_key).endswith("/1")


def test_a_process_that_the_kernel_has_started_has_no_key(within: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_JOB_PROCESS", str(os.getppid()))
    found = begun(RunOptions(), plan())
    assert (found.parent_run_id, found.idempotency_key, found.derived_key) == ("outer", None, False)
    monkeypatch.delenv("DATAPIPE_JOB_PROCESS")
    with next_key("f") as key:
        assert key is None


def test_what_a_run_has_of_its_own_stays(within: str) -> None:
    options = RunOptions(idempotency_key="mine", parent_run_id="p", correlation_id="c")
    assert begun(options, plan()) == options


def test_what_has_no_ledger_gets_no_key(within: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = Plan(ingestion=FrameSource(frame=pd.DataFrame({"a": [1]})))
    assert begun(RunOptions(), frame).idempotency_key is None
    monkeypatch.setenv("DATAPIPE_LEDGER", "off")
    assert begun(RunOptions(), plan()).idempotency_key is None
    assert isinstance(plan().persistence, TableTarget)


def test_decimals_and_times_keep_their_types() -> None:
    value = {"a": Decimal("1.50"), "b": dt.datetime(2024, 1, 1, tzinfo=dt.UTC)}
    result = NotebookResult("r", "r", "succeeded", "a", "a", outputs=value)
    found = NotebookResult.from_dict(json.loads(json.dumps(result.to_dict()))).outputs
    assert str(found["a"]) == "1.50" and found["b"].tzinfo is not None
