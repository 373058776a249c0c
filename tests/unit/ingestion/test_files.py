from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datapipe.data.stream import Workspace
from datapipe.data.types import TIMESTAMP, TIMESTAMPTZ, tag
from datapipe.errors import DataError, DatapipeError, PlanError, SchemaError
from datapipe.ingestion.files import read_files
from datapipe.ingestion.jsonfiles import merged
from datapipe.plan import FileSource


@pytest.fixture(autouse=True)
def _in_its_own_directory(tmp_path: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(tmp_path)
    yield
    os.chdir(before)


def read(files: str, work: Workspace | None = None, **options: Any) -> pa.Table:
    with read_files(FileSource(files=files, **options), work or Workspace()) as stream:
        return pa.Table.from_batches(list(stream.batches), stream.schema)


def write(name: str, content: str | bytes) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return name


def csv_of(*values: str) -> str:
    """A CSV file of one column; a second one keeps an empty value from being an empty line."""
    return write("t.csv", "a,b\n" + "".join(f"{value},x\n" for value in values))


@pytest.mark.parametrize(
    ("values", "type_", "expected"),
    [
        (["1", "", "-2"], pa.int64(), [1, None, -2]),
        (["9223372036854775807", "1"], pa.int64(), [2**63 - 1, 1]),
        (["007", "10"], pa.string(), ["007", "10"]),
        (["+1", "2"], pa.string(), ["+1", "2"]),
        (["1.50", "2", "-1e-3"], pa.float64(), [1.5, 2.0, -0.001]),
        (["0.30000000000000004", "0.1"], pa.float64(), [0.30000000000000004, 0.1]),
        (["NaN", "1"], pa.string(), ["NaN", "1"]),
        (["true", "False"], pa.bool_(), [True, False]),
        (["true", "1"], pa.string(), ["true", "1"]),
        (["2024-02-29", ""], pa.date32(), [dt.date(2024, 2, 29), None]),
        (["2024-02-30", "2024-01-01"], pa.string(), ["2024-02-30", "2024-01-01"]),
        (["01/02/2024"], pa.string(), ["01/02/2024"]),
        (["10:30:00", "23:59:59.5"], pa.time64("us"), [dt.time(10, 30), dt.time(23, 59, 59, 500_000)]),
        (["24:00:00"], pa.string(), ["24:00:00"]),
        (
            ["2024-01-01 10:00:00", "2024-01-01T10:00:00.5"],
            TIMESTAMP,
            [dt.datetime(2024, 1, 1, 10), dt.datetime(2024, 1, 1, 10, 0, 0, 500_000)],
        ),
        (
            ["2024-01-01T10:00:00Z", "2024-01-01 10:00:00+02:00"],
            TIMESTAMPTZ,
            [dt.datetime(2024, 1, 1, 10, tzinfo=dt.UTC), dt.datetime(2024, 1, 1, 8, tzinfo=dt.UTC)],
        ),
        (["2024-01-01 10:00:00", "2024-01-01T10:00:00Z"], pa.string(), ["2024-01-01 10:00:00", "2024-01-01T10:00:00Z"]),
        (["", ""], pa.string(), [None, None]),
        (['""', ""], pa.string(), ["", None]),
        (['"a\nb"', '"say ""hi"", \\ é"'], pa.string(), ["a\nb", 'say "hi", \\ é']),
    ],
)
def test_a_csv_column_has_a_type_only_if_no_value_would_change(
    values: list[str], type_: pa.DataType, expected: list[Any]
) -> None:
    column = read(csv_of(*values)).column("a")
    assert (column.type, column.to_pylist()) == (type_, expected)


@pytest.mark.parametrize(
    "values", [["12345678901234567.25", "1"], ["9007199254740993", "0.5"], ["18446744073709551616"]]
)
def test_csv_numbers_that_no_number_type_holds_keep_their_digits(values: list[str]) -> None:
    table = read(csv_of(*values))
    assert tag(table.schema.field("a")) == "numeric"
    assert table.column("a").to_pylist() == values


def test_a_csv_type_counts_the_last_line_of_the_last_file() -> None:
    write("1.csv", "a\n" + "1\n" * 50_000)
    write("2.csv", "a\n" + "1\n" * 50_000 + "x\n")
    table = read("*.csv")
    assert (table.schema.field("a").type, table.num_rows, table.column("a")[-1].as_py()) == (pa.string(), 100_001, "x")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_the_header_shows(delimiter: str) -> None:
    write("t.csv", delimiter.join(["id", "name"]) + "\n" + delimiter.join(["1", "x"]) + "\n")
    assert read("t.csv").to_pylist() == [{"id": 1, "name": "x"}]


def test_declared_csv_types_rule() -> None:
    key = str(uuid.uuid4())
    write("t.csv", f"id,price,key,doc\n01,1.10,{key},{{}}\n")
    columns = {"ID": "INTEGER", "price": "DECIMAL(9, 3)", "key": "UUID", "doc": "JSON"}
    table = read("t.csv", columns=columns)
    assert table.schema.types == [pa.int32(), pa.decimal128(9, 3), pa.uuid(), pa.string()]
    assert tag(table.schema.field("doc")) == "json"
    assert table.to_pylist() == [{"id": 1, "price": Decimal("1.100"), "key": uuid.UUID(key), "doc": "{}"}]


def test_an_empty_csv_has_the_declared_types() -> None:
    write("t.csv", "id,day,name\n")
    schema = read("t.csv", columns={"id": "BIGINT", "day": "DATE"}).schema
    assert schema.types == [pa.int64(), pa.date32(), pa.string()]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"prise": "INTEGER"}, "no column 'prise' to declare. Did you mean 'price'"),
        ({"price": "INTEGR"}, "no type is called 'INTEGR'"),
        ({"price": "INTEGER); SELECT 1 --"}, "no type is called"),
    ],
)
def test_a_wrong_declaration_is_a_plan_error(columns: dict[str, str], message: str) -> None:
    write("t.csv", "price\n1\n")
    with pytest.raises(PlanError) as caught:
        read("t.csv", columns=columns)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("declared", "value"), [("INTEGER", "1.5"), ("DECIMAL(5, 1)", "1.55"), ("DATE", "soon"), ("UUID", "77")]
)
def test_a_value_that_is_not_of_its_declared_type_is_named_by_column_and_row(declared: str, value: str) -> None:
    write("t.csv", f"k,a\n1,\n2,{value}\n")
    with pytest.raises(DataError) as caught:
        read("t.csv", columns={"a": declared})
    assert (caught.value.column, caught.value.row) == ("a", 2)
    assert value not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n1,2,secret\n", "t.csv, line 3: it has more or fewer fields"),
        ("a,b\n1,2\nsecret\n", "t.csv, line 3: it has more or fewer fields"),
        ('a,b\n1,2\n1,"secret\n', "t.csv, line 3: a quote is not closed"),
        (b"a,b\n1,2\n1,secret\xff\n", "t.csv, line 3: the text is not UTF-8"),
        (b"\xff\xfea\0,\0b\0\n\0", "t.csv is not CSV in UTF-8"),
        (b"PAR1\0\0\0\0", "t.csv is not CSV in UTF-8"),
        ('"secret,b\n1,2\n', "t.csv is not CSV: a quote in its first line is open"),
        ("a,b,a\n1,2,3\n", "t.csv has two columns called 'a'"),
        ("\n1,2\n", "t.csv has no header"),
        ("", "t.csv is empty (0 bytes)"),
    ],
)
def test_a_bad_csv_file_is_named_with_its_line(content: str | bytes, message: str) -> None:
    write("t.csv", content)
    with pytest.raises(DataError) as caught:
        read("t.csv")
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_csv_in_other_dress_is_read() -> None:
    write("bom.csv", b"\xef\xbb\xbfid,name\r\n1,x\r\n")
    write("packed.csv.gz", gzip.compress(b"id,name\n2,y\n"))
    write("pandas.csv", ",name\n0,z\n")
    write("case.csv", "id,ID\n1,2\n")
    assert read("bom.csv").to_pylist() == [{"id": 1, "name": "x"}]
    assert read("packed.csv.gz").to_pylist() == [{"id": 2, "name": "y"}]
    assert read("pandas.csv").to_pylist() == [{"column1": 0, "name": "z"}]
    assert read("case.csv").to_pylist() == [{"id": 1, "ID": 2}]


