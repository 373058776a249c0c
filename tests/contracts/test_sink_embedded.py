"""What the databases in files have of their own: SQLite's row numbers and locks, DuckDB's types and its one writer."""

from __future__ import annotations

import datetime as dt
import sqlite3
import time
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlalchemy as sa
from contracts.sinks import Sink, streamed, table

import datapipe
from datapipe.data.types import TIMESTAMP
from datapipe.errors import DataError, FatalError, PlanError, SchemaError, TransientError
from datapipe.persistence import BatchWriter

USERS = table(id=[1, 2], name=["ann", "bob"])


@pytest.fixture
def sqlite(tmp_path: Path) -> Sink:
    return Sink("sqlite", f"sqlite:///{tmp_path / 'a.db'}")


@pytest.fixture
def duck(tmp_path: Path) -> Sink:
    return Sink("duckdb", f"duckdb:///{tmp_path / 'a.duckdb'}")


# --- SQLite -------------------------------------------------------------------------------------------------


def test_an_integer_primary_key_fills_itself(sqlite: Sink) -> None:
    sqlite.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
    sqlite.write(table(name=["ann", "bob"]))
    assert sqlite.rows() == [(1, "ann"), (2, "bob")]
    sqlite.write(table(id=[2, 3], name=["new", "cid"]), strategy="upsert", upsert_keys=["id"])
    assert sqlite.rows() == [(1, "ann"), (2, "new"), (3, "cid")]


def test_another_primary_key_does_not(sqlite: Sink) -> None:
    sqlite.sql("CREATE TABLE t (id TEXT PRIMARY KEY, name TEXT)")
    with pytest.raises(SchemaError, match="removed id: TEXT NOT NULL"):
        sqlite.write(table(name=["ann"]))


def test_a_unique_index_over_part_of_the_rows_decides_nothing(sqlite: Sink) -> None:
    sqlite.sql("CREATE TABLE t (id INTEGER, name TEXT)", "CREATE UNIQUE INDEX i ON t (id) WHERE id > 0")
    with pytest.raises(PlanError, match="CREATE UNIQUE INDEX"):
        sqlite.write(USERS, strategy="upsert", upsert_keys=["id"])


def test_keys_that_the_table_takes_for_one_are_one(sqlite: Sink) -> None:
    sqlite.sql("CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY, n INTEGER)")
    both = table(k=["a", "A"], n=[1, 2])
    with pytest.raises(DataError, match="different rows"):
        sqlite.write(both, strategy="upsert", upsert_keys=["k"])
    sqlite.write(both, strategy="upsert", upsert_keys=["k"], latest="n")
    assert sqlite.sql("SELECT n FROM t") == [(2,)]


def test_values_are_stored_as_sqlite_users_expect(sqlite: Sink) -> None:
    data = {
        "b": pa.array([True]),
        "d": pa.array([dt.date(2024, 2, 29)]),
        "t": pa.array([dt.datetime(2024, 2, 29, 12, 0, 0, 5)], TIMESTAMP),
        "z": pa.array([dt.datetime(2024, 2, 29, tzinfo=dt.UTC)], pa.timestamp("us", "UTC")),
    }
    sqlite.write(pa.table(data))
    assert sqlite.sql("SELECT *, typeof(b), date(t) FROM t") == [
        (1, "2024-02-29", "2024-02-29 12:00:00.000005", "2024-02-29 00:00:00.000000+00:00", "integer", "2024-02-29")
    ]


def test_latest_of_long_decimals_is_refused_because_they_are_text(sqlite: Sink) -> None:
    data = pa.table({"id": [1, 1], "at": pa.array([9, 10], pa.decimal128(20, 0))})
    with pytest.raises(PlanError, match="latest 'at'"):
        sqlite.write(data, strategy="upsert", upsert_keys=["id"], latest="at")


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_large_table_is_copied_within_one_file(sqlite: Sink, mode: str) -> None:
    sqlite.sql(f"PRAGMA journal_mode = {mode}")
    rows = 60_000
    sqlite.write(pa.table({"id": range(rows), "name": ["x" * 50] * rows}))
    started = time.perf_counter()
    result = datapipe.read("SELECT * FROM t", source=sqlite.url).write("copy", to=sqlite.url).run()
    assert result.rows_written == rows
    assert time.perf_counter() - started < 15
    assert sqlite.sql("SELECT count(*) FROM copy") == [(rows,)]


def test_another_writer_makes_it_wait_and_then_says_so(sqlite: Sink) -> None:
    sqlite.write(USERS)
    engine = sa.create_engine(sqlite.url, connect_args={"timeout": 0.2})
    holder = sqlite3.connect(sqlite.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(TransientError, match="locked"):
            BatchWriter(engine).write(USERS, "t")
    finally:
        holder.close()
    assert BatchWriter(engine).write(USERS, "t") == 2
    with engine.connect() as conn:
        assert conn.execute(sa.text("PRAGMA busy_timeout")).scalar() == 200
    engine.dispose()


def test_a_file_that_is_deleted_between_two_writes_is_made_again(sqlite: Sink) -> None:
    for _ in range(2):
        assert sqlite.write(USERS).created
        sqlite.path.unlink()


def test_a_file_that_is_no_database_is_named(sqlite: Sink, duck: Sink) -> None:
    for sink in (sqlite, duck):
        sink.path.write_text("id,name\n1,ann\n" * 100)
        with pytest.raises(PlanError, match=r"a\.(db|duckdb)") as caught:
            sink.write(USERS)
        assert caught.value.hint
        assert sink.path.read_text().startswith("id,name")


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    for kind in ("sqlite", "duckdb"):
        with pytest.raises(PlanError, match=r"a\.db") as caught:
            Sink(kind, f"{kind}:///{tmp_path}/missing/a.db").write(USERS)
        assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "duckdb://", "duckdb:///:memory:"])
