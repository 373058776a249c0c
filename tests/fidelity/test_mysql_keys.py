"""Keys, indexes and constraints of MariaDB tables: the right row, or an error and no change, on both roads."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from conftest import mysql_database
from contracts.sinks import Sink, streamed

from datapipe.errors import DataError, PlanError

WORDS = ["Ab", "ab", "Äb", "Ab ", "?", "A\u0308b", "ab\0", "日", "😀", ""]


@pytest.fixture(params=["load", "insert"])
def road(request: pytest.FixtureRequest) -> Iterator[Sink]:
    with mysql_database(request.getfixturevalue(f"mysql_{'insert_' * (request.param == 'insert')}server")) as url:
        yield Sink("mysql", url)


def upsert(road: Sink, data: pa.Table, *keys: str, **options: Any) -> None:
    road.write(streamed(data, 2), strategy="upsert", upsert_keys=list(keys), **options)


def people(names: list[str], *, n: int = 0) -> pa.Table:
    return pa.table({"name": names, "n": pa.array([n] * len(names))})


def test_a_table_of_its_own_tells_every_two_texts_apart(road: Sink) -> None:
    upsert(road, people(WORDS), "name")
    upsert(road, people(["ab"], n=5), "name")
    assert sorted(road.sql("SELECT name, n FROM t")) == sorted((word, 5 if word == "ab" else 0) for word in WORDS)


def test_two_rows_that_are_one_key_to_the_target_are_an_error(road: Sink) -> None:
    road.sql("CREATE TABLE t (name varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY, n int)")
    road.sql("INSERT INTO t VALUES ('Ab', 1)")
    for pair in (["Ab", "ab"], ["x", "X"], ["ab", "Äb"], ["Ab", "Ab "]):
        with pytest.raises(DataError, match="different rows have one key"):
            upsert(road, people(pair), "name")
        with pytest.raises(DataError, match=r"a key \(name\) is there already"):
            road.write(people(pair), strategy="insert", upsert_keys=["name"])
    with pytest.raises(DataError, match=r"a key \(name\) is there already"):
        road.write(people(["AB"]))
    assert road.rows() == [("Ab", 1)]


def test_a_row_updates_the_one_that_the_target_takes_for_its_key(road: Sink) -> None:
    road.sql("CREATE TABLE t (name varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY, n int)")
    road.sql("INSERT INTO t VALUES ('Ab', 1), ('cd', 1)")
    upsert(road, people(["ab", "CD", "e"], n=2), "name")
    assert sorted(n for _, n in road.rows()) == [2, 2, 2]
    assert [name.lower() for name, _ in road.rows()] == ["ab", "cd", "e"]


@pytest.mark.parametrize("charset", ["latin1", "utf8mb3", "ascii"])
def test_what_a_key_column_cannot_hold_is_no_other_key(road: Sink, charset: str) -> None:
    road.sql(f"CREATE TABLE t (name varchar(20) CHARACTER SET {charset} PRIMARY KEY, n int)")
    road.sql("INSERT INTO t VALUES ('?', 1), ('a', 1)")
    with pytest.raises(DataError, match=r"'name'.* row 2") as caught:
        upsert(road, people(["a", "😀"], n=2), "name")
    assert (caught.value.column, caught.value.row) == ("name", 2)
    assert sorted(road.rows()) == [("?", 1), ("a", 1)]
    upsert(road, people(["A", "b"], n=3), "name")
    assert sorted(n for _, n in road.rows()) == [1, 3, 3]


def test_a_second_unique_index_never_chooses_the_row(road: Sink) -> None:
    road.sql("CREATE TABLE t (id int PRIMARY KEY, mail varchar(20), n int, UNIQUE KEY mail (mail))")
    road.sql("INSERT INTO t VALUES (1, 'secret', 1), (2, 'b', 1)")
    for ids, mails in (([3], ["secret"]), ([2], ["secret"]), ([3, 4], ["c", "c"]), ([1, 2], ["b", "secret"])):
        with pytest.raises(DataError, match=r"a key \(mail\) is there already") as caught:
            upsert(road, pa.table({"id": ids, "mail": mails}), "id")
        assert "secret" not in str(caught.value)
    for strategy in ("append", "insert"):
        with pytest.raises(DataError, match=r"a key \(mail\) is there already") as caught:
            road.write(pa.table({"id": [5, 6], "mail": ["new", "secret"]}), strategy=strategy)
        assert "secret" not in str(caught.value)
    assert road.sql("SELECT * FROM t ORDER BY id") == [(1, "secret", 1), (2, "b", 1)]


def test_an_upsert_touches_only_the_columns_of_the_data(road: Sink) -> None:
    road.sql("CREATE TABLE t (a int, b varchar(9), x int DEFAULT 7, y int, PRIMARY KEY (b, a))")
    road.sql("INSERT INTO t VALUES (1, 'p', 1, 1), (1, 'q', 1, 1)")
    upsert(road, pa.table({"b": ["q", "q"], "a": [1, 2], "y": [5, 6]}), "a", "b")
    assert road.sql("SELECT * FROM t ORDER BY b, a") == [(1, "p", 1, 1), (1, "q", 1, 5), (2, "q", 7, 6)]


def test_different_rows_that_differ_only_for_exact_eyes_are_kept_apart(road: Sink) -> None:
    road.sql("CREATE TABLE t (id int PRIMARY KEY, v varchar(9) COLLATE latin1_swedish_ci)")
    for pair in (["a", "A"], ["a", "a "]):
        with pytest.raises(DataError, match="different rows have one key"):
            upsert(road, pa.table({"id": [1, 1], "v": pair}), "id")
    upsert(road, pa.table({"id": [1, 1], "v": ["a", "a"]}), "id")
    upsert(road, pa.table({"id": [1], "v": ["A "]}), "id")
    assert road.rows() == [(1, "A ")]


def test_an_instant_that_is_a_key_is_no_time_of_update(road: Sink) -> None:
    moments = [dt.datetime(2024, 1, day, tzinfo=dt.UTC) for day in (1, 2)]
    for n in (1, 2):
        upsert(road, pa.table({"at": pa.array(moments, pa.timestamp("us", "UTC")), "n": [n, n]}), "at")
    assert road.rows() == [(moment.replace(tzinfo=None), 2) for moment in moments]


@pytest.mark.parametrize("engine", ["MyISAM", "MEMORY", "Aria"])
def test_an_engine_without_transactions_is_refused(road: Sink, engine: str) -> None:
    road.sql(f"CREATE TABLE t (id int PRIMARY KEY) ENGINE={engine}", "CREATE VIEW v AS SELECT * FROM t")
    with pytest.raises(PlanError, match=f"table t is of engine {engine}, which has no transactions") as caught:
        road.write(pa.table({"id": [1]}))
    assert "InnoDB" in str(caught.value.hint)
    with pytest.raises(PlanError, match="table v is a view"):
        road.write(pa.table({"id": [1]}), "v")
    assert road.rows() == []


def test_zero_stays_zero_in_an_auto_increment_column(road: Sink) -> None:
    road.sql("CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, v int)")
    road.write(pa.table({"id": [0, -1], "v": [1, 2]}))
    upsert(road, pa.table({"id": [0], "v": [3]}), "id")
    road.write(pa.table({"v": [4]}))
    assert road.sql("SELECT * FROM t ORDER BY id") == [(-1, 2), (0, 3), (1, 4)]
    with pytest.raises(DataError, match="'id' is NULL in row 2"):
        road.write(pa.table({"id": [8, None], "v": [1, 1]}))


def test_generated_columns_are_left_alone(road: Sink) -> None:
    road.sql("CREATE TABLE t (id int PRIMARY KEY, twice int AS (id * 2) STORED, thrice int AS (id * 3) VIRTUAL)")
    road.write(pa.table({"id": [1]}))
    upsert(road, pa.table({"id": [1, 2]}), "id")
    assert road.rows() == [(1, 2, 3), (2, 4, 6)]
    with pytest.raises(DataError, match="twice"):
        road.write(pa.table({"id": [3], "twice": [7]}))


def test_triggers_of_the_target_run(road: Sink) -> None:
    road.sql("CREATE TABLE t (id int PRIMARY KEY, v int)", "CREATE TABLE log (id int, what varchar(9))")
    road.sql("CREATE TRIGGER i AFTER INSERT ON t FOR EACH ROW INSERT INTO log VALUES (NEW.id, 'insert')")
    road.sql("CREATE TRIGGER u AFTER UPDATE ON t FOR EACH ROW INSERT INTO log VALUES (NEW.id, 'update')")
    road.write(pa.table({"id": [1], "v": [1]}))
    upsert(road, pa.table({"id": [1, 2], "v": [2, 2]}), "id")
    assert sorted(road.sql("SELECT * FROM log")) == [(1, "insert"), (1, "update"), (2, "insert")]


@pytest.mark.parametrize("strategy", ["append", "upsert", "replace"])
def test_what_a_trigger_refuses_is_an_error_in_the_data(road: Sink, strategy: str) -> None:
    road.sql("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (9, 9)")
    refuse = "IF NEW.v > 5 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'v is too large'; END IF"
    road.sql(f"CREATE TRIGGER i BEFORE INSERT ON t FOR EACH ROW BEGIN {refuse}; END")
    with pytest.raises(DataError, match="v is too large"):
        road.write(
            pa.table({"id": [1, 2], "v": [1, 6]}),
            strategy=strategy,
            upsert_keys=["id"] if strategy == "upsert" else [],
        )
    assert road.rows() == [(9, 9)]


@pytest.mark.parametrize("strategy", ["append", "upsert", "replace"])
def test_foreign_keys_and_checks_hold(road: Sink, strategy: str) -> None:
    road.sql("CREATE TABLE p (id int PRIMARY KEY)", "INSERT INTO p VALUES (1)")
    road.sql(
        "CREATE TABLE t (id int PRIMARY KEY, p int, n int, CONSTRAINT of_p FOREIGN KEY (p) REFERENCES p (id),"
        " CONSTRAINT positive CHECK (n > 0))",
        "INSERT INTO t VALUES (9, 1, 9)",
    )
    options = {"strategy": strategy, "upsert_keys": ["id"] if strategy == "upsert" else []}
    for name, data in {
        "of_p": pa.table({"id": [1, 2], "p": [1, 777777777], "n": [1, 1]}),
        "positive": pa.table({"id": [1, 2], "p": [1, 1], "n": [1, -777777777]}),
    }.items():
        with pytest.raises(DataError, match=name) as caught:
            road.write(data, **options)
        assert "777777777" not in str(caught.value)
        assert road.rows() == [(9, 1, 9)]
