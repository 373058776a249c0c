"""What PostgreSQL has beyond the others: its own types, what a replace keeps, what other connections see."""

from __future__ import annotations

import datetime as dt
import math
import threading
import time
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest
import sqlalchemy as sa
from contracts.sinks import Sink, failing, streamed, table

import datapipe
from datapipe.data.cancel import CancelToken
from datapipe.data.stream import Stream, Workspace
from datapipe.data.types import INTERVAL, TIMESTAMP, TIMESTAMPTZ, tagged
from datapipe.errors import DataError, PlanError, RunCancelled, TransientError
from datapipe.persistence import BatchWriter, write
from datapipe.persistence.sessions import open_session
from datapipe.persistence.tables import Table
from datapipe.plan import TableTarget, build

USERS = table(id=[1, 2], name=["ann", "bob"])
STRATEGIES = pytest.mark.parametrize("strategy", ["append", "upsert"])


def put(sink: Sink, values: pa.Array, strategy: str, rows: int | None = None) -> None:
    data = pa.table({"id": range(len(values)), "v": values})
    sink.write(streamed(data, rows), strategy=strategy, upsert_keys=["id"] if strategy == "upsert" else [])


# --- its own types ------------------------------------------------------------------------------------------

MADE = "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN positive AS numeric(9,2) CHECK (VALUE > 0)"
FITS: list[tuple[str, pa.Array, list[str | None]]] = [
    ("uuid", pa.array(["00000000-0000-0000-0000-00000000000A", None]), ["00000000-0000-0000-0000-00000000000a", None]),
    ("inet", pa.array(["10.0.0.1/8", None]), ["10.0.0.1/8", None]),
    ("jsonb", pa.array(['{"b":1}', None]), ['{"b": 1}', None]),
    ("json", pa.array(['{"b":1}', None]), ['{"b":1}', None]),
    ("mood", pa.array(["ok", None]), ["ok", None]),
    ("mood[]", pa.array([["ok", None], [], None]), ["{ok,NULL}", "{}", None]),
    ("positive", pa.array([1, 2]), ["1.00", "2.00"]),
    ("integer[]", pa.array(["{1,2}", None]), ["{1,2}", None]),
    ("varchar(3)[]", pa.array([['a"b', "x,y", "é\\"]]), ['{"a\\"b","x,y","é\\\\"}']),
    (
        "timestamptz[]",
        pa.array([[dt.datetime(2024, 1, 1), None]], pa.list_(TIMESTAMPTZ)),
        ['{"2024-01-01 00:00:00+00",NULL}'],
    ),
    ("numeric(5,2)[]", pa.array([[Decimal("1.10"), None]], pa.list_(pa.decimal128(5, 2))), ["{1.10,NULL}"]),
    ("numeric", pa.array([0.1, 1e-7, -2.0]), ["0.1", "0.0000001", "-2"]),
    ("numeric", pa.array([2**63 - 1]), [str(2**63 - 1)]),
    ("numeric(50,20)", pa.array([Decimal("1.5")], pa.decimal128(38, 18)), ["1.50000000000000000000"]),
    ("timestamp(3)", pa.array([dt.datetime(2024, 1, 1, 0, 0, 0, 1000)]), ["2024-01-01 00:00:00.001"]),
    ("timestamp(1)", pa.array([dt.datetime(2024, 1, 1, 0, 0, 0, 100_000)]), ["2024-01-01 00:00:00.1"]),
    ("time", pa.array(["12:30", None]), ["12:30:00", None]),
    ("timetz", pa.array(["12:30+02", None]), ["12:30:00+02", None]),
    ("interval", pa.array([pa.MonthDayNano([1, 2, 3000])], INTERVAL), ["1 mon 2 days 00:00:00.000003"]),
    ("text", pa.array([pa.MonthDayNano([1, 2, 3000])], INTERVAL), ["1 mon 2 day 3 microseconds"]),
    ("bit(3)", pa.array(["101"]), ["101"]),
    ("char(3)", pa.array(["ab"]), ["ab"]),
    ('"char"', pa.array(["a"]), ["a"]),
    ("xml", pa.array(["<a/>"]), ["<a/>"]),
    ("tsvector", pa.array(["a b"]), ["'a' 'b'"]),
    ("int4range", pa.array(["[1,5)"]), ["[1,5)"]),
    ("oid", pa.array([7]), ["7"]),
]


