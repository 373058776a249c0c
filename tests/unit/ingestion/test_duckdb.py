from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from datapipe.data.stream import Workspace
from datapipe.data.types import INTERVAL, TIMESTAMPTZ, tag
from datapipe.errors import DataError, PlanError, RunCancelled
from datapipe.ingestion.duckdb import read_duckdb
from datapipe.plan import DatabaseUrl

Make = Callable[..., DatabaseUrl]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Runs statements on a new file and gives its URL."""

    def made(*statements: str, name: str = "source.duckdb") -> DatabaseUrl:
        con = duckdb.connect(tmp_path / name)
        for statement in statements:
            con.execute(statement).complete()
        con.close()
        return DatabaseUrl.parse(f"duckdb:///{tmp_path / name}")

    return made


def read(url: DatabaseUrl, query: str, work: Workspace | None = None, **parameters: Any) -> pa.Table:
    with read_duckdb(query, parameters, url, work or Workspace()) as stream:
        return pa.Table.from_batches(list(stream.batches), stream.schema)


KEY = "123e4567-e89b-12d3-a456-426614174000"


@pytest.mark.parametrize(
    ("expression", "type_", "tagged", "value"),
    [
        ("1::TINYINT", pa.int8(), None, 1),
        ("1::UBIGINT", pa.uint64(), None, 1),
        ("9223372036854775807::HUGEINT", pa.int64(), None, 2**63 - 1),
        ("7::UHUGEINT", pa.int64(), None, 7),
        ("1.5::DECIMAL(9, 2)", pa.decimal128(9, 2), None, Decimal("1.50")),
        (f"'{KEY}'::UUID", pa.uuid(), None, uuid.UUID(KEY)),
        ("'{\"a\": 1}'::JSON", pa.string(), "json", '{"a": 1}'),
        ("'101'::BIT", pa.string(), "bit varying", "101"),
        (
            "12345678901234567890123456789012345678901::BIGNUM",
            pa.string(),
            "numeric",
            "12345678901234567890123456789012345678901",
        ),
        ("'10:00:00+02'::TIMETZ", pa.string(), "time with time zone", "10:00:00+02"),
        ("'2024-01-01 10:00:00+02'::TIMESTAMPTZ", TIMESTAMPTZ, None, dt.datetime(2024, 1, 1, 8, tzinfo=dt.UTC)),
        ("'a'::ENUM('a', 'b')", pa.string(), None, "a"),
        ("INTERVAL 1 DAY", INTERVAL, None, pa.MonthDayNano([0, 1, 0])),
        ("[1, 2]::BIGINT[]", pa.list_(pa.int64()), None, [1, 2]),
        ("{'x': 1::BIGINT}", pa.struct([("x", pa.int64())]), None, {"x": 1}),
    ],
)
def test_a_value_arrives_exactly(
    make: Make, expression: str, type_: pa.DataType, tagged: str | None, value: Any
) -> None:
    url = make(f"CREATE TABLE t AS SELECT {expression} AS a UNION ALL SELECT NULL")
    table = read(url, "SELECT a FROM t")
    field = table.schema.field("a")
    assert (field.type, tag(field), table.column("a").to_pylist()) == (type_, tagged, [value, None])
    assert read(url, "SELECT a FROM t WHERE false").schema == table.schema


def test_a_sum_of_integers_is_an_integer_and_one_beyond_64_bits_is_refused(make: Make) -> None:
    url = make("CREATE TABLE t AS SELECT 9223372036854775807::BIGINT AS a")
    assert read(url, "SELECT sum(a) AS s FROM t").to_pylist() == [{"s": 2**63 - 1}]
    with pytest.raises(DataError, match="column 's', row 1"):
        read(url, "SELECT sum(a) AS s FROM (FROM t UNION ALL FROM t)")


def test_named_parameters_are_bound_and_casts_are_not_parameters(make: Make) -> None:
    url = make("CREATE TABLE t AS SELECT 1 AS a, 'it''s' AS b")
    query = "SELECT a::BIGINT AS a, ':no' AS c FROM t WHERE b = :name AND a < :most"
    assert read(url, query, name="it's", most=Decimal("1.5"), unused=1).to_pylist() == [{"a": 1, "c": ":no"}]


def test_views_schemas_and_odd_file_names_work(make: Make) -> None:
    url = make(
        "CREATE SCHEMA s",
        "CREATE TABLE s.t AS SELECT 1 AS a",
        'CREATE VIEW v AS SELECT * FROM "odd ""name".s.t',
        name='odd "name.x.duckdb',
    )
    assert read(url, "FROM v").to_pylist() == read(url, "FROM s.t").to_pylist() == [{"a": 1}]
    assert read(make("CREATE TABLE t AS SELECT 1 AS a", name="memory.duckdb"), "FROM t").num_rows == 1


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT * FROM cutsomers", "Table with name cutsomers does not exist! Did you mean"),
        ("SELECT nope FROM customers", 'column "nope" not found'),
        ("SELECT * FROM read_csv('/etc/passwd')", "file system operations are disabled"),
        ("SELECT * FROM '/etc/passwd'", "does not exist"),
        ("SELECT FROM", "syntax error"),
    ],
)
def test_a_query_that_does_not_bind_or_reaches_out_is_a_plan_error(make: Make, query: str, message: str) -> None:
    url = make("CREATE TABLE customers AS SELECT 1 AS id")
    with pytest.raises(PlanError) as caught:
        read(url, query)
    assert message in str(caught.value)


def test_a_variable_of_the_program_is_no_table(make: Make) -> None:
    customers = pa.table({"a": [1]})
    with pytest.raises(PlanError, match="customers"):
        read(make(), "SELECT * FROM customers")
    assert customers.num_rows == 1


def test_a_value_that_does_not_cast_is_a_data_error_without_the_value(make: Make) -> None:
    url = make("CREATE TABLE t AS SELECT i::VARCHAR AS a FROM range(100000) r(i) UNION ALL SELECT 'secret'")
    with pytest.raises(DataError, match="Could not convert") as caught:
        read(url, "SELECT a::INTEGER AS a FROM t")
    assert "secret" not in str(caught.value)


def test_the_database_is_only_read(make: Make) -> None:
    url = make("CREATE SEQUENCE s", "CREATE TABLE t AS SELECT 1 AS a")
    with pytest.raises((PlanError, DataError), match="read-only"):
        read(url, "SELECT nextval('s') AS a")


def test_two_columns_of_one_name_are_refused_and_case_is_kept(make: Make) -> None:
    url = make()
    with pytest.raises(DataError, match="two columns called 'a'"):
        read(url, "SELECT 1 AS a, 2 AS a")
    assert read(url, "SELECT 1 AS a, 2 AS A").to_pylist() == [{"a": 1, "A": 2}]


def test_a_missing_file_is_named_and_not_created(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"no DuckDB file 'duckdb nope\.duckdb'"):
        read(DatabaseUrl.parse(f"duckdb:///{tmp_path / 'nope.duckdb'}"), "SELECT 1")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.duckdb").write_text("hello " * 10_000)
    with pytest.raises(PlanError, match=r"duckdb t\.duckdb cannot be opened"):
        read(DatabaseUrl.parse(f"duckdb:///{tmp_path / 't.duckdb'}"), "SELECT 1")


def test_a_file_open_in_this_process_is_refused_with_the_cure(make: Make) -> None:
    url = make("CREATE TABLE t AS SELECT 1 AS a")
    con = duckdb.connect(url.full.removeprefix("duckdb:///"))
    with pytest.raises(PlanError, match=r"open in this process already\. Close that connection"):
        read(url, "FROM t")
    con.close()
    assert read(url, "FROM t").num_rows == 1


def test_a_file_may_be_read_twice_at_once(make: Make) -> None:
    url = make("CREATE TABLE t AS SELECT 1 AS a")
    with read_duckdb("FROM t", {}, url, Workspace()) as first, read_duckdb("FROM t", {}, url, Workspace()) as second:
        assert next(first.batches).to_pylist() == next(second.batches).to_pylist()


def test_a_large_result_streams_in_order_and_in_batches_of_the_asked_size(make: Make) -> None:
    work = Workspace(memory=1 << 20)
    url = make("CREATE TABLE t AS SELECT i AS a, repeat('x', 100) AS b FROM range(50000) r(i)")
    with read_duckdb("SELECT a, b FROM t", {}, url, work) as stream:
        batches = list(stream.batches)
    assert pa.Table.from_batches(batches).column("a").to_pylist() == list(range(50_000))
    assert len(batches) > 10
    assert max(batch.nbytes for batch in batches) <= 2 * work.batch_bytes


def test_a_cancelled_run_interrupts_the_query(make: Make) -> None:
    work = Workspace()
    timer = threading.Timer(0.3, work.cancel.cancel)
    timer.start()
    with pytest.raises(RunCancelled):
        read(
            make(),
            "SELECT count(*) AS n FROM range(10000000) a, range(10000000) b WHERE a.range * b.range % 7 = 3",
            work,
        )
    timer.join()
