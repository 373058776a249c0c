"""A double becomes the decimal that it is written as, or an error; never another one."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from datapipe.data.casting import cast_column
from datapipe.errors import DataError

WRITTEN = st.decimals(-(10**13), 10**13, places=2).map(float)


@given(
    st.lists(st.one_of(st.none(), WRITTEN, st.integers(-9, 9).map(float), st.floats()), max_size=5),
    st.tuples(st.integers(1, 38), st.integers(0, 38)).filter(lambda found: found[0] >= found[1]),
)
@example([0.1, None, -2.25], (15, 2))
@example([-0.0, 1e15, 999999999999999.9], (17, 1))
@example([1e22, 4.35], (38, 2))
def test_doubles_become_the_decimals_they_are_written_as(values: list[float | None], size: tuple[int, int]) -> None:
    precision, scale = size
    expected = [None if value is None else Decimal(repr(value)) for value in values]
    column, type_ = pa.array(values, pa.float64()), pa.decimal128(precision, scale)
    if all(each is None or _fits(each, precision, scale) for each in expected):
        assert cast_column(column, type_, column="c").to_pylist() == expected
    else:
        with pytest.raises(DataError):
            cast_column(column, type_, column="c")


def _fits(value: Decimal, precision: int, scale: int) -> bool:
    if not value.is_finite():
        return False
    digits = value.normalize().as_tuple()
    return int(digits.exponent) >= -scale and abs(value) < Decimal(10) ** (precision - scale)