@STRATEGIES
@pytest.mark.parametrize(("declared", "values", "expected"), FITS, ids=lambda value: str(getattr(value, "type", value)))
def test_data_become_the_columns_own_type(
    postgresql_sink: Sink, declared: str, values: pa.Array, expected: list[Any], strategy: str
) -> None:
    postgresql_sink.sql(*MADE.split(";"), f"CREATE TABLE t (id bigint PRIMARY KEY, v {declared})")
    put(postgresql_sink, values, strategy)
    assert [v for (v,) in postgresql_sink.sql("SELECT v::text FROM t ORDER BY id")] == expected


REFUSED: list[tuple[str, pa.Array]] = [
    ("uuid", pa.array([None, None, "secret"])),
    ("inet", pa.array(["10.0.0.1", None, "secret"])),
    ("jsonb", pa.array(["1", None, '{"secret":'])),
    ("json", pa.array(["1", None, '{"secret":'])),
    ("mood", pa.array(["ok", None, "secret"])),
    ("integer[]", pa.array(["{1}", None, "secret"])),
    ("varchar(3)[]", pa.array([["abc"], None, ["secret"]])),
    ("varchar(3)", pa.array(["abc", None, "secret"])),
    ("varchar(3)", pa.array(["ab ", None, "abc "])),
    ("char(3)", pa.array(["abc", None, "secret"])),
    ("bit(3)", pa.array(["101", None, "1010"])),
    ("bit(3)", pa.array(["101", None, "10"])),
    ("numeric(50,20)", pa.array(["1", None, "0.123456789012345678901"])),
    ("numeric(50,20)", pa.array(["1", None, "1e40"])),
    ("timestamp(1)", pa.array([dt.datetime(2024, 1, 1), None, dt.datetime(2024, 1, 1, 0, 0, 0, 1)])),
    ("timestamp(3)", pa.array([dt.datetime(2024, 1, 1), None, dt.datetime(2024, 1, 1, 0, 0, 0, 1)])),
    ("time(3)", pa.array(["12:30", None, "12:30:00.000001"])),
    ("text", pa.array(["a", None, "nul \0 secret"])),
    ("xml", pa.array(["<a/>", None, "<secret>"])),
    ("tsvector", pa.array(["a", None, "'secret"])),
]


@STRATEGIES
@pytest.mark.parametrize(("declared", "values"), REFUSED, ids=lambda value: str(getattr(value, "type", value)))
def test_text_the_server_refuses_is_named_by_column_and_row(
    postgresql_sink: Sink, declared: str, values: pa.Array, strategy: str
) -> None:
    postgresql_sink.sql(*MADE.split(";"), f"CREATE TABLE t (id bigint PRIMARY KEY, v {declared})")
    with pytest.raises(DataError) as caught:
        put(postgresql_sink, values, strategy, rows=2)
    text = str(caught.value)
    assert (caught.value.column, caught.value.row) == ("v", 3), text
    assert "'v'" in text
    assert "row 3" in text
    assert "secret" not in text
    assert caught.value.hint
    assert postgresql_sink.rows() == []


def test_nan_stays_nan(postgresql_sink: Sink) -> None:
    schema = pa.schema([pa.field("f", pa.float64()), tagged("n", "numeric")])
    data = pa.Table.from_arrays([pa.array([math.nan, None]), pa.array(["NaN", None])], schema=schema)
    postgresql_sink.write(data)
    assert postgresql_sink.sql("SELECT f::text, n::text FROM t") == [("NaN", "NaN"), (None, None)]


def test_a_constraint_names_itself_and_no_value(postgresql_sink: Sink) -> None:
    postgresql_sink.sql("CREATE TABLE t (id bigint CONSTRAINT small CHECK (id < 5), name text)")
    with pytest.raises(DataError, match="small") as caught:
        postgresql_sink.write(table(id=[1, 777], name=["ann", "secret"]))
    assert "777" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert postgresql_sink.rows() == []


