"""Every type datapipe knows, written and read back exactly, and tables whose own types differ from the data's."""

from __future__ import annotations

import datetime as dt
import json
import math
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from contracts.sinks import Sink, streamed

import datapipe
from datapipe.data.types import CARRIERS, INTERVAL, TIMESTAMP, TIMESTAMPTZ, tagged
from datapipe.errors import DataError, SchemaError

UTC = dt.UTC
NANO = pa.MonthDayNano
VALUES: dict[pa.DataType, list[Any]] = {
    pa.bool_(): [True, False],
    pa.int8(): [-128, 127],
    pa.int16(): [-32768, 32767],
    pa.int32(): [-(2**31), 2**31 - 1],
    pa.int64(): [-(2**63), 2**63 - 1],
    pa.uint8(): [0, 255],
    pa.uint16(): [0, 2**16 - 1],
    pa.uint32(): [0, 2**32 - 1],
    pa.uint64(): [0, 2**64 - 1],
    pa.float32(): [0.5, -math.inf],
    pa.float64(): [0.1, 5e-324, 1.7976931348623157e308, math.inf],
    pa.string(): ["", "NULL", "\\N", "tab\tand\nline\r", "'\"", "é 😀", " padded "],
    pa.binary(): [b"", b"\x00\xff", b"text"],
    pa.date32(): [dt.date(1, 1, 1), dt.date(2024, 2, 29), dt.date(9999, 12, 31)],
    pa.time64("us"): [dt.time(0), dt.time(23, 59, 59, 999999)],
    TIMESTAMP: [dt.datetime(1, 1, 1), dt.datetime(2024, 3, 31, 2, 30, 0, 1), dt.datetime(9999, 12, 31, 23, 59, 59)],
    TIMESTAMPTZ: [dt.datetime(1970, 1, 1, tzinfo=UTC), dt.datetime(2024, 3, 31, 2, 30, 0, 1, tzinfo=UTC)],
    INTERVAL: [NANO([0, 0, 0]), NANO([1, 3, 36 * 3600 * 10**9]), NANO([-1, -2, -1000])],
    pa.uuid(): [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)],
    pa.decimal128(9, 2): [Decimal("0.00"), Decimal("-1234567.89")],
    pa.decimal128(38, 10): [Decimal("12345678901234567890.1234567891"), Decimal("-0.0000000001")],
    pa.list_(pa.int32()): [[], [1, None, 3]],
    pa.list_(pa.string()): [["a,b", 'say "hi"', None, "NULL", "back\\slash", ""]],
    pa.list_(TIMESTAMPTZ): [[dt.datetime(2024, 1, 1, tzinfo=UTC), None]],
}
TAGGED: dict[str, list[str]] = {
    "json": ['{"b": 1, "a": 1.10, "a": 2}', "null"],
    "jsonb": ['{"a": 12345678901234567890.10}', "null"],
    "numeric": ["123456789012345678901234567890123456789.5", "1.10", "NaN"],
    "inet": ["10.0.0.1/8", "::1/64"],
    "interval": ["1 mon", "-00:00:00.000001"],
}


def read_back(sink: Sink) -> pa.Table:
    return datapipe.read("t", source=sink.url).collect("arrow")


# Neither SQLite nor MySQL has these.
NOWHERE = [type_ for type_ in VALUES if type_ == INTERVAL or pa.types.is_list(type_)]
LACKING = {"sqlite": NOWHERE, "mysql": NOWHERE}
# MySQL has instants from 1970-01-01 00:00:01 to 2038, and its BOOLEAN is a number.
EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)


def test_every_carrier_has_values_here() -> None:
    assert {carrier.arrow for carrier in CARRIERS} <= set(VALUES)


@pytest.mark.parametrize("strategy", ["append", "upsert"])
def test_values_of_every_type_come_back_as_they_were(sink: Sink, strategy: str) -> None:
    given = {type_: values for type_, values in VALUES.items() if type_ not in LACKING.get(sink.kind, [])}
    if sink.kind == "mysql":
        given |= {TIMESTAMPTZ: [v for v in VALUES[TIMESTAMPTZ] if v != EPOCH]}
        given |= {t: [v for v in VALUES[t] if not math.isinf(v)] for t in (pa.float32(), pa.float64())}
    rows = max(map(len, given.values())) + 1
    expected = {str(type_): values + [None] * (rows - len(values)) for type_, values in given.items()}
    data = pa.table({"id": range(rows)} | {str(type_): pa.array(expected[str(type_)], type_) for type_ in given})
    sink.write(streamed(data, rows=2), strategy=strategy, upsert_keys=["id"] if strategy == "upsert" else [])
    back = read_back(sink).sort_by("id")
    assert {name: back.column(name).to_pylist() for name in expected} == expected


