"""What every database does with rows: the four strategies, one body for all of them."""

from __future__ import annotations

import pyarrow as pa
import pytest
from contracts.sinks import Sink, failing, streamed, table

import datapipe
from datapipe.errors import DataError, PlanError

USERS = table(id=[1, 2], name=["ann", "bob"])


def test_append_creates_the_table_and_adds_to_it(sink: Sink) -> None:
    first, second = sink.write(USERS), sink.write(USERS)
    assert (first.rows, first.created) == (2, True)
    assert (second.rows, second.created) == (2, False)
    assert sink.rows() == [(1, "ann"), (1, "ann"), (2, "bob"), (2, "bob")]
    assert sink.keys() == []


def test_a_new_table_has_the_types_of_the_data_and_its_keys(sink: Sink) -> None:
    data = pa.table({"b": pa.array([1], pa.int32()), "a": ["x"], "n": pa.array([1], pa.decimal128(15, 2))})
    sink.write(data, strategy="upsert", upsert_keys=["a", "b"])
    assert (
        sink.columns()
        == {
            "postgresql": {"b": "integer", "a": "text", "n": "numeric(15,2)"},
            "mysql": {"b": "int(11)", "a": "varchar(255)", "n": "decimal(15,2)"},
            "sqlite": {"b": "INTEGER", "a": "TEXT", "n": "DECIMAL(15,2)"},
            "duckdb": {"b": "INTEGER", "a": "VARCHAR", "n": "DECIMAL(15,2)"},
        }[sink.kind]
    )
    assert sink.keys() == ["a", "b"]


@pytest.mark.parametrize("strategy", ["append", "replace"])
def test_an_empty_source_makes_a_typed_table(sink: Sink, strategy: str) -> None:
    loaded = sink.write(USERS.slice(0, 0), strategy=strategy)
    assert (loaded.rows, loaded.created) == (0, True)
    assert list(sink.columns()) == ["id", "name"]
    assert sink.rows() == []


# --- insert -------------------------------------------------------------------------------------------------


def test_insert_refuses_a_key_that_is_there(sink: Sink) -> None:
    sink.write(USERS, strategy="insert", upsert_keys=["id"])
    with pytest.raises(DataError, match=r"\bid\b") as caught:
        sink.write(table(id=[3, 2], name=["cid", "secret"]), strategy="insert", upsert_keys=["id"])
    assert "secret" not in str(caught.value)
    assert caught.value.step == "persistence"
    assert caught.value.hint
    assert sink.rows() == [(1, "ann"), (2, "bob")]


def test_insert_refuses_a_key_that_comes_twice(sink: Sink) -> None:
    with pytest.raises(DataError, match=r"\bid\b.*twice"):
        sink.write(table(id=[7, 7], name=["a", "a"]), strategy="insert", upsert_keys=["id"])
    assert sink.tables() == []


def test_insert_without_keys_obeys_the_tables_own(sink: Sink) -> None:
    sink.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)", "INSERT INTO t VALUES (1, 'first')")
    with pytest.raises(DataError, match=r"\bid\b"):
        sink.write(USERS, strategy="insert")
    assert sink.rows() == [(1, "first")]


# --- upsert -------------------------------------------------------------------------------------------------


def test_upsert_inserts_and_updates_only_the_columns_of_the_data(sink: Sink) -> None:
    sink.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, note TEXT)")
    sink.sql("INSERT INTO t VALUES (1, 'old', 'kept'), (9, 'other', 'also kept')")
    loaded = sink.write(USERS, strategy="upsert", upsert_keys=["id"])
    assert (loaded.rows, loaded.deduplicated) == (2, 0)
    assert sink.rows() == [(1, "ann", "kept"), (2, "bob", None), (9, "other", "also kept")]


def test_upsert_twice_is_the_same_as_once(sink: Sink) -> None:
    for _ in range(2):
        sink.write(USERS, strategy="upsert", upsert_keys=["id"])
    assert sink.rows() == [(1, "ann"), (2, "bob")]


