"""The values of a batch that cannot be converted are those that cannot be converted alone."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datapipe.data.casting import cast_column, misfits
from datapipe.errors import DataError

TEXTS = st.sampled_from(
    [
        "1",
        "-1",
        "+1",
        "0x1",
        "1.5",
        ".5",
        "1.",
        "1e3",
        "inf",
        "-Infinity",
        "nan",
        "NaN",
        "true",
        "FALSE",
        "t",
        "T",
        "0",
        "yes",
        "300",
        "99999999999999999999",
        "2024-01-01",
        "2024-1-1",
        "20240101",
        "-2024-01-01",
        "2024-01-01T00:00",
        "2024-01-01T00:00:00Z",
        "12:30",
        "12:30:00",
        "1:30",
        "24:00",
        "a1b2",
        "x",
        "\u00e9",
        "\u0661",
        "",
        " 1",
        "1 ",
        " 2024-01-01",
        "\n1",
        "00000000-0000-0000-0000-000000000007",
        "A" * 32,
    ]
)
TO = [pa.int8(), pa.int64(), pa.uint8(), pa.float64(), pa.decimal128(9, 2), pa.bool_(), pa.date32(), pa.time64("us")]
TO += [pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.uuid()]


def alone(value: Any, source: pa.DataType, to: pa.DataType) -> bool:
    try:
        cast_column(pa.array([value], source), to, column="a")
    except DataError:
        return True
    return False


@pytest.mark.parametrize("to", TO, ids=str)
@settings(max_examples=25)
@given(st.lists(st.none() | TEXTS, min_size=1, max_size=40))
def test_texts(to: pa.DataType, values: list[str | None]) -> None:
    wanted = [alone(value, pa.string(), to) for value in values]
    assert misfits(pa.array(values, pa.string()), to).tolist() == wanted


@pytest.mark.parametrize("to", [pa.int8(), pa.uint8(), pa.uint32(), pa.uint64(), pa.int64()], ids=str)
@settings(max_examples=25)
@given(st.data())
def test_numbers(to: pa.DataType, data: st.DataObject) -> None:
    for source, numbers in (
        (pa.float64(), st.sampled_from([0.0, -1.0, 1.5, 255.0, 256.0, 1e30, float("nan"), float("inf")])),
        (pa.int64(), st.sampled_from([0, -1, 127, 128, 255, 256, 2**63 - 1, -(2**63)])),
    ):
        values = data.draw(st.lists(st.none() | numbers, min_size=1, max_size=20))
        wanted = [alone(value, source, to) for value in values]
        assert misfits(pa.array(values, source), to).tolist() == wanted