def test_a_database_in_memory_is_no_target(url: str) -> None:
    with pytest.raises(PlanError, match="in memory is gone when the run ends") as caught:
        Sink("sqlite", url).write(USERS)
    assert caught.value.hint


def test_an_engine_in_memory_is_a_target_if_every_thread_sees_the_same() -> None:
    bound = sa.create_engine("sqlite://")
    with pytest.raises(PlanError, match=r"another one in each thread.*StaticPool"):
        BatchWriter(bound).write(USERS, "t")
    bound.dispose()
    static = sa.create_engine("sqlite://", poolclass=sa.StaticPool, connect_args={"check_same_thread": False})
    assert datapipe.read(USERS).write("t", to=static).run().rows_written == 2
    with static.connect() as conn:
        assert conn.execute(sa.text("SELECT count(*) FROM t")).scalar() == 2
    static.dispose()


def test_the_urls_options_are_obeyed(sqlite: Sink) -> None:
    sqlite.write(USERS)
    with pytest.raises(FatalError, match="readonly"):
        Sink("sqlite", f"sqlite:///file:{sqlite.path}?mode=ro&uri=true").write(USERS)
    assert len(sqlite.rows()) == 2


# --- DuckDB -------------------------------------------------------------------------------------------------

MADE = "CREATE TYPE mood AS ENUM ('sad', 'ok')"
FITS: list[tuple[str, pa.Array, list[Any]]] = [
    ("mood", pa.array(["ok", None]), ["ok", None]),
    ("JSON", pa.array(['{"a": 1}', None]), ['{"a": 1}', None]),
    ("UUID", pa.array(["00000000-0000-0000-0000-00000000000A"]), ["00000000-0000-0000-0000-00000000000a"]),
    ("HUGEINT", pa.array([2**63 - 1, None]), [str(2**63 - 1), None]),
    ("TIMESTAMP_S", pa.array([dt.datetime(2024, 1, 1)], TIMESTAMP), ["2024-01-01 00:00:00"]),
    ("BIT", pa.array(["101"]), ["101"]),
    ("INTEGER[]", pa.array([[1, None]]), ["[1, NULL]"]),
]


@pytest.mark.parametrize("strategy", ["append", "upsert"])
@pytest.mark.parametrize(("declared", "values", "expected"), FITS, ids=lambda value: str(getattr(value, "type", value)))
def test_data_become_duckdbs_own_types(
    duck: Sink, declared: str, values: pa.Array, expected: list[Any], strategy: str
) -> None:
    duck.sql(MADE, f"CREATE TABLE t (id BIGINT PRIMARY KEY, v {declared})")
    data = pa.table({"id": range(len(values)), "v": values})
    duck.write(data, strategy=strategy, upsert_keys=["id"] if strategy == "upsert" else [])
    assert [v for (v,) in duck.sql("SELECT CAST(v AS VARCHAR) FROM t ORDER BY id")] == expected


REFUSED: list[tuple[str, pa.Array]] = [
    ("mood", pa.array(["ok", None, "secret"])),
    ("JSON", pa.array(["1", None, '{"secret'])),
    ("UUID", pa.array([None, None, "secret"])),
    ("BIT", pa.array(["1", None, "secret"])),
    ("TIMESTAMP_S", pa.array([dt.datetime(2024, 1, 1), None, dt.datetime(2024, 1, 1, 0, 0, 0, 1)], TIMESTAMP)),
    ("UTINYINT", pa.array([1, None, -1])),
]


@pytest.mark.parametrize("strategy", ["append", "upsert"])
@pytest.mark.parametrize(("declared", "values"), REFUSED, ids=lambda value: str(getattr(value, "type", value)))
def test_what_duckdb_refuses_is_named_by_column_and_row(
    duck: Sink, declared: str, values: pa.Array, strategy: str
) -> None:
    duck.sql(MADE, f"CREATE TABLE t (id BIGINT PRIMARY KEY, v {declared})")
    data = pa.table({"id": range(len(values)), "v": values})
    with pytest.raises(DataError, match="column 'v', row 3") as caught:
        duck.write(streamed(data, rows=2), strategy=strategy, upsert_keys=["id"] if strategy == "upsert" else [])
    assert (caught.value.column, caught.value.row) == ("v", 3)
    assert "secret" not in str(caught.value)
    assert duck.rows() == []


def test_the_file_may_be_open_in_this_process(duck: Sink) -> None:
    with duckdb.connect(duck.path) as mine:
        mine.execute("SET memory_limit='777MiB'")
        before = mine.execute("SELECT current_setting('memory_limit')").fetchall()
        duck.write(USERS)
        assert mine.execute("SELECT count(*) FROM t").fetchall() == [(2,)]
        assert mine.execute("SELECT current_setting('memory_limit')").fetchall() == before


def test_a_file_that_is_being_read_says_so(duck: Sink) -> None:
    duck.write(USERS)
    with pytest.raises(PlanError, match=r"a\.duckdb is open in this process.*another") as caught:
        datapipe.read("SELECT * FROM t", source=duck.url).write("copy", to=duck.url).run()
    assert caught.value.step == "persistence"
    assert duck.tables() == ["t"]
