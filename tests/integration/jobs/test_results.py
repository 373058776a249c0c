"""What a notebook is given arrives as it was declared, and what it gives comes back as it was."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from jobside import Ended, ended, processes_within, sound
from notebookfiles import write_notebook

import datapipe
from datapipe.engine import FrameOutput
from datapipe.errors import DataError, PlanError

pytestmark = pytest.mark.soak  # a minute of a processor

NAME = "a {b} ü nö"
DECLARED = """
# parameters
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Literal

class Mode(Enum):
    FULL = "full"
    FAST = "fast"

count: int
ratio: float
name: str
yes: bool
day: date
at: datetime
span: timedelta
price: Decimal
file: Path
kind: Literal["a", "b"]
mode: Mode = Mode.FULL
maybe: int | None = None
days: list[date]
rates: dict[str, float]
left: str = "as it was"
"""
GIVEN: dict[str, Any] = {
    "count": 2**63,
    "ratio": 0.1,
    "name": 'it\'s a "{name}"\n\\ ü 🎉 {} %s',
    "yes": True,
    "day": dt.date(2013, 5, 1),
    "at": dt.datetime(2013, 5, 1, 12, 30, 0, 5, tzinfo=dt.UTC),
    "span": dt.timedelta(days=1, microseconds=1),
    "price": Decimal("1234567890.12345678901234567890"),
    "file": Path("some folder/file.csv"),
    "kind": "b",
    "mode": "fast",
    "maybe": 7,
    "days": [dt.date(2024, 2, 29), dt.date(2013, 1, 1)],
    "rates": {"a b": 1e300, "c'": -0.5},
}
CHECKED = """
import datetime as dt
from decimal import Decimal
assert (count, ratio, yes, kind, maybe, left) == (2**63, 0.1, True, "b", 7, "as it was")
assert name == 'it\\'s a "{name}"\\n\\\\ ü 🎉 {} %s', name
assert type(day) is dt.date and day == dt.date(2013, 5, 1)
assert at == dt.datetime(2013, 5, 1, 12, 30, 0, 5, tzinfo=dt.UTC) and at.tzinfo is not None
assert span == dt.timedelta(days=1, microseconds=1)
assert isinstance(price, Decimal) and str(price) == "1234567890.12345678901234567890"
assert file == Path("some folder/file.csv") and mode is Mode.FAST
assert days == [dt.date(2024, 2, 29), dt.date(2013, 1, 1)] and rates == {"a b": 1e300, "c'": -0.5}
"""
SURROUNDINGS = """
import os, subprocess, threading, time
from pathlib import Path
from datapipe.surroundings import surroundings
datapipe.output("here", str(Path.cwd()))
datapipe.output("from_dotenv", os.environ.get("FROM_DOTENV"))
datapipe.output("session", os.environ.get("JPY_SESSION_NAME"))
datapipe.output("surroundings", surroundings())
threading.Thread(target=time.sleep, args=(300,), name="my own").start()
beside = subprocess.Popen(["sleep", "300"])
"""
GIVES = """
import datapipe
import pandas as pd, polars as pl, pyarrow as pa
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID
import numpy as np
given = {
    "n": 2**70, "x": 0.1, "yes": True, "nothing": None, "text": "ü <b>&", "day": date(2013, 5, 1),
    "at": datetime(2013, 5, 1, 1, tzinfo=timezone.utc), "span": timedelta(seconds=1.5), "price": Decimal("1.50"),
    "id": UUID(int=1), "raw": b"\\x00\\xff", "many": [1, [2.5, None], {"a": date(2013, 5, 1)}], "np": np.int64(5),
    "stamp": pd.Timestamp("2013-05-01"),
}
for name, value in given.items():
    datapipe.output(name, value)
datapipe.output("twice", 1)
datapipe.output("twice", "again")
frame = pd.DataFrame({"a": [1, None], "ä b": ["x", None]}, index=pd.Index([5, 6], name="id"))
datapipe.output("pandas", frame)
datapipe.output("polars", pl.DataFrame({"a": [1, 2], "t": [date(2013, 5, 1), None]}))
datapipe.output("arrow", pa.table({"d": pa.array([Decimal("1.50")], pa.decimal128(9, 2))}))
datapipe.output("grows", pd.DataFrame({"a": [1]}))
datapipe.output("grows", pd.DataFrame({"a": [1, 2, 3]}))
refused = {}
for name, value in {"large": "x" * 70_000, "no name": 1, "a_set_of_objects": object()}.items():
    try:
        datapipe.output(name, value)
    except datapipe.DatapipeError as error:
        refused[name] = str(error)
