"""Rows as JSON and back: every value of every carrier type is what it was."""

from __future__ import annotations

import datetime as dt
import json
import math
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datapipe.data.jsonrows import from_json, to_json
from datapipe.data.types import CARRIERS, INTERVAL, TIMESTAMP, TIMESTAMPTZ, tagged
from datapipe.errors import DataError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
TIMES = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23))
VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.bool_(): st.booleans(),
    **{t: st.integers(-(2 ** (t.bit_width - 1)), 2 ** (t.bit_width - 1) - 1) for t in (pa.int8(), pa.int16(), pa.int32(), pa.int64())},
    **{t: st.integers(0, 2**t.bit_width - 1) for t in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())},
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
    pa.string(): TEXT,
    pa.binary(): st.binary(max_size=8),
    pa.date32(): st.dates(),
    pa.time64("us"): st.times(),
    TIMESTAMP: TIMES,
    TIMESTAMPTZ: TIMES.map(lambda value: value.replace(tzinfo=dt.UTC)),
    INTERVAL: st.tuples(st.integers(-9999, 9999), st.integers(-9999, 9999), st.integers(-(10**15), 10**15)).map(
        lambda parts: pa.MonthDayNano([parts[0], parts[1], parts[2] * 1000])
    ),
    pa.uuid(): st.uuids(),
    pa.decimal128(38, 10): st.decimals(-(10**27), 10**27, places=10),
    pa.decimal128(9, 2): st.decimals(-(10**6), 10**6, places=2),
    pa.list_(pa.float64()): st.lists(st.none() | st.floats(), max_size=3),
    pa.list_(pa.decimal128(38, 10)): st.lists(st.none() | st.decimals(-(10**27), 10**27, places=10), max_size=3),
    pa.list_(pa.list_(TIMESTAMP)): st.lists(st.none() | st.lists(TIMES, max_size=2), max_size=3),
    pa.list_(pa.string()): st.lists(st.none() | TEXT, max_size=3),
    pa.struct([("a b", pa.int64()), ("d", pa.date32()), ("b", pa.binary())]): st.fixed_dictionaries(
        {"a b": st.none() | st.integers(-(2**63), 2**63 - 1), "d": st.none() | st.dates(), "b": st.none() | st.binary(max_size=4)}
    ),
}  # fmt: skip


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or (
            one == other and math.copysign(1, one) == math.copysign(1, other)
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def test_every_carrier_is_tried() -> None:
    assert {carrier.arrow for carrier in CARRIERS} <= set(VALUES)


@pytest.mark.parametrize("type_", VALUES, ids=str)
@settings(max_examples=6)
@given(st.data())
def test_every_type(type_: pa.DataType, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | VALUES[type_], min_size=1, max_size=30))
    schema = pa.schema([pa.field("v", type_)])
    batch = pa.RecordBatch.from_arrays([pa.array(values, type_)], schema=schema)
    texts = to_json(batch, schema)
    assert all(set(json.loads(text)) == {"v"} for text in texts.to_pylist())
    found = from_json(texts, schema)
    assert found.schema.equals(schema)
    assert same(found.column(0).to_pylist(), batch.column(0).to_pylist())


@settings(max_examples=6)
@given(st.lists(TEXT, min_size=1, max_size=4, unique=True), TEXT)
def test_every_name(names: list[str], value: str) -> None:
    schema = pa.schema([pa.field(name, pa.string()) for name in names])
    batch = pa.RecordBatch.from_arrays([pa.array([f"{index} {value}"]) for index in range(len(names))], schema=schema)
    texts = to_json(batch, schema)
    assert json.loads(texts[0].as_py()) == batch.to_pylist()[0]
    assert from_json(texts, schema).to_pylist() == batch.to_pylist()


@pytest.mark.parametrize("declared", ["numeric", "jsonb", "inet", "numeric(60,30)", "integer[]"])
def test_tagged_text_stays_what_it_is(declared: str) -> None:
    schema = pa.schema([tagged("v", declared)])
    values = ["123456789012345678901234567890.123456789012345678901234567890", '{"a": [1, "ä"]}', "", None]
    batch = pa.RecordBatch.from_arrays([pa.array(values)], schema=schema)
    found = from_json(to_json(batch, schema), schema)
    assert found.schema.equals(schema, check_metadata=True)
    assert found.column(0).to_pylist() == values


def test_names_that_differ_in_case_only() -> None:
    schema = pa.schema([("a", pa.int64()), ("A", pa.int64())])
    batch = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], schema=schema)
    assert to_json(batch, schema).to_pylist() == ['{"a":1,"A":2}']
    assert from_json(to_json(batch, schema), schema).to_pylist() == [{"a": 1, "A": 2}]


def test_no_rows() -> None:
    schema = pa.schema([("a", pa.int64()), ("u", pa.uuid())])
    batch = pa.RecordBatch.from_pylist([], schema=schema)
    assert from_json(to_json(batch, schema), schema).num_rows == 0


def test_what_is_finer_than_a_microsecond_is_refused() -> None:
    schema = pa.schema([("v", INTERVAL)])
    batch = pa.RecordBatch.from_arrays([pa.array([pa.MonthDayNano([0, 0, 1])], INTERVAL)], schema=schema)
    with pytest.raises(DataError, match="column 'v', row 1"):
        to_json(batch, schema)


def test_people_can_read_it() -> None:
    row = {"n": Decimal("1.50"), "u": uuid.UUID(int=7), "t": dt.datetime(2024, 1, 2), "b": b"\xff", "f": math.inf}
    schema = pa.schema(
        [("n", pa.decimal128(9, 2)), ("u", pa.uuid()), ("t", TIMESTAMP), ("b", pa.binary()), ("f", pa.float64())]
    )
    batch = pa.RecordBatch.from_arrays(
        [pa.array([v], f.type) for v, f in zip(row.values(), schema, strict=True)], schema=schema
    )
    wanted = {
        "n": "1.50",
        "u": "00000000-0000-0000-0000-000000000007",
        "t": "2024-01-02 00:00:00",
        "b": "FF",
        "f": "inf",
    }
    assert json.loads(to_json(batch, schema)[0].as_py()) == wanted
