from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from sourcefiles import read, write

from datapipe.data.types import tag
from datapipe.errors import DataError
from datapipe.ingestion.jsonfiles import merged


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


@pytest.mark.parametrize(
    ("inner", "values"),
    [
        ('{{"b": {}}}', lambda rows: [row["b"] for row in rows]),
        ("[{}]", lambda rows: [row[0] for row in rows]),
        ('{{"l": [{{"é x$.\\"[": {}}}]}}', lambda rows: [row["l"][0]['é x$."['] for row in rows]),
    ],
    ids=["a key", "a list", "deeper"],
)
def test_no_digit_is_lost_in_a_number_further_within(inner: str, values: Any) -> None:
    records = [f'{{"a": {inner.format(number)}}}' for number in ("9007199254740992", "1.5", "-3", "null")]
    found = read(write("a.jsonl", "\n".join([*records, "{}"]))).column("a").to_pylist()
    assert (values(found[:-1]), found[-1]) == ([9007199254740992.0, 1.5, -3.0, None], None)
    write("b.jsonl", "\n".join([*records, f'{{"a": {inner.format(9007199254740993)}}}']))
    with pytest.raises(DataError, match="column 'a': a whole number does not fit double exactly"):
        read("b.jsonl")


def test_objects_with_fractions_may_lack_keys_and_be_declared() -> None:
    content = '{"p": {"x": 1.5}}\n{"p": {"x": 2.5, "y": "s"}}\n{"p": {"x": 3}}'
    found = read(write("a.jsonl", content)).column("p").to_pylist()
    assert [(row["x"], row["y"]) for row in found] == [(1.5, None), (2.5, "s"), (3.0, None)]
    write("b.jsonl", '{"p": [1.5, 2]}')
    for type_ in ("DOUBLE[]", "DECIMAL(9,2)[]"):
        assert read("b.jsonl", columns={"p": type_}).column("p").to_pylist() == [[1.5, 2]]