datapipe.output("refused", refused)
"""
CARD = """
plan = datapipe.read(pd.DataFrame({"a": [1, 2]})).write("t", to="sqlite:///made.db")
plan
"""
RUNS = "plan.run()"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """One notebook that is given and gives everything."""
    base = tmp_path_factory.mktemp("results")
    folder, caller = base / NAME, base / "caller"
    folder.mkdir()
    caller.mkdir()
    (caller / ".env").write_text("FROM_DOTENV=it is there\n")
    path = write_notebook(folder / f"{NAME}.ipynb", DECLARED, CHECKED, GIVES, CARD, RUNS, SURROUNDINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATAPIPE_METADATA_URL", raising=False)
        patch.setenv("DATAPIPE_HOME", str(base / "home"))
        patch.setenv("JPY_SESSION_NAME", "/somewhere/else.ipynb")
        patch.chdir(caller)
        yield sound(ended(datapipe.notebook(path, GIVEN)))


def test_parameters_arrive_as_they_were_declared(run: Ended) -> None:
    assert run.error is None
    assert run.kept("run.json")["parameters"] == run.kept("notebook.ipynb")["metadata"]["papermill"]["parameters"]
    assert json.loads(json.dumps(run.result.parameters["price"])) in (
        "1234567890.12345678901234567890",
        {"type": "decimal", "value": "1234567890.12345678901234567890"},
    )


def test_values_come_back_as_they_were(run: Ended) -> None:
    from uuid import UUID

    found = run.result.outputs
    expected = {
        "n": 2**70, "x": 0.1, "yes": True, "nothing": None, "text": "ü <b>&", "day": dt.date(2013, 5, 1),
        "at": dt.datetime(2013, 5, 1, 1, tzinfo=dt.UTC), "span": dt.timedelta(seconds=1.5), "price": Decimal("1.50"),
        "id": UUID(int=1), "raw": b"\x00\xff", "many": [1, [2.5, None], {"a": dt.date(2013, 5, 1)}], "np": 5,
        "stamp": dt.datetime(2013, 5, 1), "twice": "again",
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert {name: type(found[name]) for name in expected} == {name: type(value) for name, value in expected.items()}
    recorded = datapipe.attach(run.result.run_id).result().outputs
    assert {name: recorded[name] for name in expected} == expected, "from the record"


def test_frames_come_back_as_they_were(run: Ended) -> None:
    found = run.result.outputs
    frame = pd.DataFrame({"a": [1, None], "ä b": ["x", None]}, index=pd.Index([5, 6], name="id"))
    pd.testing.assert_frame_equal(found["pandas"].read(), frame, check_dtype=False)
    other = found["polars"].read()
    assert pl.from_pandas(other)["a"].to_list() == [1, 2] and list(other["t"]) == [dt.date(2013, 5, 1), None]
    assert list(found["arrow"].read()["d"]) == [Decimal("1.50")]
    assert found["arrow"].columns == {"d": str(pa.decimal128(9, 2))}
    grows = found["grows"]
    assert isinstance(grows, FrameOutput) and (grows.rows, list(grows.read()["a"])) == (3, [1, 2, 3])
    assert Path(grows.uri).parent == run.folder / "outputs" and Path(grows.uri).stat().st_size == grows.bytes
    content = Path(grows.uri).read_bytes()
    Path(grows.uri).write_bytes(content[:-1] + b"?")
    with pytest.raises(DataError):
        grows.read()
    Path(grows.uri).write_bytes(content)


def test_what_is_no_output_is_refused_with_a_sentence(run: Ended) -> None:
    refused = run.result.outputs["refused"]
    assert refused["large"].startswith(
        "the output 'large' has 70,002 bytes as JSON, and 65,536 are the most. Give a DataFrame"
    )
    assert "an output cannot be called 'no name'" in refused["no name"]
    assert "is a object, which cannot travel" in refused["a_set_of_objects"]


def test_it_works_where_it_is_with_the_environment_of_whoever_runs_it(run: Ended) -> None:
    found = run.result.outputs
    assert Path(found["here"]).name == NAME
    assert (found["from_dotenv"], found["session"], found["surroundings"]) == ("it is there", None, "headless")


def test_what_is_left_at_work_is_noted_and_ended(run: Ended) -> None:
    assert "threads of the notebook were stopped with its kernel: 'my own'" in run.result.notices
    assert "my own" in run.log
    assert processes_within(run.result.run_id) == []


def test_cards_within_are_plain(run: Ended) -> None:
    notebook = run.kept("notebook.ipynb")
    assert "widgets" not in notebook["metadata"]
    shown = [
        output["data"]
        for cell in notebook["cells"]
        for output in cell.get("outputs", ())
        if output["output_type"] in {"display_data", "execute_result"}
    ]
    assert {name for data in shown for name in data if "widget" in name} == set()
    cards = [data for data in shown if "datapipe.output" not in "".join(data) and "text/html" in data]
    assert len(cards) >= 2 and all("text/plain" in data for data in cards)
    page = run.kept("notebook.html")
    assert page.count("made.db") >= 1 and "SUCCEEDED" in page.upper()


def test_the_folder_is_named_so_that_every_system_takes_it(run: Ended) -> None:
    assert run.folder.parents[2].name == "a__b__ü_nö" and run.row.name == NAME


def test_without_a_record_it_runs_all_the_same(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_METADATA_URL", "off")
    path = write_notebook(home / "off.ipynb", "import datapipe\ndatapipe.output('x', 1)")
    result = datapipe.notebook(path).run()
    assert (result.state, result.outputs, result.cells[0].state) == ("succeeded", {"x": 1}, "done")
    assert Path(result.artifacts, "notebook.html").is_file() and not (home / "runs.db").exists()
    with pytest.raises(
        PlanError, match="the key of a notebook's run is kept in the record of runs, which there is none of"
    ):
        datapipe.notebook(path).run(idempotency_key="k")
    with pytest.raises(PlanError, match="a run in the background is known by its record"):
        datapipe.notebook(path).run(background=True)


def test_a_folder_that_takes_no_artifacts_is_told_before_anything_runs(home: Path) -> None:
    (home / "file").write_text("no folder")
    path = write_notebook(home / "kept.ipynb", "open('ran', 'w').close()")
    run = ended(datapipe.notebook(path, artifacts=home / "file" / "x", retries=2))
    assert str(home / "file" / "x") in str(run.error) and "DATAPIPE_ARTIFACTS_URL" in str(run.error), run.error
    assert (run.result.attempts, run.result.reason, (home / "ran").exists()) == (1, None, False)
    assert run.row.state == "failed"