# --- keys ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index",
    [
        "CREATE UNIQUE INDEX i ON t (id) WHERE id > 0",
        "CREATE UNIQUE INDEX i ON t ((id + 0))",
        "CREATE UNIQUE INDEX i ON t (id, name)",
        "ALTER TABLE t ADD CONSTRAINT i UNIQUE (id) DEFERRABLE",
        "CREATE INDEX i ON t (id)",
    ],
)
def test_an_index_that_cannot_decide_is_none(postgresql_sink: Sink, index: str) -> None:
    postgresql_sink.sql("CREATE TABLE t (id bigint, name text)", index)
    with pytest.raises(PlanError, match="CREATE UNIQUE INDEX"):
        postgresql_sink.write(USERS, strategy="upsert", upsert_keys=["id"])


def test_an_index_with_further_columns_decides_by_its_keys(postgresql_sink: Sink) -> None:
    postgresql_sink.sql("CREATE TABLE t (id bigint, name text)", "CREATE UNIQUE INDEX i ON t (id) INCLUDE (name)")
    postgresql_sink.write(USERS, strategy="upsert", upsert_keys=["id"])
    assert postgresql_sink.rows() == [(1, "ann"), (2, "bob")]


@pytest.mark.parametrize("place", ["table_name", "schema", "column"])
def test_a_name_the_server_would_cut_is_refused(postgresql_sink: Sink, place: str) -> None:
    long = "ü" * 32
    data = USERS if place != "column" else pa.table({long: [1]})
    options = {place: long} if place != "column" else {}
    with pytest.raises(PlanError, match="more than 63 bytes"):
        postgresql_sink.write(
            data, **{"table": "t", **{"table" if k == "table_name" else k: v for k, v in options.items()}}
        )
    assert postgresql_sink.tables() == []


def test_a_serial_column_fills_itself(postgresql_sink: Sink) -> None:
    postgresql_sink.sql(
        "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY, name text, twice text GENERATED ALWAYS AS (name || name) STORED)"
    )
    postgresql_sink.write(table(name=["a"]))
    assert postgresql_sink.rows() == [(1, "a", "aa")]


# --- what a replace keeps -----------------------------------------------------------------------------------


def test_replace_keeps_views_grants_and_indexes(postgresql_sink: Sink) -> None:
    postgresql_sink.write(USERS)
    postgresql_sink.sql(
        "CREATE INDEX by_name ON t (name)", "CREATE VIEW names AS SELECT name FROM t", "GRANT SELECT ON t TO PUBLIC"
    )
    postgresql_sink.write(table(id=[3], name=["cid"]), strategy="replace")
    assert postgresql_sink.sql("SELECT name FROM names") == [("cid",)]
    assert postgresql_sink.sql("SELECT indexname FROM pg_indexes WHERE tablename = 't'") == [("by_name",)]
    grants = (
        "SELECT privilege_type FROM information_schema.role_table_grants WHERE table_name = 't' AND grantee = 'PUBLIC'"
    )
    assert postgresql_sink.sql(grants) == [("SELECT",)]


@pytest.mark.parametrize("strategy", ["append", "upsert", "replace"])
def test_readers_see_the_old_rows_until_the_end(postgresql_sink: Sink, strategy: str) -> None:
    postgresql_sink.write(USERS, strategy="upsert", upsert_keys=["id"])
    seen = []

    def watched() -> Any:
        for batch in table(id=[1, 3], name=["new", "cid"]).to_batches(max_chunksize=1):
            seen.append(postgresql_sink.rows())
            yield batch
        seen.append(postgresql_sink.rows())

    data = Stream(USERS.schema, watched())
    if strategy == "append":
        postgresql_sink.sql("ALTER TABLE t DROP CONSTRAINT t_pkey")
    postgresql_sink.write(data, strategy=strategy, upsert_keys=["id"] if strategy == "upsert" else [])
    assert seen == [[(1, "ann"), (2, "bob")]] * 3
    assert (3, "cid") in postgresql_sink.rows()


def test_an_empty_replace_empties_the_table(postgresql_sink: Sink) -> None:
    postgresql_sink.write(USERS)
    postgresql_sink.write(USERS.slice(0, 0), strategy="replace")
    assert postgresql_sink.rows() == []