def test_upsert_of_nothing_but_keys_leaves_rows_as_they_are(sink: Sink) -> None:
    sink.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)", "INSERT INTO t VALUES (1, 'kept')")
    loaded = sink.write(table(id=[1, 2]), strategy="upsert", upsert_keys=["id"])
    assert (loaded.rows, loaded.deduplicated, loaded.unchanged) == (1, 0, 1)
    assert sink.rows() == [(1, "kept"), (2, None)]
    again = datapipe.read(table(id=[1, 2])).write("t", to=sink.url, strategy="upsert", keys=["id"]).run()
    assert not any("trigger" in note for note in again.notices)


def test_equal_rows_count_once(sink: Sink) -> None:
    data = table(id=[1, 2, 1, 1], name=["ann", None, "ann", "ann"])
    loaded = sink.write(data, strategy="upsert", upsert_keys=["id"])
    assert (loaded.rows, loaded.deduplicated) == (2, 2)
    assert sink.rows() == [(1, "ann"), (2, None)]


def test_different_rows_with_one_key_are_refused(sink: Sink) -> None:
    sink.write(USERS, strategy="upsert", upsert_keys=["id"])
    with pytest.raises(DataError, match=r"different rows.*\(id\).*latest=") as caught:
        sink.write(table(id=[1, 1], name=["secret", "ann"]), strategy="upsert", upsert_keys=["id"])
    assert "secret" not in str(caught.value)
    assert sink.rows() == [(1, "ann"), (2, "bob")]


def test_latest_states_the_winner_and_null_is_the_oldest(sink: Sink) -> None:
    data = table(id=[1, 1, 1, 2, 2, 3], name=["a", "b", "c", "d", "e", "f"], at=[5, 9, 9, None, 1, None])
    data = data.take([0, 1, 3, 4, 5])
    loaded = sink.write(data, strategy="upsert", upsert_keys=["id"], latest="at")
    assert (loaded.rows, loaded.deduplicated) == (3, 2)
    assert sink.rows() == [(1, "b", 9), (2, "e", 1), (3, "f", None)]


@pytest.mark.parametrize("at", [9, None])
def test_a_tie_for_the_latest_is_refused(sink: Sink, at: int | None) -> None:
    data = pa.table({"id": [1, 1], "name": ["a", "b"], "at": pa.array([at, at], pa.int64())})
    with pytest.raises(DataError, match=r"\(id\).*same at.*break the tie"):
        sink.write(data, strategy="upsert", upsert_keys=["id"], latest="at")
    assert sink.tables() == []


def test_equal_rows_are_no_tie(sink: Sink) -> None:
    data = table(id=[1, 1, 1], name=["a", "b", "b"], at=[1, 2, 2])
    assert sink.write(data, strategy="upsert", upsert_keys=["id"], latest="at").deduplicated == 2
    assert sink.rows() == [(1, "b", 2)]


def test_latest_is_refused_where_the_table_orders_otherwise(sink: Sink) -> None:
    sink.sql(f'CREATE TABLE t (id INTEGER PRIMARY KEY, "at" {sink.declared("VARCHAR")})')
    with pytest.raises(PlanError, match="latest 'at' is bigint in the data and text in the table"):
        sink.write(table(id=[1, 1], at=[9, 10]), strategy="upsert", upsert_keys=["id"], latest="at")


@pytest.mark.parametrize("strategy", ["insert", "upsert"])
def test_a_key_that_is_null_is_refused_with_its_row(sink: Sink, strategy: str) -> None:
    data = table(id=[1, 2, 3, None], name=["a", "b", "c", "secret"])
    with pytest.raises(DataError, match="key 'id' is NULL in row 4") as caught:
        sink.write(streamed(data, rows=2), strategy=strategy, upsert_keys=["id"])
    assert (caught.value.column, caught.value.row) == ("id", 4)
    assert sink.tables() == []


