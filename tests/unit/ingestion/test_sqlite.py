from __future__ import annotations

import datetime as dt
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.pool import StaticPool

from datapipe.data.stream import Workspace
from datapipe.data.types import CARRIERS, TIMESTAMP, TIMESTAMPTZ, sqlite_type, tag, tagged
from datapipe.errors import DataError, PlanError, RunCancelled
from datapipe.ingestion.sqlite import read_sqlite
from datapipe.plan import DatabaseUrl

COUNT = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i FROM n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "source.db"


@pytest.fixture
def db(file: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(file, isolation_level=None)
    yield connection
    connection.close()


def url(file: Path) -> DatabaseUrl:
    return DatabaseUrl.parse(f"sqlite:///{file}")


def read(file: Path, query: str, work: Workspace | None = None, **parameters: Any) -> pa.Table:
    with read_sqlite(query, parameters, url(file), work or Workspace()) as stream:
        return pa.Table.from_batches(list(stream.batches), stream.schema)


def stored(db: sqlite3.Connection, declared: str, *values: Any) -> None:
    db.execute(f"CREATE TABLE t (a {declared})")
    db.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])


FIELDS = [pa.field("a", carrier.arrow) for carrier in CARRIERS if carrier.sqlite] + [
    pa.field("a", pa.decimal128(9, 2)),
    pa.field("a", pa.decimal128(30, 4)),
    tagged("a", "numeric"),
    tagged("a", "json"),
]


@pytest.mark.parametrize("field", FIELDS, ids=str)
def test_a_declared_type_is_read_as_the_type_it_was_declared_for(
    file: Path, db: sqlite3.Connection, field: pa.Field
) -> None:
    stored(db, sqlite_type(field))
    found = read(file, "SELECT * FROM t").schema.field("a")
    if pa.types.is_integer(field.type):
        expected = pa.decimal128(20, 0) if field.type == pa.uint64() else pa.int64()
    else:
        expected = pa.float64() if pa.types.is_floating(field.type) else field.type
    assert (found.type, tag(found)) == (expected, tag(field))


@pytest.mark.parametrize(
    ("declared", "value", "expected"),
    [
        ("BIGINT", 2**63 - 1, 2**63 - 1),
        ("VARCHAR(5)", "longer than five", "longer than five"),
        ("BOOLEAN", 1, True),
        ("BLOB", b"\x00\xff", b"\x00\xff"),
        ("DOUBLE", 0.1, 0.1),
        ("DATE", "2024-02-29", dt.date(2024, 2, 29)),
        ("TIME", "23:59:59.5", dt.time(23, 59, 59, 500_000)),
        ("TIMESTAMP", "2024-01-02 03:04:05.000006", dt.datetime(2024, 1, 2, 3, 4, 5, 6)),
        ("DATETIME", "2024-01-02T03:04:05", dt.datetime(2024, 1, 2, 3, 4, 5)),
        ("TIMESTAMPTZ", "2024-01-02 03:04:05+02:00", dt.datetime(2024, 1, 2, 1, 4, 5, tzinfo=dt.UTC)),
        ("UUID TEXT", "123E4567-e89b-12d3-a456-426614174000", uuid.UUID("123e4567-e89b-12d3-a456-426614174000")),
        ("DECIMAL(9,2)", 1.1, Decimal("1.10")),
        ("DECIMAL(9,2)", 7, Decimal("7.00")),
        ("DECIMAL TEXT(30,4)", "12345678901234567890.1234", Decimal("12345678901234567890.1234")),
        ("DECIMAL TEXT", "1.2300", "1.2300"),
        ("JSON TEXT", '{"a": [1]}', '{"a": [1]}'),
    ],
)
def test_a_stored_value_arrives_exactly(
    file: Path, db: sqlite3.Connection, declared: str, value: Any, expected: Any
) -> None:
    stored(db, declared, value, None)
    assert read(file, "SELECT a FROM t").column("a").to_pylist() == [expected, None]


