"""How each pair of a field and a PostgreSQL column is sent. No server here."""

import datetime as dt
import uuid

import pyarrow as pa
import pytest

from datapipe.data.types import INTERVAL, TIMESTAMP, TIMESTAMPTZ, tagged
from datapipe.errors import PlanError
from datapipe.persistence.arrays import array_text
from datapipe.persistence.postgresql import check_length, wire
from datapipe.persistence.session import Wire
from datapipe.persistence.tables import Column


def sent(type_: pa.DataType | pa.Field, declared: str) -> Wire:
    field = type_ if isinstance(type_, pa.Field) else pa.field("v", type_)
    return wire(field, Column("v", declared))


BINARY = [
    (pa.int32(), "bigint", pa.int64()),
    (pa.int64(), "smallint", pa.int16()),
    (pa.int32(), "text", pa.string()),
    (pa.string(), "integer", pa.int32()),
    (pa.string(), "date", pa.date32()),
    (pa.string(), "jsonb", pa.string()),
    (pa.string(), "character varying", pa.string()),
    (pa.string(), "character(5)", pa.string()),
    (pa.float64(), "numeric(10,2)", pa.decimal128(10, 2)),
    (tagged("v", "numeric"), "numeric(10,2)", pa.decimal128(10, 2)),
    (pa.decimal128(9, 4), "numeric", pa.decimal128(9, 4)),
    (pa.int64(), "numeric", pa.decimal128(20, 0)),
    (pa.int64(), "numeric(5,0)", pa.decimal128(5, 0)),
    (TIMESTAMP, "timestamp without time zone", pa.timestamp("us")),
    (TIMESTAMP, "timestamp(3) without time zone", pa.timestamp("ms")),
    (TIMESTAMPTZ, "timestamp(0) with time zone", pa.timestamp("s", "UTC")),
    (pa.uuid(), "uuid", pa.uuid()),
    (pa.list_(pa.int64()), "integer[]", pa.list_(pa.int32())),
    (pa.list_(pa.string()), "text[]", pa.list_(pa.string())),
    (pa.list_(pa.decimal128(5, 2)), "numeric[]", pa.list_(pa.decimal128(5, 2))),
    (pa.list_(TIMESTAMP), "timestamp(3) without time zone[]", pa.list_(pa.timestamp("ms"))),
]


@pytest.mark.parametrize(("field", "declared", "expected"), BINARY, ids=str)
def test_a_type_with_a_binary_form_is_sent_in_it(field: pa.DataType, declared: str, expected: pa.DataType) -> None:
    assert sent(field, declared) == Wire(expected)


BY_TEXT = [
    (pa.string(), "uuid"),
    (pa.string(), "inet"),
    (pa.string(), "time without time zone"),
    (pa.string(), "integer[]"),
    (pa.string(), "numeric"),
    (pa.float64(), "numeric"),
    (pa.int64(), "oid"),
    (pa.decimal128(9, 4), "numeric(50,20)"),
    (pa.decimal128(9, 4), "numeric(5,-2)"),
    (TIMESTAMP, "timestamp(1) without time zone"),
    (pa.time64("us"), "time(3) without time zone"),
    (pa.list_(pa.uuid()), "uuid[]"),
    (pa.list_(TIMESTAMPTZ), "timestamp with time zone[]"),
    (pa.list_(pa.string()), "character varying(3)[]"),
    (pa.string(), "int4range"),
    (pa.string(), '"My Type"'),
    (pa.string(), "app.mood"),
]


@pytest.mark.parametrize(("field", "declared"), BY_TEXT, ids=str)
def test_any_other_is_sent_as_text_and_cast_by_the_server(field: pa.DataType, declared: str) -> None:
    assert sent(field, declared) == Wire(pa.string(), cast=declared, direct=False, sure=False)


def test_text_that_can_be_nothing_else_is_not_looked_at_again() -> None:
    assert sent(tagged("v", "numeric"), "numeric") == Wire(pa.string(), cast="numeric", direct=False, sure=True)
    assert sent(INTERVAL, "interval").sure


@pytest.mark.parametrize("declared", ["json", "inet", "numeric(50,20)", "bit varying"])
def test_text_that_a_step_may_have_changed_is_looked_at_again(declared: str) -> None:
    assert not sent(tagged("v", declared), declared).sure


def test_a_text_of_limited_length_is_measured_here() -> None:
    assert sent(pa.string(), "character varying(10)") == Wire(pa.string(), longest=10)


def test_json_and_enums_are_copied_as_text_and_cast_only_when_staged() -> None:
    assert sent(pa.string(), "json") == Wire(pa.string(), cast="json", direct=True)
    mood = Column("v", "mood", arrow=pa.string())
    assert wire(pa.field("v", pa.string()), mood) == Wire(pa.string(), cast="mood", direct=True)


@pytest.mark.parametrize("name", ["x" * 63, "ü" * 31])
def test_a_name_of_63_bytes_is_fine(name: str) -> None:
    check_length(name, "name")


@pytest.mark.parametrize("name", ["x" * 64, "ü" * 32])
def test_a_longer_name_would_be_cut(name: str) -> None:
    with pytest.raises(PlanError, match="more than 63 bytes"):
        check_length(name, "name")


# --- arrays as text -----------------------------------------------------------------------------------------


def test_lists_are_written_as_the_server_reads_them() -> None:
    values = pa.array([["a", "b,c"], ['say "hi"', "back\\slash", None], [], None, ["NULL", ""]])
    assert array_text(values, column="v").to_pylist() == [
        '{"a","b,c"}',
        '{"say \\"hi\\"","back\\\\slash",NULL}',
        "{}",
        None,
        '{"NULL",""}',
    ]


def test_a_part_of_a_list_column_is_only_that_part() -> None:
    values = pa.array([[1], None, [2, 3], [4]]).slice(1, 2)
    assert array_text(values, column="v").to_pylist() == [None, '{"2","3"}']


def test_elements_keep_their_exact_value() -> None:
    when = pa.array([[dt.datetime(2024, 1, 1, 12, 0, 0, 5)]], pa.list_(TIMESTAMPTZ))
    assert array_text(when, column="v").to_pylist() == ['{"2024-01-01 12:00:00.000005+00"}']
    ids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([uuid.UUID(int=7).bytes], pa.binary(16)))
    lists = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), ids)
    assert array_text(lists, column="v").to_pylist() == ['{"00000000-0000-0000-0000-000000000007"}']


def test_an_empty_column_of_lists() -> None:
    assert array_text(pa.array([], pa.list_(pa.int32())), column="v").to_pylist() == []