@pytest.mark.parametrize("strategy", ["insert", "upsert"])
def test_keys_need_a_unique_index_and_the_error_has_the_statement(sink: Sink, strategy: str) -> None:
    sink.sql('CREATE TABLE "t x" (id INTEGER, "the name" TEXT)', """INSERT INTO "t x" VALUES (1, 'ann')""")
    data = table(id=[2, 3], **{"the name": ["bob", "cid"]})
    keys = {"strategy": strategy, "upsert_keys": ["the name", "id"]}
    with pytest.raises(PlanError, match="unique index") as caught:
        sink.write(data, "t x", **keys)
    hint = str(caught.value.hint)
    sink.sql(hint[hint.index("CREATE UNIQUE INDEX") :])
    assert sink.write(data, "t x", **keys).rows == 2
    assert len(sink.rows("t x")) == 3


def test_an_unknown_key_is_named_with_the_nearest_column(sink: Sink) -> None:
    with pytest.raises(PlanError, match=r"key 'idd' is not a column of the data.*'id'"):
        sink.write(USERS, strategy="upsert", upsert_keys=["idd"])
    with pytest.raises(PlanError, match=r"latest 'at' is not a column"):
        sink.write(USERS, strategy="upsert", upsert_keys=["id"], latest="at")


# --- replace ------------------------------------------------------------------------------------------------


def test_replace_leaves_nothing_of_the_old_rows(sink: Sink) -> None:
    sink.write(table(id=[1, 8, 9], name=["x", "y", "z"]), strategy="replace", upsert_keys=["id"])
    loaded = sink.write(USERS, strategy="replace")
    assert (loaded.rows, loaded.created) == (2, False)
    assert sink.rows() == [(1, "ann"), (2, "bob")]
    assert sink.keys() == ["id"]


def test_a_failed_replace_keeps_the_old_rows(sink: Sink) -> None:
    sink.write(USERS)
    with pytest.raises(KeyError):
        sink.write(failing(table(id=[5, 6, 7], name=["x", "y", "z"]), KeyError("source")), strategy="replace")
    assert sink.rows() == [(1, "ann"), (2, "bob")]


# --- errors on the way --------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["append", "insert", "upsert", "replace"])
@pytest.mark.parametrize("error", [ValueError("why"), DataError("why"), OSError("why"), KeyboardInterrupt()])
def test_an_error_of_the_source_comes_out_as_it_is_and_nothing_stays(
    sink: Sink, strategy: str, error: BaseException
) -> None:
    sink.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)", "INSERT INTO t VALUES (9, 'kept')")
    keys = ["id"] if strategy in {"insert", "upsert"} else []
    with pytest.raises(type(error)) as caught:
        sink.write(failing(USERS, error), strategy=strategy, upsert_keys=keys)
    assert caught.value is error
    assert sink.rows() == [(9, "kept")]
    assert sink.tables() == ["t"]


def test_an_error_before_the_first_row_makes_no_table(sink: Sink) -> None:
    with pytest.raises(ValueError, match="why"):
        sink.write(failing(USERS.slice(0, 0), ValueError("why")), schema=None)
    assert sink.tables() == []


@pytest.mark.parametrize("strategy", ["append", "upsert", "replace"])
def test_many_small_batches_are_as_one_large_batch(sink: Sink, strategy: str) -> None:
    data = table(id=range(500), name=[f"n{i}" if i % 3 else None for i in range(500)])
    keys = ["id"] if strategy == "upsert" else []
    empty = data.slice(0, 0)
    pieces = [empty, data.slice(0, 1), empty, *(data.slice(i, 7) for i in range(1, 500, 7)), empty]
    loaded = sink.write(streamed(pa.concat_tables(pieces)), "small", strategy=strategy, upsert_keys=keys)
    assert loaded.rows == sink.write(data, "large", strategy=strategy, upsert_keys=keys).rows == 500
    assert sink.rows("small") == sink.rows("large")
