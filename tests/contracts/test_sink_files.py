"""Files as targets: whole or not there, exact or refused, in a directory or alone."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
import re
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from contracts.sinks import failing, streamed, table

import datapipe
from datapipe.data.stream import Stream, Workspace, scratch_directory
from datapipe.data.types import CARRIERS, INTERVAL, TIMESTAMPTZ
from datapipe.engine import RunOptions, run_plan
from datapipe.errors import DataError, FatalError, PlanError, SchemaError
from datapipe.persistence import Loaded, describe_write, write
from datapipe.plan import FileTarget, build

USERS = table(id=[1, None, 3], name=["ann", "", None])
FORMATS = pytest.mark.parametrize("ending", ["parquet", "csv", "json", "jsonl"])
ERRORS = [ValueError("why"), DataError("why"), OSError("why"), KeyboardInterrupt()]


def put(data: pa.Table | Stream, path: Path, strategy: str = "replace", run_id: str | None = None) -> Loaded:
    stream = data if isinstance(data, Stream) else streamed(data, rows=2)
    with scratch_directory() as scratch:
        work = Workspace(scratch=scratch) if run_id is None else Workspace(scratch=scratch, run_id=run_id)
        return write(build(FileTarget, {"path": str(path), "strategy": strategy}), stream, work)


def found(path: Path) -> list[tuple[Any, ...]]:
    """The rows of a file, as a reader of that format that knows nothing of datapipe finds them."""
    if path.suffix == ".parquet":
        return [tuple(row.values()) for row in pq.read_table(path).to_pylist()]
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".csv":
        return [tuple(row) for row in csv.reader(text.splitlines(keepends=True))][1:]
    rows = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    return [tuple(row.values()) for row in rows]


@FORMATS
def test_a_file_is_written_whole_and_again(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "new folder" / f"users.{ending}"
    first, second = put(USERS, path), put(USERS, path)
    assert (first.rows, first.created, second.created) == (3, True, False)
    assert found(path) == {
        "csv": [("1", "ann"), ("", ""), ("3", "")],
    }.get(ending, [(1, "ann"), (None, ""), (3, None)])
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_csv_tells_an_empty_text_from_null(tmp_path: Path) -> None:
    put(table(v=["", None, 'say "hi"', "a,b", "two\nlines"]), tmp_path / "a.csv")
    expected = '"v"\n""\n\n"say ""hi"""\n"a,b"\n"two\nlines"\n'
    assert (tmp_path / "a.csv").read_bytes().decode() == expected


@FORMATS
def test_an_empty_source_makes_a_file_with_its_columns(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"empty.{ending}"
    assert put(USERS.slice(0, 0), path).rows == 0
    if ending == "parquet":
        assert pq.read_schema(path).types == USERS.schema.types
    elif ending == "csv":
        assert path.read_text() == '"id","name"\n'
    else:
        assert found(path) == []


def test_parquet_keeps_every_type_and_value(tmp_path: Path) -> None:
    types = [carrier.arrow for carrier in CARRIERS if carrier.arrow != INTERVAL]
    samples = {pa.float64(): math.inf, pa.string(): "é\0", pa.binary(): b"\x00\xff", pa.uuid(): uuid.UUID(int=5)}
    samples |= {TIMESTAMPTZ: dt.datetime(1, 1, 1, tzinfo=dt.UTC), pa.uint64(): 2**64 - 1, pa.date32(): dt.date(1, 1, 1)}
    data = pa.table({str(t): pa.array([samples.get(t), None], t) for t in [*types, pa.decimal128(38, 10)]})
    put(data, tmp_path / "all.parquet")
    back = pq.read_table(tmp_path / "all.parquet")
    assert back.schema.equals(data.schema)
    assert back.to_pylist() == data.to_pylist()


REFUSED: list[tuple[str, pa.Array]] = [
    ("parquet", pa.array([pa.MonthDayNano([1, 2, 3])], INTERVAL)),
    ("csv", pa.array([b"x"])),
    ("csv", pa.array([[1]])),
    ("json", pa.array([b"x"])),
    ("jsonl", pa.array([[b"x"]])),
]


@pytest.mark.parametrize(("ending", "values"), REFUSED, ids=lambda value: str(getattr(value, "type", value)))
def test_a_type_the_format_has_not_is_refused(tmp_path: Path, ending: str, values: pa.Array) -> None:
    with pytest.raises(SchemaError, match=r"column 'v'") as caught:
        put(pa.table({"v": values}), tmp_path / f"a.{ending}")
    assert (caught.value.column, caught.value.step) == ("v", "persistence")
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ["json", "jsonl"])
@pytest.mark.parametrize("number", [math.nan, -math.inf])
def test_json_has_no_nan(tmp_path: Path, ending: str, number: float) -> None:
    for rows in (
        [1.0, None, number],
        [[1.0], None, [2.0, number]],
        [[{"a": [1.0]}], [], [{"a": None}, {"a": [number]}]],
    ):
        with pytest.raises(DataError, match=r"column 'v', row 3: JSON cannot write NaN"):
            put(table(v=rows), tmp_path / f"a.{ending}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_json_keeps_every_digit(tmp_path: Path, ending: str) -> None:
    number = Decimal("12345678901234567890.1234567891")
    put(pa.table({"v": pa.array([number], pa.decimal128(38, 10))}), tmp_path / f"a.{ending}")
    assert str(number) in (tmp_path / f"a.{ending}").read_text()


# --- directories --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["parts", "parts.csv"])
def test_append_adds_a_part_to_a_directory(tmp_path: Path, name: str) -> None:
    for _ in range(2):
        assert put(USERS, tmp_path / name, "append").created
    parts = sorted((tmp_path / name).iterdir())
    assert [part.suffix for part in parts] == [".csv" if name.endswith("csv") else ".parquet"] * 2
    assert [len(found(part)) for part in parts] == [3, 3]


@pytest.mark.parametrize("name", ["parts", "parts.csv"])
def test_a_run_that_appends_twice_leaves_one_part_and_two_runs_two(tmp_path: Path, name: str) -> None:
    ending = ".csv" if name.endswith("csv") else ".parquet"
    first = put(USERS, tmp_path / name, "append", "run-1")
    again = put(USERS.slice(0, 2), tmp_path / name, "append", "run-1")
    assert (first.created, again.created, again.rows) == (True, False, 2)
    assert put(USERS, tmp_path / name, "append", "run-2").created
    parts = sorted((tmp_path / name).iterdir())
    assert [part.name for part in parts] == [f"part-run-1{ending}", f"part-run-2{ending}"]
    assert [len(found(part)) for part in parts] == [2, 3]


def test_a_second_attempt_that_fails_leaves_the_part_of_the_first(tmp_path: Path) -> None:
    put(USERS, tmp_path / "parts", "append", "run-1")
    with pytest.raises(ValueError, match="why"):
        put(failing(USERS, ValueError("why")), tmp_path / "parts", "append", "run-1")
    (part,) = (tmp_path / "parts").iterdir()
    assert len(found(part)) == 3


@pytest.mark.parametrize("run_id", ["../up", "a/b", "", "x" * 129, "a\n", "a\0", "ü", "a b", "*"], ids=repr)
def test_no_run_id_leads_out_of_the_directory(tmp_path: Path, run_id: str) -> None:
    for id_ in (run_id, run_id, "a"):
        put(USERS, tmp_path / "parts", "append", id_)
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]
    names = sorted((path.name for path in (tmp_path / "parts").iterdir()), key=len)
    assert names[0] == "part-a.parquet"
    assert [re.fullmatch(r"part-[0-9a-f]{64}\.parquet", name) is not None for name in names] == [False, True]