# --- what stays ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["append", "insert", "upsert", "replace"])
@pytest.mark.parametrize("good", [True, False])
def test_no_transaction_and_no_temporary_table_stays(postgresql_sink: Sink, strategy: str, good: bool) -> None:
    data = streamed(USERS) if good else failing(USERS, ValueError("why"))
    keys = ["id"] if strategy in {"insert", "upsert"} else []
    if good:
        postgresql_sink.write(data, strategy=strategy, upsert_keys=keys)
    else:
        with pytest.raises(ValueError, match="why"):
            postgresql_sink.write(data, strategy=strategy, upsert_keys=keys)
    busy = """SELECT state, query FROM pg_stat_activity
              WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"""
    assert postgresql_sink.sql(busy) == []
    assert postgresql_sink.sql("SELECT relname FROM pg_class WHERE relname LIKE '%datapipe%'") == []
    assert postgresql_sink.sql(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND pid <> pg_backend_pid()"
    ) == [(0,)]


@pytest.mark.parametrize("after", [0.0, 0.003, 0.006, 0.3])
def test_a_cancelled_write_ends_at_once_wherever_it_is(postgresql_sink: Sink, after: float) -> None:
    postgresql_sink.write(USERS)
    cancel = CancelToken()
    target = build(TableTarget, {"table_name": "t", "dest_db_url": postgresql_sink.url, "strategy": "replace"})
    with psycopg.connect(postgresql_sink.url) as holder:
        holder.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        timer = threading.Timer(after, cancel.cancel)
        timer.start()
        started = time.monotonic()
        with pytest.raises(RunCancelled):  # the table is locked, so nothing else ends it
            write(target, streamed(USERS), Workspace(cancel=cancel))
        assert time.monotonic() - started < 2
        timer.join()
    assert postgresql_sink.rows() == [(1, "ann"), (2, "bob")]


@STRATEGIES
def test_a_server_that_goes_away_is_worth_another_try(
    postgresql_sink: Sink, strategy: str, caplog: pytest.LogCaptureFixture
) -> None:
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

    def killed() -> Any:
        for batch in USERS.to_batches(max_chunksize=1):
            postgresql_sink.sql(kill)
            yield batch

    keys = ["id"] if strategy == "upsert" else []
    with pytest.raises(TransientError, match="terminating connection") as caught:
        postgresql_sink.write(Stream(USERS.schema, killed()), strategy=strategy, upsert_keys=keys)
    assert caught.value.hint
    assert caplog.records == []
    assert postgresql_sink.tables() == []
    assert postgresql_sink.write(USERS, strategy=strategy, upsert_keys=keys).rows == 2


def test_a_table_is_seen_that_was_made_while_a_session_waited(postgresql_sink: Sink) -> None:
    target: TableTarget = build(TableTarget, {"table_name": "t", "dest_db_url": postgresql_sink.url})
    made = Table("loads", "late")
    with open_session(target, Workspace()) as session:
        assert not session.exists(made)
        postgresql_sink.sql("CREATE SCHEMA late", "CREATE TABLE late.loads ()")
        assert session.exists(made)


# --- engines and the writer by itself -----------------------------------------------------------------------


def test_an_engine_is_borrowed_and_works_on(postgresql_sink: Sink) -> None:
    engine = sa.create_engine(postgresql_sink.url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        writer = BatchWriter(database_url=engine)
        assert writer.write(USERS, "t", strategy="upsert", upsert_keys=["id"]) == 2
        with engine.connect() as conn:
            assert conn.execute(sa.text("SELECT count(*) FROM t")).scalar() == 2
    finally:
        engine.dispose()


def test_a_naive_timestamp_is_no_instant(postgresql_sink: Sink) -> None:
    postgresql_sink.sql("CREATE TABLE t (v timestamptz)")
    with pytest.raises(DataError, match=r"column 'v'.*AT TIME ZONE"):
        postgresql_sink.write(pa.table({"v": pa.array([dt.datetime(2024, 1, 1)], TIMESTAMP)}))


@STRATEGIES
def test_rows_that_a_trigger_leaves_out_are_told(postgresql_sink: Sink, strategy: str) -> None:
    postgresql_sink.sql(
        "CREATE TABLE users (id bigint PRIMARY KEY, name text);"
        "CREATE FUNCTION odd_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF NEW.id % 2 = 1 THEN RETURN NEW; END IF; RETURN NULL; END $$;"
        "CREATE TRIGGER odd BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION odd_only()"
    )
    keys = {"keys": ["id"]} if strategy == "upsert" else {}
    result = datapipe.read(USERS).write("users", to=postgresql_sink.url, strategy=strategy, **keys).run()
    assert (result.rows_written, result.deduplicated) == (1, 0)
    assert any("took 1 of the 2 rows" in note and "trigger" in note for note in result.notices)