@pytest.mark.parametrize(
    ("declared", "good", "bad"),
    [
        ("INTEGER", 1, "abc"),
        ("INTEGER", 1, 1.5),
        ("INTEGER", 1, b"\x01"),
        ("TEXT", "a", b"a"),
        ("BOOLEAN", 0, 7),
        ("DATE", "2024-01-01", "2024-02-30"),
        ("DATE", "2024-01-01", 1704067200),
        ("TIMESTAMP", "2024-01-01", "2024-01-01 10:00:00Z"),
        ("TIMESTAMPTZ", "2024-01-01 10:00:00Z", "2024-01-01 10:00:00"),
        ("TIME", "10:00:00", "25:00:00"),
        ("DECIMAL(5,2)", 1.5, 1.555),
        ("DECIMAL(5,2)", 1.5, "secret"),
        ("DECIMAL(20,2)", 1.5, 123456789012345.68),
        ("DECIMAL TEXT", "1", "secret"),
        ("UUID TEXT", str(uuid.uuid4()), "secret"),
    ],
)
def test_a_value_of_another_type_is_an_error_naming_column_and_row(
    file: Path, db: sqlite3.Connection, declared: str, good: Any, bad: Any
) -> None:
    stored(db, declared, good, bad)
    with pytest.raises(DataError) as caught:
        read(file, "SELECT a FROM t")
    assert (caught.value.column, caught.value.row) == ("a", 2)
    assert str(bad) not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, None, 2], pa.int64()),
        ([1, 2.5, None], pa.float64()),
        ([1.5], pa.float64()),
        (["a", None], pa.string()),
        ([b"a"], pa.binary()),
        ([None, None], pa.null()),
    ],
)
def test_an_expression_has_the_type_of_all_its_values(
    file: Path, db: sqlite3.Connection, values: list[Any], expected: pa.DataType
) -> None:
    stored(db, "", *values)
    table = read(file, "SELECT coalesce(a, NULL) AS a FROM t")
    assert table.schema.field("a").type == expected
    assert table.column("a").to_pylist() == values


def test_the_type_of_an_expression_counts_the_last_row_too(file: Path, db: sqlite3.Connection) -> None:
    query = COUNT.format(5000).replace("SELECT i FROM", "SELECT CASE i WHEN 5000 THEN i + 0.5 ELSE i END AS a FROM")
    with read_sqlite(query, {}, url(file), Workspace(limit=1)) as stream:
        assert stream.schema.field("a").type == pa.float64()


def test_numbers_and_text_in_one_expression_are_refused(file: Path, db: sqlite3.Connection) -> None:
    stored(db, "", 1, "a")
    with pytest.raises(
        DataError, match=r"'a' holds values of several kinds: integer in row 1, text in row 2.*CAST"
    ) as caught:
        read(file, "SELECT a FROM t")
    assert caught.value.column == "a"


def test_a_whole_number_that_no_double_holds_is_refused_among_fractions(file: Path, db: sqlite3.Connection) -> None:
    stored(db, "", 0.5, 2**53 + 1)
    with pytest.raises(DataError, match="column 'a', row 2"):
        read(file, "SELECT a FROM t")


def test_an_unknown_declared_type_is_settled_by_its_values(file: Path, db: sqlite3.Connection) -> None:
    stored(db, "GEOMETRY", "POINT(1 2)")
    assert read(file, "SELECT a FROM t").schema.field("a").type == pa.string()


