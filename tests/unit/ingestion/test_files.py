from __future__ import annotations

import datetime as dt
import json
import os
import resource
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sourcefiles import read, write

from datapipe.data.stream import Workspace
from datapipe.data.types import TIMESTAMP, TIMESTAMPTZ, tag
from datapipe.errors import DataError, DatapipeError, FatalError, PlanError, SchemaError
from datapipe.ingestion.files import read_files
from datapipe.plan import FileSource

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.none() | TEXT, st.none() | TEXT), min_size=1, max_size=20))
def test_any_text_survives_csv_and_json(rows: list[tuple[str | None, str | None]]) -> None:
    def field(value: str | None) -> str:
        return "" if value is None else '"' + value.replace('"', '""') + '"'

    write("t.csv", "a,b\n" + "".join(f"{field(a)},{field(b)}\n" for a, b in rows))
    write("t.jsonl", "".join(json.dumps({"a": a, "b": b}) + "\n" for a, b in rows))
    expected = [{"a": a, "b": b} for a, b in rows]
    assert read("t.csv", columns={"a": "VARCHAR", "b": "VARCHAR"}).to_pylist() == expected
    assert read("t.jsonl", columns={"a": "VARCHAR", "b": "VARCHAR"}).to_pylist() == expected


def test_parquet_types_become_the_normal_ones() -> None:
    table = pa.table(
        {
            "large": pa.array(["x", None], pa.large_string()),
            "words": pa.array(["x", None]).dictionary_encode(),
            "ns": pa.array([1_000, None], pa.timestamp("ns")),
            "ms": pa.array([1, None], pa.timestamp("ms", "Europe/Berlin")),
            "wide": pa.array([Decimal("1.5"), None], pa.decimal256(30, 2)),
            "items": pa.array([[1], None], pa.large_list(pa.int16())),
            "small": pa.array([1, None], pa.int8()),
            "half": pa.array([1.5, None], pa.float16()),
            "key": pa.array([uuid.UUID(int=5).bytes, None], pa.uuid()),
        }
    )
    pq.write_table(table, "t.parquet")
    found = read("t.parquet")
    types = [
        pa.string(),
        pa.string(),
        TIMESTAMP,
        TIMESTAMPTZ,
        pa.decimal128(30, 2),
        pa.list_(pa.int16()),
        pa.int8(),
        pa.float32(),
        pa.uuid(),
    ]
    assert found.schema.types == types
    first = found.to_pylist()[0]
    assert (first["ns"], first["wide"], first["key"]) == (
        dt.datetime(1970, 1, 1, 0, 0, 0, 1),
        Decimal("1.50"),
        uuid.UUID(int=5),
    )
    assert set(found.to_pylist()[1].values()) == {None}


def test_a_parquet_value_that_would_lose_digits_is_named() -> None:
    pq.write_table(pa.table({"at": pa.array([1_000, 1_001], pa.timestamp("ns"))}), "t.parquet")
    with pytest.raises(DataError, match="column 'at', row 2"):
        read("t.parquet")


def test_a_parquet_file_knows_its_rows_and_streams_them_in_order() -> None:
    rows = 200_000
    pq.write_table(pa.table({"i": range(rows), "s": ["some text"] * rows}), "t.parquet", row_group_size=50_000)
    with read_files(FileSource(files="t.parquet"), Workspace(memory=1 << 24)) as stream:
        assert stream.total == rows
        batches = list(stream.batches)
    assert len(batches) > 10
    assert pa.Table.from_batches(batches).column("i").to_pylist() == list(range(rows))


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ([{"a": [1]}, {"a": ["x"]}], "column 'a' is string in b.parquet and int64 in a.parquet"),
        ([{"a": [1]}, {"b": [1]}], "b.parquet has column 'b' where a.parquet has 'a'"),
        ([{"a": [1]}, {"a": [1], "b": [1]}], "b.parquet has 2 columns and a.parquet has 1"),
    ],
)
def test_parquet_files_of_one_glob_have_one_schema(tables: list[dict[str, Any]], message: str) -> None:
    for name, columns in zip("ab", tables, strict=True):
        pq.write_table(pa.table(columns), f"{name}.parquet")
    with pytest.raises(SchemaError, match=message):
        read("*.parquet")


def test_csv_files_of_one_glob_have_one_header() -> None:
    write("a.csv", "x,y\n1,2\n")
    write("b.csv", "y,x\n1,2\n")
    with pytest.raises(SchemaError, match=r"b\.csv has another header than a\.csv"):
        read("*.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"hello world", "t.parquet is not a Parquet file"), (b"PAR1 broken PAR1", "t.parquet is not a Parquet file")],
)
def test_a_file_that_is_not_parquet_is_named(content: bytes, message: str) -> None:
    write("t.parquet", content)
    with pytest.raises(DataError, match=message):
        read("t.parquet")


def test_a_damaged_parquet_file_is_named() -> None:
    pq.write_table(pa.table({"a": [uuid.uuid4().hex for _ in range(20_000)]}), "t.parquet", compression="none")
    content = bytearray(Path("t.parquet").read_bytes())
    content[1000:300_000] = b"\xff" * 299_000
    write("t.parquet", bytes(content))
    with pytest.raises(DataError, match=r"t\.parquet"):
        read("t.parquet")