def test_a_very_long_csv_value_is_read_whole() -> None:
    write("t.csv", "a,b\n" + "x" * 5_000_000 + ",1\n")
    assert len(read("t.csv").column("a")[0].as_py()) == 5_000_000


def test_a_csv_line_beyond_the_limit_is_named() -> None:
    write("t.csv", "a,b\n1,2\n" + "x" * (17 << 20) + ",1\n")
    with pytest.raises(DataError, match=r"t\.csv, line 3: the line is longer than 16 MB"):
        read("t.csv")


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


def test_json_values_keep_their_kind() -> None:
    record = {
        "i": 1,
        "f": 1.5,
        "b": True,
        "day": "2024-01-01",
        "zip": "007",
        "o": {"x": [1, 2], "y": "10:00:00"},
        "n": None,
    }
    write("t.json", json.dumps([record, {"i": -(2**63), "new": "x"}]))
    table = read("t.json")
    nested = pa.struct([("x", pa.list_(pa.int64())), ("y", pa.string())])
    types = [pa.int64(), pa.float64(), pa.bool_(), pa.string(), pa.string(), nested, pa.null(), pa.string()]
    assert table.schema.types == types
    assert table.to_pylist()[0] == {**record, "new": None}
    assert table.to_pylist()[1]["i"] == -(2**63)


