"""What the types of a contract take, and what they refuse."""

import pyarrow as pa
import pytest

from datapipe.data.types import tagged
from datapipe.errors import PlanError
from datapipe.schemas.expected import expected


@pytest.mark.parametrize(
    ("word", "takes", "refuses"),
    [
        ("int", [pa.int8(), pa.int64(), pa.uint64()], [pa.float64(), pa.string(), pa.decimal128(9, 0)]),
        ("int64", [pa.int16()], [pa.bool_()]),
        ("int32", [pa.int16(), pa.int32(), pa.uint16()], [pa.int64(), pa.uint32()]),
        ("uint8", [pa.uint8()], [pa.int8(), pa.uint16()]),
        ("uint64", [pa.uint64(), pa.uint8()], [pa.int64()]),
        ("float", [pa.float32(), pa.float64()], [pa.int64()]),
        ("str", [pa.string()], [pa.binary()]),
        ("string[pyarrow]", [pa.string()], [pa.int64()]),
        ("bool", [pa.bool_()], [pa.int8()]),
        ("datetime64[ns]", [pa.timestamp("us"), pa.timestamp("us", "UTC")], [pa.date32()]),
        ("datetime64[ns, UTC]", [pa.timestamp("us", "UTC")], [pa.timestamp("us")]),
        (
            "numeric(9,2)",
            [pa.decimal128(9, 2), pa.decimal128(5, 1), pa.decimal128(7, 0)],
            [pa.decimal128(10, 2), pa.decimal128(9, 3)],
        ),
        ("decimal", [pa.decimal128(38, 20)], [pa.float64()]),
        ("date", [pa.date32()], [pa.timestamp("us")]),
        ("bytes", [pa.binary()], [pa.string()]),
        ("uuid", [pa.uuid()], [pa.string()]),
    ],
)
def test_kinds(word: str, takes: list[pa.DataType], refuses: list[pa.DataType]) -> None:
    assert [expected(word).takes(pa.field("a", type_)) for type_ in takes] == [True] * len(takes)
    assert [expected(word).takes(pa.field("a", type_)) for type_ in refuses] == [False] * len(refuses)


def test_what_a_database_has_beyond_the_usual_is_text() -> None:
    assert expected("str").takes(tagged("a", "inet"))
    assert expected("decimal").takes(tagged("a", "numeric"))
    assert not expected("str").takes(tagged("a", "numeric"))
    assert not expected("str").takes(tagged("a", "jsonb"))


def test_an_unknown_word() -> None:
    with pytest.raises(PlanError, match="no type is called 'intt'"):
        expected("intt")