def test_an_empty_result_keeps_the_declared_types(file: Path, db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE t (a DATE, b DECIMAL(5,1), c BLOB)")
    types = read(file, "SELECT c, b, a FROM t").schema.types
    assert types == [pa.binary(), pa.decimal128(5, 1), pa.date32()]


@pytest.mark.parametrize(
    "value",
    [
        1,
        1.5,
        "it's :x",
        None,
        True,
        b"\x00",
        Decimal("1.5"),
        Decimal("12345678901234567890.5"),
        uuid.uuid4(),
        dt.date(2024, 1, 1),
    ],
    ids=repr,
)
def test_a_parameter_arrives_as_sqlite_stores_such_values(file: Path, db: sqlite3.Connection, value: Any) -> None:
    plain = (
        str(value) if isinstance(value, (uuid.UUID, dt.date)) or value == Decimal("12345678901234567890.5") else value
    )
    found = read(file, "SELECT ':value' AS text, :value AS a", value=value, unused="x")
    assert found.to_pylist() == [{"text": ":value", "a": plain}]


def test_a_date_and_time_parameter_compares_with_stored_ones(file: Path, db: sqlite3.Connection) -> None:
    stored(db, "TIMESTAMPTZ", "2024-01-01 10:00:00.000000+00:00", "2024-01-01 12:00:00.000000+00:00")
    noon = dt.datetime(2024, 1, 1, 13, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    assert read(file, "SELECT a FROM t WHERE a > :noon", noon=noon).num_rows == 1


def test_a_parameter_of_no_stored_kind_is_refused(file: Path, db: sqlite3.Connection) -> None:
    with pytest.raises(PlanError, match=":days is a timedelta"):
        read(file, "SELECT :days", days=dt.timedelta(days=1))
    with pytest.raises(PlanError, match=":big has more than 64 bits"):
        read(file, "SELECT :big", big=2**63)


def test_a_missing_file_is_named_and_not_created(file: Path) -> None:
    with pytest.raises(PlanError, match=r"there is no SQLite file .*source\.db"):
        read(file, "SELECT 1")
    assert not file.exists()


def test_a_file_that_is_no_database_is_named(file: Path) -> None:
    file.write_text("id,name\n" * 200)
    with pytest.raises(PlanError, match=r"sqlite source\.db: file is not a database"):
        read(file, "SELECT * FROM t")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT * FROM cutsomers", "no such table: cutsomers. Did you mean 'customers'"),
        ("SELECT nope FROM customers", "no such column: nope"),
        ("SELECT * FROM customers WHERE id = ?", "written :name"),
        ("SELECT id FROM customers GROUP", "incomplete input"),
    ],
)
def test_a_wrong_query_is_a_plan_error(file: Path, db: sqlite3.Connection, query: str, message: str) -> None:
    db.execute("CREATE TABLE customers (id INTEGER)")
    with pytest.raises(PlanError) as caught:
        read(file, query)
    assert message in str(caught.value)


def test_two_columns_of_one_name_are_refused(file: Path, db: sqlite3.Connection) -> None:
    with pytest.raises(DataError, match="two columns called 'a'"):
        read(file, "SELECT 1 AS a, 2 AS a")


def test_names_that_differ_only_in_case_or_hold_quotes_are_kept(file: Path, db: sqlite3.Connection) -> None:
    names = ["a", "A", 'odd "n', "select"]
    quoted = ", ".join(f"{i} AS " + '"' + name.replace('"', '""') + '"' for i, name in enumerate(names))
    assert read(file, f"SELECT {quoted}").to_pylist() == [{"a": 0, "A": 1, 'odd "n': 2, "select": 3}]