def test_two_parquet_columns_of_one_name_are_refused() -> None:
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), "t.parquet")
    with pytest.raises(DataError, match=r"t\.parquet has two columns called 'a'"):
        read("t.parquet")


@pytest.mark.parametrize("name", ["a[1].csv", "it's.csv", "a b.csv", "{x}.csv", "$1.csv", "ü.csv"])
def test_a_file_of_any_name_is_that_file(name: str) -> None:
    write(name, "a\n1\n")
    write("a1.csv", "a\n2\n")
    assert read(name).to_pylist() == [{"a": 1}]


def test_a_star_in_a_name_is_not_a_pattern_for_the_files_found() -> None:
    write("x/*.csv", "a\n1\n")
    write("x/b.csv", "a\n2\n")
    assert read("x/*.csv").to_pylist() == [{"a": 1}]


def test_files_are_read_by_name_and_folders_with_an_equals_sign_add_no_column() -> None:
    for folder in ("year=2024/10", "year=2023/2"):
        write(f"{folder}.csv", f"a\n{folder[-2:].strip('/')}\n")
        write(f"{folder}.jsonl", f'{{"a": "{folder}"}}\n')
    assert read("year=*/*.csv").to_pylist() == [{"a": 2}, {"a": 10}]
    assert read("**/*.jsonl").to_pylist() == [{"a": "year=2023/2"}, {"a": "year=2024/10"}]


def test_a_directory_is_the_files_in_it() -> None:
    for number in (2, 1):
        pq.write_table(pa.table({"a": [number]}), Path(write(f"out/part-{number}.parquet", b"")))
    write("out/README.txt", "not data")
    assert read("out").to_pylist() == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ("uesrs.csv", "there is no file 'uesrs.csv'. Did you mean 'users.csv'"),
        ("*.parquet", "no file matches '*.parquet'"),
        ("empty", "no file matches 'empty'"),
        ("users.txt", "'users.txt' names no format"),
        ("users.*", "are of different formats"),
        ("s3://bucket/users.csv", "is not a path"),
    ],
)
def test_a_wrong_path_is_a_plan_error(files: str, message: str) -> None:
    for name in ("users.csv", "users.json", "users.txt" if "txt" in files else "other/x.txt"):
        write(name, "a\n1\n")
    Path("empty").mkdir()
    with pytest.raises(PlanError) as caught:
        read(files)
    assert message in str(caught.value)


def test_a_stated_format_overrules_the_ending() -> None:
    write("users.txt", "a\n1\n")
    assert read("users.txt", format="csv").to_pylist() == [{"a": 1}]


def test_columns_are_not_declared_for_parquet() -> None:
    pq.write_table(pa.table({"a": [1]}), "t.parquet")
    with pytest.raises(PlanError, match="Parquet files know theirs"):
        read("t.parquet", columns={"a": "INTEGER"})


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_a_cancelled_run_raises(name: str) -> None:
    rows = 100_000
    table = pa.table({"a": range(rows)})
    write("t.csv", "a\n" + "".join(f"{i}\n" for i in range(rows)))
    write("t.jsonl", "".join(f'{{"a": {i}}}\n' for i in range(rows)))
    pq.write_table(table, "t.parquet", row_group_size=1000)
    work = Workspace(memory=1 << 20)
    with read_files(FileSource(files=name), work) as stream:
        next(stream.batches)
        work.cancel.cancel()
        with pytest.raises(DatapipeError, match="cancelled"):
            list(stream.batches)


def test_nothing_is_left_in_the_scratch_directory(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    read(write("t.csv", "a\n1\n"), Workspace(scratch=scratch))
    assert list(scratch.iterdir()) == []


def test_a_folder_may_have_more_parquet_files_than_a_process_may_open() -> None:
    Path("many").mkdir()
    for number in range(80):
        pq.write_table(pa.table({"n": [number]}), f"many/{number:02}.parquet")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(int(name) for name in os.listdir("/proc/self/fd")) + 32  # noqa: PTH208  # names of numbers
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        assert read("many").column("n").to_pylist() == list(range(80))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_parquet_file_that_cannot_be_opened_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"n": [1]}), "a.parquet")

    def refused(*_: Any) -> None:
        raise PermissionError(13, "Permission denied", "a.parquet")

    monkeypatch.setattr(pq, "read_metadata", refused)
    with pytest.raises(FatalError, match=r"a\.parquet cannot be read: Permission denied"):
        read("a.parquet")


def test_parquet_files_may_differ_in_what_they_require() -> None:
    for name, required in (("a", True), ("b", False)):
        schema = pa.schema([pa.field("id", pa.int64(), not required), pa.field("k", pa.int64(), False)])
        pq.write_table(pa.table({"id": [1], "k": [2]}, schema), f"{name}.parquet")
    found = read("*.parquet")
    assert (found.num_rows, [field.nullable for field in found.schema]) == (2, [True, False])


def test_parquet_types_of_other_programs_are_known_before_the_rows() -> None:
    duckdb.execute("COPY (SELECT uuid() AS u, '{}'::JSON AS j) TO 'u.parquet'")
    found = read("u.parquet")
    assert (found.num_rows, found.schema.field("u").type, tag(found.schema.field("j"))) == (1, pa.uuid(), "json")
