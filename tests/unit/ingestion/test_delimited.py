from __future__ import annotations

import datetime as dt
import gzip
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from sourcefiles import read, write

from datapipe.data.types import TIMESTAMP, TIMESTAMPTZ, tag
from datapipe.errors import DataError, PlanError


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
    write("quoted.csv", delimiter.join(['"id"', '"last, first; or | "']) + "\n" + delimiter.join(["1", '"x"']) + "\n")
    assert read("t.csv").to_pylist() == [{"id": 1, "name": "x"}]
    assert read("quoted.csv").to_pylist() == [{"id": 1, "last, first; or | ": "x"}]


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