def test_text_that_is_not_utf8_is_an_error_without_the_text(file: Path, db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE t (a TEXT)")
    db.execute("INSERT INTO t VALUES (CAST(x'736563726574ff' AS TEXT))")
    with pytest.raises(DataError, match="column 'a', row 1: the text is not UTF-8") as caught:
        read(file, "SELECT a FROM t")
    assert "secret" not in str(caught.value)


def test_an_overflow_while_reading_is_a_data_error(file: Path, db: sqlite3.Connection) -> None:
    stored(db, "INTEGER", 2**63 - 1, 1)
    with pytest.raises(DataError, match="integer overflow"):
        read(file, "SELECT sum(a) AS a FROM t")


def test_rows_written_meanwhile_are_not_seen(file: Path, db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    stored(db, "INTEGER", *range(500))
    with read_sqlite("SELECT a, a + 1 AS b FROM t", {}, url(file), Workspace()) as stream:
        db.execute("INSERT INTO t SELECT 'text' FROM t")
        assert sum(batch.num_rows for batch in stream.batches) == 500


def test_the_file_is_free_for_a_writer_after_the_last_row(file: Path, db: sqlite3.Connection) -> None:
    stored(db, "INTEGER", *range(500))
    db.execute("PRAGMA busy_timeout = 0")
    with read_sqlite("SELECT a FROM t", {}, url(file), Workspace()) as stream:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            db.execute("INSERT INTO t VALUES (1)")
        list(stream.batches)
        db.execute("INSERT INTO t VALUES (1)")


def test_batches_are_about_as_large_as_asked_for(file: Path, db: sqlite3.Connection) -> None:
    work = Workspace(memory=1 << 20)
    query = COUNT.format(60_000).replace("SELECT i FROM", "SELECT i, hex(zeroblob(20)) AS b FROM")
    with read_sqlite(query, {}, url(file), work) as stream:
        sizes = [batch.nbytes for batch in stream.batches]
    assert len(sizes) > 5
    assert max(sizes) <= 2 * work.batch_bytes


def test_an_engine_in_memory_is_read_in_any_thread_and_stays_usable() -> None:
    engine = sa.create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    with engine.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE t (a INTEGER)")
        conn.exec_driver_sql("INSERT INTO t VALUES (7)")
    found: list[pa.RecordBatch] = []
    with read_sqlite("SELECT a FROM t", {}, DatabaseUrl("sqlite://", engine=engine), Workspace()) as stream:
        thread = threading.Thread(target=lambda: found.extend(stream.batches))
        thread.start()
        thread.join()
    assert [batch.to_pylist() for batch in found] == [[{"a": 7}]]
    with engine.connect() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM t").scalar() == 1
        assert conn.exec_driver_sql("SELECT count(*) FROM sqlite_temp_master").scalar() == 0
    engine.dispose()


def test_an_engine_bound_to_its_thread_is_refused_with_the_cure() -> None:
    engine = sa.create_engine("sqlite://")
    with engine.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE t (a INTEGER)")
    errors: list[Exception] = []

    def elsewhere() -> None:
        try:
            with read_sqlite("SELECT a FROM t", {}, DatabaseUrl("sqlite://", engine=engine), Workspace()):
                pass
        except PlanError as error:
            errors.append(error)
        engine.dispose()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    engine.dispose()
    assert "StaticPool" in str(errors[0])


def test_a_cancelled_run_raises_between_batches(file: Path, db: sqlite3.Connection) -> None:
    work = Workspace(memory=1 << 20)
    with read_sqlite(COUNT.format(1_000_000), {}, url(file), work) as stream:
        next(stream.batches)
        work.cancel.cancel()
        with pytest.raises(RunCancelled):
            list(stream.batches)


def test_a_cancelled_run_interrupts_a_query_that_gives_no_row(file: Path, db: sqlite3.Connection) -> None:
    work = Workspace()
    timer = threading.Timer(0.2, work.cancel.cancel)
    timer.start()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS c FROM n"
    with pytest.raises(RunCancelled):
        read(file, endless, work)
    timer.join()


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.floats(allow_nan=False),
            st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
            st.none() | st.binary(max_size=5),
        ),
        max_size=200,
    )
)
def test_any_rows_are_read_as_they_were_stored(tmp_path: Path, rows: list[tuple[Any, ...]]) -> None:
    file = tmp_path / f"{uuid.uuid4().hex}.db"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE t (i INTEGER, f DOUBLE, s TEXT, b BLOB)")
    connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    table = read(file, "SELECT i, f, s, b FROM t")
    assert [tuple(row.values()) for row in table.to_pylist()] == rows


def test_types_that_carry_a_zone_and_those_that_do_not_stay_apart(file: Path, db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE t (a TIMESTAMP, b TIMESTAMPTZ)")
    assert read(file, "SELECT * FROM t").schema.types == [TIMESTAMP, TIMESTAMPTZ]
