"""Values of a cursor: which have an order, and how they are compared."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from datapipe.data.types import TIMESTAMPTZ, tagged
from datapipe.errors import DataError, PlanError
from datapipe.ingestion.cursors import at_least, back, comparable, cursor_fields, greatest, mark_of, mark_values

AT = dt.datetime(2024, 1, 1, 10, 0, 0, 123456, tzinfo=dt.UTC)
ZONE = dt.timezone(dt.timedelta(hours=2))


@pytest.mark.parametrize(
    ("value", "type_", "mark"),
    [
        (5, pa.int32(), 5),
        ("5", pa.int64(), 5),
        ("1.50", pa.decimal128(9, 2), Decimal("1.50")),
        ("2024-01-01", pa.date32(), dt.date(2024, 1, 1)),
        ("2024-01-01T12:00:00.123456+02:00", TIMESTAMPTZ, AT),
        (AT.astimezone(ZONE), TIMESTAMPTZ, AT),
        (AT.replace(tzinfo=None), TIMESTAMPTZ, AT),
        (dt.date(2024, 1, 1), pa.timestamp("us"), dt.datetime(2024, 1, 1)),
        ("b", pa.string(), "b"),
        (dt.date(2024, 1, 1), pa.string(), "2024-01-01"),
    ],
)
def test_a_mark_has_the_type_of_its_column(value: Any, type_: pa.DataType, mark: Any) -> None:
    found = mark_of(value, pa.field("c", type_), "start")
    assert found == mark and type(found) is type(mark)


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        ("x", pa.int64()),
        ("1.5", pa.int64()),
        ("NaN", pa.decimal128(9, 2)),
        (5, pa.string()),
        (AT, pa.string()),
        (AT, pa.date32()),
        (AT, pa.timestamp("us")),
        ("yesterday", TIMESTAMPTZ),
        (dt.date(2024, 1, 1), pa.int64()),
        (2**31, pa.int32()),
        ("1.234", pa.decimal128(9, 2)),
    ],
)
def test_what_is_no_mark_of_a_column(value: Any, type_: pa.DataType) -> None:
    with pytest.raises(PlanError, match=r"start: .* is no value of the cursor 'c'"):
        mark_of(value, pa.field("c", type_), "start")


def test_columns_that_have_no_order() -> None:
    schema = pa.schema({"id": pa.int64(), "f": pa.float64(), "b": pa.bool_(), "l": pa.list_(pa.int64())})
    with pytest.raises(PlanError, match=r"'f' is double.*Use id"):
        cursor_fields(["f"], schema)
    with pytest.raises(PlanError, match=r"there is no column 'idd'.*id"):
        cursor_fields(["idd"], schema)
    assert [each.name for each in cursor_fields(["ID"], schema)] == ["id"]
    with pytest.raises(PlanError, match="2 values for the cursor"):
        mark_values(["id"], [1, 2], schema)


def test_rows_are_compared_column_by_column() -> None:
    fields = [pa.field("a", pa.int64()), pa.field("b", pa.string())]
    cursor = [pa.array([1, 1, 2, 2, 3]), pa.array(["x", "z", "a", "b", "a"])]
    assert at_least(cursor, (2, "b"), fields).to_pylist() == [False, False, False, True, True]
    assert at_least(cursor, (2, "b"), fields, strict=True).to_pylist() == [False, False, False, False, True]
    assert at_least(cursor, (2,), fields).to_pylist() == [False, False, True, True, True]
    assert greatest(cursor, fields) == (3, "a")
    assert greatest([pa.array([None, 5, 5]), pa.array(["z", "a", None])], fields) == (5, "a")
    assert greatest([pa.array([None], pa.int64()), pa.array(["z"])], fields) is None


def test_numerics_without_precision_are_compared_as_numbers() -> None:
    field = tagged("n", "numeric")
    values = comparable(pa.array(["9", "10", "-1.000000000000000000000001"]), field)
    assert greatest([values], [field]) == (Decimal(10),)
    with pytest.raises(DataError, match="no number"):
        comparable(pa.array(["NaN"]), field)


def test_where_reading_begins() -> None:
    day, at = pa.field("day", pa.date32()), pa.field("at", pa.timestamp("us", "UTC"))
    number, amount, text = pa.field("n", pa.int64()), pa.field("a", pa.decimal128(4, 1)), pa.field("t", pa.string())
    assert back((AT,), dt.timedelta(hours=1), at) == (AT - dt.timedelta(hours=1),)
    assert back((dt.date(2024, 1, 3),), dt.timedelta(hours=25), day) == (dt.date(2024, 1, 1),)
    assert back((Decimal("1.5"), 2), Decimal("0.5"), amount) == (Decimal(1),)
    assert back((Decimal("1.5"), 2), Decimal("0.25"), amount) == (Decimal("1.2"),), "rather a row more"
    assert back((Decimal("1.5"),), Decimal(2000), amount) == (Decimal("-999.9"),)
    assert back((Decimal("1.5"),), Decimal("0.25"), tagged("n", "numeric")) == (Decimal("1.25"),)
    assert back((-32000,), 2000, pa.field("n", pa.int16())) == (-32768,)
    assert back((dt.date.min,), dt.timedelta(days=1), day) == (dt.date.min,)
    for values, lag, field in (
        ((5,), dt.timedelta(1), number),
        ((AT,), 5, at),
        (("a",), 5, text),
        ((5,), Decimal("0.5"), number),
    ):
        with pytest.raises(PlanError, match="lag="):
            back(values, lag, field)
