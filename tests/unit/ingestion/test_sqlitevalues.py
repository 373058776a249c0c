"""A column of SQLite's values: the quick ways give what the slow ones do, or leave it to them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from datapipe.errors import DataError
from datapipe.ingestion.sqlitevalues import to_array

PRICES = st.integers(-(10**13), 10**13).map(lambda cents: cents / 100)
NUMBERS = PRICES | st.integers(-(2**63), 2**63 - 1) | st.integers(-999, 999) | st.floats(allow_nan=False)
TYPES = [pa.decimal128(9, 2), pa.decimal128(15, 2), pa.decimal128(15, 0), pa.decimal128(38, 2), pa.decimal128(38, 30)]


def is_exact(value: int | float, type_: pa.Decimal128Type) -> bool:
    """Whether the number has a place among the decimals of a type, and none of its digits is made up."""
    if value in {float("inf"), float("-inf")}:
        return False
    digits = Decimal(str(value))
    if isinstance(value, float) and type_.precision > 15 and float(f"{value:.15g}") != value:
        return False
    whole = digits.scaleb(type_.scale)
    return whole == whole.to_integral_value() and abs(whole) < 10**type_.precision


@given(st.lists(st.none() | NUMBERS, min_size=1, max_size=5), st.sampled_from(TYPES))
@example([0.1 + 0.2], pa.decimal128(9, 2))
@example([2**53 + 1], pa.decimal128(38, 2))
@example([0.29, 1.1, -0.0, 4.35, 999999999999.99], pa.decimal128(15, 2))
@example([1e15], pa.decimal128(38, 2))
@example([5e-324], pa.decimal128(38, 30))
@example([None, 1.1, 2], pa.decimal128(9, 2))
@example([None], pa.decimal128(9, 2))
def test_a_number_is_its_own_decimal_or_an_error(values: list[Any], type_: pa.Decimal128Type) -> None:
    field = pa.field("a", type_)
    if all(value is None or is_exact(value, type_) for value in values):
        expected = [None if value is None else Decimal(str(value)) for value in values]
        assert to_array(values, field, 1).to_pylist() == expected
        return
    with pytest.raises(DataError) as caught:
        to_array(values, field, 1)
    refused = values[(caught.value.row or 0) - 1]
    assert refused is not None and not is_exact(refused, type_)


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=9))
@example([2**63 - 1, -(2**63)])
def test_whole_numbers_stay_as_they_are(values: list[int | None]) -> None:
    made = to_array(values, pa.field("a", pa.int64()), 1)
    made.validate(full=True)
    assert made.to_pylist() == values


@given(st.lists(st.none() | st.floats(allow_nan=False) | st.integers(-(2**53), 2**53), max_size=9))
@example([5e-324, 1.7976931348623157e308, float("inf"), -0.0, 2**53])
def test_doubles_stay_as_they_are_to_the_last_bit(values: list[float | None]) -> None:
    made = to_array(values, pa.field("a", pa.float64()), 1)
    made.validate(full=True)
    assert [None if v is None else v.hex() for v in made.to_pylist()] == [
        None if v is None else float(v).hex() for v in values
    ]


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=9))
@example(["é", "a"])
@example(["", "a\0b"])
@example(["\0", None, ""])
@example(["", "", "a"])
def test_texts_stay_as_they_are(values: list[str | None]) -> None:
    made = to_array(values, pa.field("a", pa.string()), 1)
    made.validate(full=True)
    assert made.to_pylist() == values


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        (pa.int64(), 1, 1.0),
        (pa.int64(), 1, "1"),
        (pa.float64(), 0.5, "1"),
        (pa.float64(), 0.5, 2**53 + 1),
        (pa.string(), "a", b"a"),
        (pa.string(), "a", 1),
        (pa.binary(), b"a", "a"),
    ],
)
@pytest.mark.parametrize("with_null", [True, False])
def test_a_value_of_another_kind_is_refused(type_: pa.DataType, good: Any, bad: Any, with_null: bool) -> None:
    with pytest.raises(DataError) as caught:
        to_array([None if with_null else good, good, bad], pa.field("a", type_), 10)
    assert (caught.value.column, caught.value.row) == ("a", 12)
