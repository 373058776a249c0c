from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from datapipe.data.stream import Workspace
from datapipe.data.types import INTERVAL, TIMESTAMP, TIMESTAMPTZ, tag
from datapipe.errors import DataError, PlanError, RunCancelled
from datapipe.ingestion.alchemy import _declared, _observed, _to_array, for_driver, read_alchemy, read_reflected
from datapipe.plan import DatabaseUrl

ROW = {
    "i": 2**62,
    "b": True,
    "s": "it's",
    "f": 0.1,
    "d": dt.date(2024, 1, 1),
    "ts": dt.datetime(2024, 1, 1, 1, 2, 3, 4),
    "tm": dt.time(1, 2),
    "bl": b"\x00",
    "u": uuid.UUID(int=7),
}
COLUMNS = [
    sa.Column("i", sa.BigInteger),
    sa.Column("b", sa.Boolean),
    sa.Column("s", sa.String(3)),
    sa.Column("f", sa.Float),
    sa.Column("d", sa.Date),
    sa.Column("ts", sa.DateTime),
    sa.Column("tm", sa.Time),
    sa.Column("bl", sa.LargeBinary),
    sa.Column("u", sa.Text),
]


@pytest.fixture
def url(sqlite_url: str) -> DatabaseUrl:
    return DatabaseUrl.parse(sqlite_url)


