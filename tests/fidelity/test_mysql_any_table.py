"""Any table through MariaDB and back is the same, or an error names a column and nothing is there.

DATAPIPE_TEST_EXAMPLES says how many tables are tried on each road.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pyarrow as pa
import pytest
from conftest import mysql_database
from contracts.sinks import Sink
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import datapipe
from datapipe.data.casting import cast_batch
from datapipe.data.types import tagged
from datapipe.errors import DataError
from datapipe.pipeline import Pipeline

many = settings(
    max_examples=int(os.environ.get("DATAPIPE_TEST_EXAMPLES", "15")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
ODD = st.sampled_from(
    ["", "NULL", "\\N", "'", "''", '"', "\\", "\\'", ",", "\t", "\n", "\r\n", " ", "a ", "é", "😀", "--", "%s"]
)
TEXT = st.lists(ODD | st.text(st.characters(codec="utf-8"), max_size=3), max_size=4).map("".join)
PRINTED = TEXT.map(lambda text: text.replace("\0", ""))
DAYS, CLOCK = st.dates(), st.times()
MOMENTS = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999))
INSTANTS = st.datetimes(dt.datetime(1970, 1, 1, 0, 0, 1), dt.datetime(2038, 1, 19, 3, 14, 7)) | MOMENTS
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT, lambda inner: st.lists(inner, max_size=3), max_leaves=5
)


def whole(low: int, high: int) -> st.SearchStrategy[int]:
    return st.sampled_from([low, high, 0]) | st.integers(low, high)


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    limit = 10**precision - 1
    return whole(-limit, limit).map(lambda unscaled: Decimal(f"{unscaled}E-{scale}"))


def spelled(values: st.SearchStrategy[Decimal]) -> st.SearchStrategy[str]:
    return values.map(lambda value: f"{value:f}")


FIELDS: list[tuple[pa.Field[Any], st.SearchStrategy[Any]]] = [
    (pa.field("", pa.bool_()), st.booleans()),
    (pa.field("", pa.int8()), whole(-(2**7), 2**7 - 1)),
    (pa.field("", pa.int16()), whole(-(2**15), 2**15 - 1)),
    (pa.field("", pa.int32()), whole(-(2**31), 2**31 - 1)),
    (pa.field("", pa.int64()), whole(-(2**63), 2**63 - 1)),
    (pa.field("", pa.uint8()), whole(0, 2**8 - 1)),
    (pa.field("", pa.uint16()), whole(0, 2**16 - 1)),
    (pa.field("", pa.uint32()), whole(0, 2**32 - 1)),
    (pa.field("", pa.uint64()), whole(0, 2**64 - 1)),
    (pa.field("", pa.float32()), st.floats(width=32)),
    (pa.field("", pa.float64()), st.floats()),
    (pa.field("", pa.string()), TEXT),
    (pa.field("", pa.binary()), st.binary(max_size=6) | st.sampled_from([b"\\N", b"'", b"\0", b"\n", b""])),
    (pa.field("", pa.date32()), DAYS),
    (pa.field("", pa.time64("us")), CLOCK),
    (pa.field("", pa.timestamp("us")), MOMENTS),
    (pa.field("", pa.timestamp("us", "UTC")), INSTANTS.map(lambda moment: moment.replace(tzinfo=dt.UTC))),
    (pa.field("", pa.uuid()), st.uuids().map(lambda value: value.bytes)),
    (pa.field("", pa.decimal128(5, 2)), decimals(5, 2)),
    (pa.field("", pa.decimal128(38, 20)), decimals(38, 20)),
    (pa.field("", pa.decimal128(18, 18)), decimals(18, 18)),
    (tagged("", "numeric(65,30)"), spelled(decimals(65, 30))),
    (tagged("", "json"), ANY_JSON.map(json.dumps)),
    (tagged("", "json"), ANY_JSON.map(lambda value: json.dumps(value, ensure_ascii=False))),
    (tagged("", "varchar(9)"), TEXT.map(lambda text: text[:9])),
    (tagged("", "char(5)"), TEXT.map(lambda text: text[:5].rstrip(" "))),  # the rest is padding
    (tagged("", "bit(8)"), whole(0, 255).map("{:08b}".format)),
    (tagged("", "bit(64)"), whole(0, 2**64 - 1).map("{:064b}".format)),
    (tagged("", "enum('a','it''s','1','')"), st.sampled_from(["a", "it's", "1", "", "2", "A"])),
    (tagged("", "set('a','b','c')"), st.sampled_from(["", "a", "a,b", "a,b,c", "c,a"])),
    (tagged("", "inet"), st.ip_addresses().map(str)),
    (pa.field("", pa.list_(pa.int64())), st.lists(st.integers(0, 9), max_size=2)),
]
# Types of PostgreSQL, and the text of their values.
TYPES: dict[str, st.SearchStrategy[str]] = {
    "boolean": st.sampled_from(["true", "false"]),
    "smallint": whole(-(2**15), 2**15 - 1).map(str),
    "integer": whole(-(2**31), 2**31 - 1).map(str),
    "bigint": whole(-(2**63), 2**63 - 1).map(str),
    "real": st.floats(width=32).map(str),
    "double precision": st.floats().map(str),
    "numeric(15,2)": spelled(decimals(15, 2)),
    "numeric(38,18)": spelled(decimals(38, 18)),
    "numeric(50,10)": spelled(decimals(50, 10)),
    "numeric": spelled(decimals(30, 15)) | spelled(decimals(80, 40)) | st.just("NaN"),
    "text": PRINTED,
    "varchar(9)": PRINTED.map(lambda text: text[:9]),
    "char(5)": PRINTED.map(lambda text: text[:5]),
    "bytea": st.binary(max_size=6).map(lambda value: "\\x" + value.hex()),
    "date": DAYS.map(str) | st.sampled_from(["0002-01-01 BC", "10000-01-01"]),
    "time": CLOCK.map(str),
    "timestamp": MOMENTS.map(str),
    "timestamptz": INSTANTS.map(lambda moment: f"{moment}+00"),
    "uuid": st.uuids().map(str),
    "json": ANY_JSON.map(json.dumps),
    "jsonb": ANY_JSON.map(lambda value: json.dumps(value).replace("\\u0000", "")),
    "inet": st.ip_addresses().map(str),
    "bit(3)": st.sampled_from(["101", "000"]),
    "interval": st.just("1 day"),
}


@st.composite
def frames(draw: st.DrawFn) -> pa.Table:
    """A few columns of these types, in some batches; some without a NULL, some of nothing else."""
    chosen = draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=5))
    rows = draw(st.integers(0, 6))
    fields = [field.with_name(f"c{number}") for number, (field, _) in enumerate(chosen)]
    columns = []
    for field, values in chosen:
        value = draw(st.sampled_from([values, st.none() | values, st.none()]))
        columns.append(pa.array(draw(st.lists(value, min_size=rows, max_size=rows)), field.type))
    schema = pa.schema([pa.field("id", pa.int64()), *fields])
    return pa.Table.from_arrays([pa.array(range(rows), pa.int64()), *columns], schema=schema)


@st.composite
def sources(draw: st.DrawFn) -> tuple[list[str], list[list[str | None]]]:
    """The types of a few columns, and rows of texts."""
    types = draw(st.lists(st.sampled_from(list(TYPES)), min_size=1, max_size=5))
    return types, draw(st.lists(st.tuples(*(st.none() | TYPES[type_] for type_ in types)).map(list), max_size=6))


@pytest.fixture(params=["load", "insert"])
def road(request: pytest.FixtureRequest) -> Iterator[Sink]:
    with mysql_database(request.getfixturevalue(f"mysql_{'insert_' * (request.param == 'insert')}server")) as url:
        yield Sink("mysql", url)


def arrived(plan: Pipeline, names: set[str]) -> bool:
    """Whether the plan ran; if it did not, the error must name one of the columns."""
    try:
        plan.run()
    except DataError as error:
        assert error.column in names, error
        event("refused")
        return False
    event("arrived")
    return True


@many
@given(table=frames(), through=st.sampled_from(["arrow", "pandas"]))
def test_a_frame_comes_back_from_mariadb(road: Sink, table: pa.Table, through: str) -> None:
    road.sql("DROP TABLE IF EXISTS t")
    plan = datapipe.read(table)
    plan = plan.apply(lambda frame: frame) if through == "pandas" else plan
    if not arrived(plan.write("t", to=road.url), set(table.column_names)):
        assert "t" not in road.tables()
        return
    back = datapipe.read("SELECT * FROM t ORDER BY id", source=road.url).collect("arrow")
    expected = [column.to_pylist() for column in table.columns]
    again = [cast_batch(batch, table.schema) for batch in back.to_batches()]
    found = pa.Table.from_batches(again, table.schema)
    assert [list(map(told, column.to_pylist())) for column in found.columns] == [list(map(told, c)) for c in expected]


def told(value: Any) -> Any:
    """A value with its sign, which 0.0 == -0.0 has not."""
    return repr(value) if isinstance(value, float) else value


@pytest.fixture(scope="module")
def postgresql(postgresql_server: str) -> Iterator[tuple[str, psycopg.Connection[Any]]]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgresql_server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        url = urlsplit(postgresql_server)._replace(path=f"/{name}").geturl()
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("SET TimeZone TO 'UTC'")
            yield url, conn
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@many
@given(source=sources())
def test_a_table_of_postgresql_comes_back_from_mariadb(
    road: Sink, postgresql: tuple[str, psycopg.Connection[Any]], source: tuple[list[str], list[list[str | None]]]
) -> None:
    (url, conn), (types, rows) = postgresql, source
    road.sql("DROP TABLE IF EXISTS t")
    names = [f"c{number}" for number in range(len(types))]
    columns = ", ".join(f"{name} {type_}" for name, type_ in zip(names, types, strict=True))
    conn.execute(f"DROP TABLE IF EXISTS source, target; CREATE TABLE source (id integer, {columns})".encode())
    conn.execute(b"CREATE TABLE target (LIKE source)")
    marks = ", ".join(f"%s::text::{type_}" for type_ in types)
    with conn.cursor() as cursor:
        insert = f"INSERT INTO source VALUES (%s, {marks})".encode()
        cursor.executemany(insert, [[number, *row] for number, row in enumerate(rows)])
    if not arrived(datapipe.read("source", source=url).write("t", to=road.url), set(names)):
        assert "t" not in road.tables()
        return
    datapipe.read("t", source=road.url).write("target", to=url).run()
    # MariaDB gives a number without precision 30 decimal places.
    items = ", ".join(
        f"trim_scale({n})::text" if t == "numeric" else f"{n}::text" for n, t in zip(names, types, strict=True)
    )
    before, after = (
        conn.execute(f"SELECT {items} FROM {t} ORDER BY id".encode()).fetchall() for t in ("source", "target")
    )
    assert after == before