@pytest.mark.parametrize("text", ['{"a": 1}\n{"a": "x"}\n', '{"a": [1]}\n{"a": {"b": 1}}\n'])
def test_a_json_key_of_several_kinds_is_read_as_json(text: str) -> None:
    table = read(write("t.jsonl", text))
    assert tag(table.schema.field("a")) == "json"
    assert [json.loads(value) for value in table.column("a").to_pylist()] == [
        json.loads(line)["a"] for line in text.splitlines()
    ]


def test_declared_json_types_rule_and_a_key_that_no_record_has_is_null() -> None:
    write("t.jsonl", '{"id": 9007199254740993, "day": "2024-01-01", "doc": {"k": 1}}\n{"id": 0.5}\n')
    columns = {"id": "DECIMAL(20, 1)", "day": "DATE", "doc": "JSON", "later": "UUID"}
    table = read("t.jsonl", columns=columns)
    assert table.schema.types == [pa.decimal128(20, 1), pa.date32(), pa.string(), pa.uuid()]
    assert table.to_pylist()[0] == {
        "id": Decimal("9007199254740993.0"),
        "day": dt.date(2024, 1, 1),
        "doc": '{"k":1}',
        "later": None,
    }


def test_an_empty_json_file_has_the_declared_columns() -> None:
    write("t.json", "[]")
    assert read("t.json", columns={"id": "BIGINT"}).schema == pa.schema({"id": pa.int64()})
    with pytest.raises(DataError, match=r"t\.json holds no records.*Declare them"):
        read("t.json")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.jsonl", '{"a": 1}\n{"a": secret}\n{"a": 1}\n', "t.jsonl, line 2: it is not valid JSON"),
        ("t.jsonl", '{"a": 1}\n{"a": 1, "a": "secret"}\n', "t.jsonl, line 2: a record has a key twice"),
        ("t.json", '[{"a": 1}, {"a": 1}, {"a": secret}]', "t.json, record 3: it is not valid JSON"),
        ("t.json", '[{"a": 1}, {"a": 2}', "t.json, record"),
        ("t.jsonl", '{"a": 1}\n{"A": 1}\n', "t.jsonl: keys are empty, or differ only in case: 'a', 'A'"),
        ("t.jsonl", '{"": 1}\n', "t.jsonl: keys are empty"),
        ("t.jsonl", "1\n2\n", "t.jsonl: the records are not objects"),
        ("t.jsonl", '{"a": 18446744073709551615}\n', "t.jsonl, line 1: a whole number has more than 64 bits"),
        ("t.jsonl", '{"a": 9007199254740993}\n{"a": 0.5}\n', "column 'a': a whole number does not fit double exactly"),
        ("t.jsonl", "id,name\n1,x\n", "t.jsonl, record 1: it is not valid JSON"),
        ("t.json", "", "t.json is empty (0 bytes)"),
    ],
)
def test_a_bad_json_file_is_named_with_its_line(name: str, content: str, message: str) -> None:
    write(name, content)
    with pytest.raises(DataError) as caught:
        read(name)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_records_without_keys_are_rows_of_nulls() -> None:
    write("t.jsonl", '{}\n{"a": 1}\n{}\n')
    assert read("t.jsonl").to_pylist() == [{"a": None}, {"a": 1}, {"a": None}]


FORMS: list[tuple[Any, Any, Any]] = [
    ("NULL", "VARCHAR", "VARCHAR"),
    ("UBIGINT", "BIGINT", "BIGINT"),
    ("BIGINT", "DOUBLE", "DOUBLE"),
    ("VARCHAR", "BIGINT", "JSON"),
    (["NULL"], ["BIGINT"], ["BIGINT"]),
    (["BIGINT"], {"a": "BIGINT"}, "JSON"),
    ({"a": "NULL"}, {"b": "BIGINT"}, {"a": "NULL", "b": "BIGINT"}),
]


@pytest.mark.parametrize(("a", "b", "both"), FORMS)
def test_structures_merge_the_same_in_either_order(a: Any, b: Any, both: Any) -> None:
    assert merged(a, b) == both == merged(b, a)


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
    read(csv_of("1"), Workspace(scratch=scratch))
    assert list(scratch.iterdir()) == []