@pytest.mark.parametrize("ledger", ["on", "off"])
def test_the_part_is_named_by_the_run_with_a_ledger_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ledger: str
) -> None:
    monkeypatch.setenv("DATAPIPE_LEDGER", ledger)
    plan = datapipe.read(USERS).write(str(tmp_path / "parts"), strategy="append").plan
    for run_id in ("run-1", "run-1", "run-2"):
        run_plan(plan, RunOptions(run_id=run_id))
    assert sorted(path.stem for path in (tmp_path / "parts").iterdir()) == ["part-run-1", "part-run-2"]


def test_append_to_a_file_and_replace_of_a_directory_are_refused(tmp_path: Path) -> None:
    put(USERS, tmp_path / "a.csv")
    put(USERS, tmp_path / "b.csv", "append")
    with pytest.raises(PlanError, match="is a file"):
        put(USERS, tmp_path / "a.csv", "append")
    with pytest.raises(PlanError, match="is a directory"):
        put(USERS, tmp_path / "b.csv", "replace")


@pytest.mark.parametrize("ending", ["xlsx", "parquett", "gz"])
def test_an_unknown_ending_is_refused(tmp_path: Path, ending: str) -> None:
    with pytest.raises(PlanError, match=rf"no format is known for '\.{ending}'.*parquet"):
        put(USERS, tmp_path / f"a.{ending}")
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FatalError, match=r"cannot write '.*file/a\.csv'") as caught:
        put(USERS, tmp_path / "file" / "a.csv")
    assert caught.value.hint


# --- failures -----------------------------------------------------------------------------------------------


@FORMATS
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_of_the_source_comes_out_and_the_old_file_stays(
    tmp_path: Path, ending: str, error: BaseException
) -> None:
    path = tmp_path / f"a.{ending}"
    put(USERS, path)
    before = path.read_bytes()
    with pytest.raises(type(error)) as caught:
        put(failing(USERS, error), path)
    assert caught.value is error
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@FORMATS
def test_a_failed_append_leaves_no_part_and_no_directory(tmp_path: Path, ending: str) -> None:
    with pytest.raises(ValueError, match="why"):
        put(failing(USERS, ValueError("why")), tmp_path / f"parts.{ending}", "append")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ['it\'s "odd".csv', "ü 表.jsonl", "a;b--c.json", "%s {x}.parquet"])
def test_paths_and_columns_are_taken_literally(tmp_path: Path, name: str) -> None:
    data = pa.table({"it's": [1], "ü 表": [2], "a,b": [3]})
    put(data, tmp_path / name)
    assert [tuple(map(int, row)) for row in found(tmp_path / name)] == [(1, 2, 3)]


def test_looking_at_a_write_changes_nothing(tmp_path: Path) -> None:
    target = build(FileTarget, {"path": str(tmp_path / "new" / "a.csv")})
    assert "a.csv" in describe_write(target, USERS.schema, Workspace())[0]
    assert list(tmp_path.iterdir()) == []