@pytest.mark.parametrize("type_", NOWHERE, ids=str)
def test_a_type_the_database_has_not_is_refused(sink: Sink, type_: pa.DataType) -> None:
    if sink.kind not in LACKING:
        return  # it has them all
    with pytest.raises(SchemaError, match=r"column 'v'.*no exact counterpart in (SQLite|MySQL)"):
        sink.write(pa.table({"v": pa.array(VALUES[type_], type_)}))
    assert sink.tables() == []


@pytest.mark.parametrize("name", TAGGED)
def test_tagged_text_comes_back_as_it_was(sink: Sink, name: str) -> None:
    # A number without precision is DECIMAL(65,30) in MySQL, which says so if one does not fit.
    known = ["1.100000000000000000000000000000"] if (sink.kind, name) == ("mysql", "numeric") else TAGGED[name]
    values = [*known, None]
    field = tagged("v", name)
    data = pa.Table.from_arrays([pa.array(values, pa.string())], schema=pa.schema([field]))
    sink.write(data)
    back = read_back(sink).column("v")
    if sink.kind == "postgresql":
        assert sink.columns() == {"v": name}
        found = [str(v) if v is not None else None for (v,) in sink.sql("SELECT v::text FROM t")]
    else:
        found = back.to_pylist()
    assert [normal(name, v) for v in found] == [normal(name, v) for v in values]


def normal(name: str, value: str | None) -> Any:
    """A value of a type that the server writes in its own way: as it is meant."""
    if value is None or name not in {"json", "jsonb"}:
        return value
    return json.loads(value, parse_float=Decimal)


def test_nan_and_null_are_two_things(sink: Sink) -> None:
    data = pa.table({"v": pa.array([1.0, math.nan, None])})
    if sink.kind in {"sqlite", "mysql"}:
        with pytest.raises(DataError, match=r"column 'v', row 2: .* NaN"):
            sink.write(streamed(data, rows=1))
        assert sink.tables() == []
        return
    sink.write(data)
    back = read_back(sink).column("v").to_pylist()
    assert math.isnan(back[1])
    assert back[2] is None


# --- NULLs without a type -----------------------------------------------------------------------------------


def test_only_nulls_need_a_type_in_a_new_table(sink: Sink) -> None:
    with pytest.raises(SchemaError, match=r"column 'v' holds only NULLs and has no type.*CAST"):
        sink.write(pa.table({"id": [1], "v": pa.nulls(1)}))
    assert sink.tables() == []


@pytest.mark.parametrize("strategy", ["append", "upsert"])
@pytest.mark.parametrize("declared", ["INTEGER", "VARCHAR", "DATE", "TIMESTAMP", "UUID", "DECIMAL(9,2)", "JSON"])
def test_only_nulls_fit_any_column_that_is_there(sink: Sink, declared: str, strategy: str) -> None:
    sink.sql(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {sink.declared(declared)})")
    keys = ["id"] if strategy == "upsert" else []
    sink.write(pa.table({"id": [1, 2], "v": pa.nulls(2)}), strategy=strategy, upsert_keys=keys)
    assert sink.rows() == [(1, None), (2, None)]


# --- the table's own types rule -----------------------------------------------------------------------------

INTS = pa.array([1, None, -7], pa.int32())
TEXT = pa.string()
FITS: list[tuple[str, pa.Array, list[Any]]] = [
    ("BIGINT", INTS, [1, None, -7]),
    ("NUMERIC(15,2)", INTS, [Decimal("1.00"), None, Decimal("-7.00")]),
    ("VARCHAR", INTS, ["1", None, "-7"]),
    ("DOUBLE PRECISION", INTS, [1.0, None, -7.0]),
    ("SMALLINT", pa.array([1, None, 32767], pa.int64()), [1, None, 32767]),
    ("INTEGER", pa.array(["12", None, "-3"]), [12, None, -3]),
    ("DATE", pa.array(["2024-02-29", None]), [dt.date(2024, 2, 29), None]),
    ("NUMERIC(10,2)", pa.array([1.5, None, -0.25]), [Decimal("1.50"), None, Decimal("-0.25")]),
    ("NUMERIC(10,2)", pa.array([Decimal("1.5000")], pa.decimal128(18, 4)), [Decimal("1.50")]),
    ("TIMESTAMP", pa.array([dt.date(2024, 1, 2)]), [dt.datetime(2024, 1, 2)]),
    ("VARCHAR", pa.array([uuid.UUID(int=1).bytes], pa.uuid()), [str(uuid.UUID(int=1))]),
    ("INTEGER", pa.array([2.0, None]), [2, None]),
]