@pytest.fixture
def conn(sqlite_url: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine(sqlite_url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def read(url: DatabaseUrl, query: str, work: Workspace | None = None, **parameters: Any) -> pa.Table:
    with read_alchemy(query, parameters, url, work or Workspace()) as stream:
        return pa.Table.from_batches(list(stream.batches), stream.schema)


def read_table(url: DatabaseUrl, table: str, work: Workspace | None = None) -> pa.Table:
    with read_reflected(table, None, url, work or Workspace()) as stream:
        return pa.Table.from_batches(list(stream.batches), stream.schema)


def test_a_table_is_read_in_its_declared_types_even_if_it_is_empty(conn: sa.Connection, url: DatabaseUrl) -> None:
    table = sa.Table('odd "name', sa.MetaData(), *(column._copy() for column in COLUMNS))
    table.create(conn)
    conn.commit()
    types = [
        pa.int64(),
        pa.bool_(),
        pa.string(),
        pa.float64(),
        pa.date32(),
        TIMESTAMP,
        pa.time64("us"),
        pa.binary(),
        pa.string(),
    ]
    assert read_table(url, 'odd "name').schema.types == types
    row = ROW | {"u": str(ROW["u"])}
    conn.execute(table.insert(), [row, dict.fromkeys(ROW)])
    conn.commit()
    assert read_table(url, 'odd "name').to_pylist() == [row, dict.fromkeys(ROW)]


@pytest.mark.parametrize(
    ("declared", "expected", "tagged"),
    [
        (sa.Numeric(10, 2), pa.decimal128(10, 2), None),
        (sa.Numeric(), pa.string(), "numeric"),
        (sa.Numeric(50, 2), pa.string(), "numeric"),
        (sa.DateTime(timezone=True), TIMESTAMPTZ, None),
        (sa.Interval(), INTERVAL, None),
        (sa.Uuid(), pa.uuid(), None),
        (mysql.BIGINT(unsigned=True), pa.uint64(), None),
        (mysql.LONGBLOB(), pa.binary(), None),
        (mysql.ENUM("a"), pa.string(), None),
    ],
    ids=repr,
)
def test_declared_types_have_their_counterparts(declared: Any, expected: pa.DataType, tagged: str | None) -> None:
    field = _declared(sa.Column("a", declared), native=True)
    assert (field.type, tag(field)) == (expected, tagged)


@pytest.mark.parametrize(
    ("declared", "native"), [(sa.JSON(), True), (sa.Numeric(5, 2), False), (mysql.BIT(8), True)], ids=repr
)
def test_a_declared_type_without_an_exact_counterpart_is_refused_with_the_cure(declared: Any, native: bool) -> None:
    with pytest.raises(PlanError, match=r"column 'a' is of type .*CAST\(a AS CHAR"):
        _declared(sa.Column("a", declared), native=native)


def test_a_missing_table_names_the_nearest(conn: sa.Connection, url: DatabaseUrl) -> None:
    sa.Table("customers", sa.MetaData(), sa.Column("id", sa.Integer)).create(conn)
    conn.commit()
    with pytest.raises(PlanError, match=r"no table 'cutsomers'\. Did you mean 'customers'"):
        read_table(url, "cutsomers")


def test_a_query_gives_each_column_the_type_of_its_values(url: DatabaseUrl) -> None:
    table = read(
        url, "SELECT 1 AS i, 0.5 AS f, 'x' AS s, x'00' AS b, NULL AS n UNION ALL SELECT NULL, NULL, NULL, NULL, NULL"
    )
    assert table.schema.types == [pa.int64(), pa.float64(), pa.string(), pa.binary(), pa.null()]
    assert table.to_pylist() == [{"i": 1, "f": 0.5, "s": "x", "b": b"\0", "n": None}, dict.fromkeys("ifsbn")]


def test_the_type_of_a_column_counts_the_last_row(url: DatabaseUrl) -> None:
    query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000) SELECT CASE i WHEN 9000 THEN 'x' ELSE i END AS a FROM n"
    with pytest.raises(DataError, match="column 'a' holds values of class int, str"):
        read(url, query)


def test_only_parameters_are_parameters(url: DatabaseUrl) -> None:
    table = read(url, r"SELECT ':v \:v ::x %s %(v)s' AS text, :v AS a, '12:30' AS b", v="it's", unused=1)
    assert table.to_pylist() == [{"text": r":v \:v ::x %s %(v)s", "a": "it's", "b": "12:30"}]


@pytest.mark.parametrize(
    ("query", "message"), [("SELECT * FROM nope", "no such table: nope"), ("SELECT FROM", "syntax error")]
)
def test_a_wrong_query_is_a_plan_error(url: DatabaseUrl, query: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        read(url, query)


@pytest.mark.parametrize(
    ("style", "text", "values"),
    [
        ("qmark", "a LIKE '%:b' AND c = ? OR d IN (?, ?)", (1, 2, 1)),
        ("format", "a LIKE '%%:b' AND c = %s OR d IN (%s, %s)", (1, 2, 1)),
        ("pyformat", "a LIKE '%%:b' AND c = %(x)s OR d IN (%(y)s, %(x)s)", {"x": 1, "y": 2}),
        ("named", "a LIKE '%:b' AND c = :x OR d IN (:y, :x)", {"x": 1, "y": 2}),
        ("numeric", "a LIKE '%:b' AND c = :1 OR d IN (:2, :3)", (1, 2, 1)),
        ("numeric_dollar", "a LIKE '%:b' AND c = $1 OR d IN ($2, $3)", (1, 2, 1)),
    ],
)
def test_a_query_is_written_in_the_drivers_style(style: str, text: str, values: Any) -> None:
    query = "a LIKE '%:b' AND c = :x OR d IN (:y, :x)"
    assert for_driver(query, {"x": 1, "y": 2, "unused": 3}, style) == (text, values)


def test_two_columns_of_one_name_are_refused(url: DatabaseUrl) -> None:
    with pytest.raises(DataError, match="two columns called 'a'"):
        read(url, "SELECT 1 AS a, 2 AS a")


def test_many_rows_come_in_order_and_the_limit_holds(url: DatabaseUrl, tmp_path: Path) -> None:
    query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000) SELECT i FROM n"
    assert read(url, query).column("i").to_pylist() == list(range(1, 9001))
    assert read(url, query, Workspace(limit=5000)).num_rows == 5000
    assert read(url, query, Workspace(limit=0)).num_rows == 0


def test_a_cancelled_run_raises(url: DatabaseUrl) -> None:
    work = Workspace()
    with read_alchemy("SELECT 1 AS a", {}, url, work) as stream:
        work.cancel.cancel()
        with pytest.raises(RunCancelled):
            list(stream.batches)


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (TIMESTAMP, [dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, tzinfo=dt.UTC)]),
        (TIMESTAMPTZ, [dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.datetime(2024, 1, 1)]),
        (pa.int64(), [1, 2**63]),
        (pa.int64(), [1, "1"]),
        (pa.bool_(), [True, 1]),
    ],
    ids=repr,
)
def test_a_value_that_is_not_of_its_columns_type_is_named(type_: pa.DataType, values: list[Any]) -> None:
    with pytest.raises(DataError) as caught:
        _to_array(values, pa.field("a", type_), 11)
    assert (caught.value.column, caught.value.row) == ("a", 12)


def test_times_with_a_zone_are_instants() -> None:
    noon = dt.datetime(2024, 1, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    field = _observed("a", {dt.datetime, "with a time zone", type(None)})
    assert field.type == TIMESTAMPTZ
    assert _to_array([noon, None], field, 1).to_pylist() == [noon, None]


def test_a_statement_is_interrupted(url: DatabaseUrl) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    work = Workspace()
    timer = threading.Timer(0.2, work.cancel.cancel)
    timer.start()
    with pytest.raises(RunCancelled):
        read(url, endless, work)
    timer.join()
