from __future__ import annotations

import pyarrow as pa
import pytest

from datapipe.data.types import (
    CARRIERS,
    EXACT_NUMERIC,
    INTERVAL,
    TIMESTAMP,
    TIMESTAMPTZ,
    describe,
    duckdb_type,
    normal,
    normal_field,
    postgresql_type,
    sqlite_field,
    sqlite_type,
    tag,
    tagged,
)
from datapipe.errors import SchemaError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (pa.large_string(), pa.string()),
        (pa.string_view(), pa.string()),
        (pa.dictionary(pa.int8(), pa.large_string()), pa.string()),
        (pa.run_end_encoded(pa.int32(), pa.int64()), pa.int64()),
        (pa.large_binary(), pa.binary()),
        (pa.binary(4), pa.binary()),
        (pa.date64(), pa.date32()),
        (pa.time32("s"), pa.time64("us")),
        (pa.time64("ns"), pa.time64("us")),
        (pa.timestamp("ns"), TIMESTAMP),
        (pa.timestamp("s", "Europe/Paris"), TIMESTAMPTZ),
        (pa.duration("ns"), INTERVAL),
        (pa.float16(), pa.float32()),
        (pa.decimal256(20, 2), pa.decimal128(20, 2)),
        (pa.decimal128(5, -2), pa.decimal128(7, 0)),
        (pa.large_list(pa.large_string()), pa.list_(pa.string())),
        (pa.list_(pa.date64(), 3), pa.list_(pa.date32())),
        (pa.struct([("a", pa.large_string())]), pa.struct([("a", pa.string())])),
        (pa.uuid(), pa.uuid()),
        (pa.null(), pa.null()),
    ],
)
def test_each_type_has_one_spelling(given: pa.DataType, expected: pa.DataType) -> None:
    assert normal(given) == expected
    assert normal(expected) == expected


def test_a_decimal_has_at_most_38_digits() -> None:
    assert normal(pa.decimal256(39, 2)) == pa.decimal128(38, 2)
    with pytest.raises(SchemaError, match="'price'") as caught:
        normal_field(pa.field("price", pa.decimal256(60, 40)))
    assert caught.value.column == "price"


def test_a_normal_field_keeps_name_nullability_and_tag_and_nothing_else() -> None:
    given = pa.field("doc", pa.large_string(), False, metadata={b"datapipe.type": b"jsonb", b"note": b"x"})
    found = normal_field(given)
    assert (found.name, found.type, found.nullable, tag(found)) == ("doc", pa.string(), False, "jsonb")
    assert found.metadata == {b"datapipe.type": b"jsonb"}
    assert normal_field(pa.field("a", pa.int64(), metadata={b"note": b"x"})).metadata is None


def test_extension_types_become_what_they_hold_or_what_they_mean() -> None:
    assert tag(normal_field(pa.field("j", pa.json_()))) == "json"
    assert normal_field(pa.field("u", pa.uuid())).type == pa.uuid()
    assert normal_field(pa.field("b", pa.bool8())).type == pa.int8()


@pytest.mark.parametrize("carrier", CARRIERS, ids=lambda carrier: str(carrier.arrow))
def test_every_carrier_names_its_column_type_in_each_database(carrier: object) -> None:
    field = pa.field("x", carrier.arrow)  # type: ignore[attr-defined]  # a Carrier
    assert postgresql_type(field) == carrier.postgresql  # type: ignore[attr-defined]  # a Carrier
    assert duckdb_type(field) == carrier.duckdb  # type: ignore[attr-defined]  # a Carrier


def test_decimals_and_lists_name_their_parameters() -> None:
    price = pa.field("x", pa.decimal128(15, 2))
    assert (postgresql_type(price), duckdb_type(price), describe(price)) == (
        "numeric(15,2)",
        "DECIMAL(15,2)",
        "numeric(15,2)",
    )
    nested = pa.field("x", pa.list_(pa.list_(pa.int32())))
    assert (postgresql_type(nested), duckdb_type(nested)) == ("integer[][]", "INTEGER[][]")
    assert duckdb_type(pa.field("x", pa.struct([("a", pa.int64())]))) == 'STRUCT("a" BIGINT)'


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("jsonb", "jsonb"),
        ("numeric", "numeric"),
        ("time with time zone", "time with time zone"),
        ("varchar(20)[]", "varchar(20)[]"),
        ("int4); DROP TABLE users; --", "text"),
        ('we"ird', "text"),
    ],
)
def test_a_tag_is_the_postgresql_type_if_it_looks_like_one(declared: str, expected: str) -> None:
    assert postgresql_type(tagged("x", declared)) == expected


def test_sqlite_keeps_digits_that_doubles_lose() -> None:
    assert sqlite_type(pa.field("x", pa.decimal128(15, 2))) == "DECIMAL(15,2)"
    assert sqlite_type(pa.field("x", EXACT_NUMERIC)) == "DECIMAL TEXT(38,20)"
    assert sqlite_type(tagged("x", "numeric")) == "DECIMAL TEXT"
    assert sqlite_type(tagged("x", "inet")) == "TEXT"


@pytest.mark.parametrize(
    "type_",
    [
        *(pa.bool_(), pa.int64(), pa.float64(), pa.string(), pa.binary(), pa.date32(), pa.time64("us")),
        *(TIMESTAMP, TIMESTAMPTZ, pa.uuid(), pa.decimal128(9, 2), EXACT_NUMERIC),
    ],
    ids=str,
)
def test_a_declared_sqlite_type_stands_for_the_type_it_was_made_from(type_: pa.DataType) -> None:
    field = pa.field("x", type_)
    assert sqlite_field("x", sqlite_type(field)) == field


def test_an_unknown_sqlite_type_stands_for_nothing() -> None:
    assert sqlite_field("x", "GEOMETRY") is None
    numeric = sqlite_field("x", "NUMERIC")
    assert numeric is not None
    assert tag(numeric) == "numeric"


def test_a_type_without_a_counterpart_is_refused_by_name() -> None:
    with pytest.raises(SchemaError, match="'gap' holds only NULLs"):
        postgresql_type(pa.field("gap", pa.null()))
    with pytest.raises(SchemaError, match="'span'"):
        sqlite_type(pa.field("span", INTERVAL))
    assert describe(pa.field("gap", pa.null())) == "null"