@pytest.mark.parametrize("strategy", ["append", "upsert"])
@pytest.mark.parametrize(("declared", "values", "expected"), FITS, ids=lambda value: str(getattr(value, "type", value)))
def test_data_of_another_type_become_the_columns_own(
    sink: Sink, declared: str, values: pa.Array, expected: list[Any], strategy: str
) -> None:
    sink.sql(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {sink.declared(declared)})")
    data = pa.table({"id": range(len(values)), "v": values})
    sink.write(data, strategy=strategy, upsert_keys=["id"] if strategy == "upsert" else [])
    assert read_back(sink).sort_by("id").column("v").to_pylist() == expected


REFUSED: list[tuple[str, pa.Array]] = [
    ("SMALLINT", pa.array([1, 2, 40_000], pa.int64())),
    ("NUMERIC(10,2)", pa.array([1.5, 2.5, 0.125])),
    ("NUMERIC(5,2)", pa.array([1, 2, 1000])),
    ("NUMERIC(10,2)", pa.array([Decimal("1.0000"), Decimal("2"), Decimal("1.0001")], pa.decimal128(18, 4))),
    ("INTEGER", pa.array(["1", "2", "secret"])),
    ("INTEGER", pa.array([1.0, 2.0, 2.5])),
    ("DATE", pa.array(["2024-02-28", None, "2024-02-30"])),
    ("BOOLEAN", pa.array([0, 1, 2])),
    ("REAL", pa.array([1, 2, 2**24 + 1])),
    ("DATE", pa.array([dt.datetime(2024, 1, 1), None, dt.datetime(2024, 1, 1, 12)], TIMESTAMP)),
]
# SQLite has one integer and one floating type, MySQL's BOOLEAN is a number.
WIDER = {"sqlite": {"SMALLINT", "REAL"}, "mysql": {"BOOLEAN"}}


@pytest.mark.parametrize("strategy", ["append", "upsert"])
@pytest.mark.parametrize(("declared", "values"), REFUSED, ids=lambda value: str(getattr(value, "type", value)))
def test_a_value_that_does_not_fit_is_named_by_column_and_row(
    sink: Sink, declared: str, values: pa.Array, strategy: str
) -> None:
    sink.sql(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {sink.declared(declared)})")
    data = pa.table({"id": range(len(values)), "v": values})
    if declared in WIDER.get(sink.kind, ()):
        assert sink.write(data).rows == 3
        return
    with pytest.raises(DataError, match="column 'v', row 3") as caught:
        sink.write(streamed(data, rows=2), strategy=strategy, upsert_keys=["id"] if strategy == "upsert" else [])
    assert (caught.value.column, caught.value.row) == ("v", 3)
    assert "secret" not in str(caught.value)
    assert caught.value.hint
    assert sink.rows() == []


@pytest.mark.parametrize(
    ("declared", "values"),
    [
        ("TIMESTAMPTZ", pa.array([dt.datetime(2024, 1, 1)], TIMESTAMP)),
        ("TIMESTAMP", pa.array([dt.datetime(2024, 1, 1, tzinfo=UTC)], TIMESTAMPTZ)),
        ("TIMESTAMP", pa.array([5])),
        ("INTEGER", pa.array([dt.date(2024, 1, 1)])),
        ("VARCHAR", pa.array([b"bytes"])),
    ],
    ids=lambda value: str(getattr(value, "type", value)),
)
def test_types_that_have_nothing_in_common_are_refused(sink: Sink, declared: str, values: pa.Array) -> None:
    sink.sql(f"CREATE TABLE t (v {sink.declared(declared)})")
    with pytest.raises(DataError, match=r"column 'v'.*cannot become"):
        sink.write(pa.table({"v": values}))
    assert sink.rows() == []
