"""What a notebook gives from within its kernel: values and frames, as they travel."""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapipe.errors import PlanError
from datapipe.notebooks import outputs
from datapipe.notebooks.outputs import FOLDER, MIME, output


class Mode(enum.Enum):
    FULL = 1


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is displayed, as in a kernel."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(outputs, "shell_of_kernel", object)
    monkeypatch.setattr("IPython.display.display", lambda data, **_: found.append(data))
    return found


def test_in_a_script_a_value_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    output("rows", 842)
    output("frame", pd.DataFrame({"a": [1, 2]}))
    assert capsys.readouterr().out == "rows = 842\nframe = 2 rows × 1 column\n"  # noqa: RUF001  # rows by columns


def test_in_a_kernel_it_is_shown_to_people_and_to_whoever_runs_it(shown: list[dict[str, Any]]) -> None:
    output("text", "<b>&\n" + "x" * 200)
    (found,) = shown
    assert found[MIME]["name"] == "text" and found[MIME]["value"].startswith("<b>&\n")
    assert found["text/html"].startswith("<div><b>text</b> = &lt;b&gt;&amp; xxx") and found["text/plain"].startswith(
        "text = <b>& x"
    )
    assert len(found["text/plain"]) < 140 and found["text/plain"].endswith("…")


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (np.int64(5), 5),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.datetime64("2024-01-01T00:00:00", "us"), {"type": "datetime", "value": "2024-01-01T00:00:00"}),
        (pd.Timestamp("2024-01-01"), {"type": "datetime", "value": "2024-01-01T00:00:00"}),
        (pd.NaT, None),
        (Path("a/b"), "a/b"),
        ({1: (2, {3})}, {"1": [2, [3]]}),
        (Decimal("1.50"), {"type": "decimal", "value": "1.50"}),
        (float("nan"), {"type": "float", "value": "nan"}),
        (dt.timedelta(seconds=1), {"type": "interval", "value": "1000000"}),
    ],
)
def test_values_as_they_travel(value: Any, encoded: Any, shown: list[dict[str, Any]]) -> None:
    output("x", value)
    assert shown[0][MIME]["value"] == encoded


@pytest.mark.parametrize("value", [object(), pd.Series([1]), {"a": [object()]}, Mode.FULL, range(3), 1j])
def test_what_cannot_travel_is_refused(value: Any) -> None:
    with pytest.raises(PlanError, match=r"the output 'x' is a .*, which cannot travel"):
        output("x", value)


def test_what_is_too_large_is_refused() -> None:
    output("x", "x" * (65_536 - 2))
    with pytest.raises(PlanError, match="the output 'x' has 65,537 bytes as JSON, and 65,536 are the most"):
        output("x", "x" * (65_536 - 1))


@pytest.mark.parametrize("name", ["", "1a", "a b", "a-b", "../a", "a\n", "x" * 101, 5, None])
def test_names_that_are_none(name: Any) -> None:
    with pytest.raises(PlanError, match="an output cannot be called"):
        output(name, 1)


def test_names_may_be_anybodys(capsys: pytest.CaptureFixture[str]) -> None:
    output("größe", 1)
    assert capsys.readouterr().out == "größe = 1\n"


@pytest.mark.parametrize(
    "frame",
    [pd.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [1, 2]}), pa.table({"a": [1, 2]})],
    ids=["pandas", "polars", "arrow"],
)
def test_frames_are_files(
    frame: Any, shown: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    output("rows", frame)
    found = shown[0][MIME]
    content = (tmp_path / "rows.parquet").read_bytes()
    assert (found["rows"], found["columns"], found["file"], found["bytes"]) == (
        2,
        {"a": "int64"},
        "rows.parquet",
        len(content),
    )
    assert found["sha256"] == hashlib.sha256(content).hexdigest()
    assert pq.read_table(tmp_path / "rows.parquet")["a"].to_pylist() == [1, 2]


def test_a_frame_no_file_can_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with pytest.raises(PlanError, match="the output 'mixed'"):
        output("mixed", pd.DataFrame({"a": [1, "x", object()]}))
