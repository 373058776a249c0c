"""Tables as they are found: names of any kind, columns that differ, and what a failed write leaves behind."""

from __future__ import annotations

import pyarrow as pa
import pytest
from contracts.sinks import Sink, failing, table

from datapipe.data.stream import Workspace
from datapipe.errors import DataError, PlanError, SchemaError
from datapipe.persistence import describe_write
from datapipe.plan import TableTarget, build

ODD = [
    'quo"te',
    "two words",
    "dotted.name",
    "a.b.c",
    "Größe ü 表",
    "UPPER",
    "select",
    "semi;colon -- comment",
    "per%cent %s {brace}",
    "back\\slash",
    "x" * 63,
]
USERS = table(id=[1, 2], name=["ann", "bob"])


# --- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("strategy", ["append", "upsert", "replace"])
def test_names_are_taken_literally(sink: Sink, name: str, strategy: str) -> None:
    data = pa.table({name: [1, 2], f"{name[:50]} 2": ["x", None]})
    keys = [name] if strategy == "upsert" else []
    for _ in range(2):
        sink.write(data, name, schema=sink.schema, strategy=strategy, upsert_keys=keys)
    assert sink.tables() == [name]
    assert list(sink.columns(name)) == data.schema.names
    assert len({*sink.sql("SELECT * FROM " + '"' + name.replace('"', '""') + '"')}) == 2
    assert sink.keys(name) == keys


@pytest.mark.parametrize("name", ODD)
def test_a_schema_is_made_when_it_is_missing(sink: Sink, name: str) -> None:
    if sink.kind == "sqlite":
        with pytest.raises(PlanError, match=r"SQLite has no schema .*Leave schema= out"):
            sink.write(USERS, schema=name)
        return
    for _ in range(2):
        sink.write(USERS, schema=name)
    quoted = '"' + name.replace('"', '""') + '"'
    assert sink.sql(f"SELECT count(*) FROM {quoted}.t") == [(4,)]


def test_a_plain_dotted_name_is_a_schema_and_a_table(sink: Sink) -> None:
    schema = "main" if sink.kind == "postgresql" else sink.schema
    sink.write(USERS, f"{schema}.t")
    assert sink.sql(f"SELECT count(*) FROM {schema}.t") == [(2,)]


def test_columns_match_whatever_their_case(sink: Sink) -> None:
    sink.sql('CREATE TABLE t ("Id" INTEGER PRIMARY KEY, "NAME" TEXT)')
    sink.write(USERS, strategy="upsert", upsert_keys=["ID"])
    assert sink.rows() == [(1, "ann"), (2, "bob")]


def test_a_table_is_found_whatever_the_case_where_the_database_does_so(sink: Sink) -> None:
    sink.write(USERS, "Users")
    assert sink.write(USERS, "users").created == (sink.kind in {"postgresql", "mysql"})


# --- differences --------------------------------------------------------------------------------------------


def test_a_column_the_table_lacks_and_one_it_needs_are_both_named(sink: Sink) -> None:
    sink.sql("CREATE TABLE t (id INTEGER, must TEXT NOT NULL, may TEXT, filled TEXT NOT NULL DEFAULT 'x')")
    with pytest.raises(SchemaError) as caught:
        sink.write(table(id=[1], name=["ann"], age=[1]))
    text = str(caught.value)
    assert text.index("removed must: ") < text.index("added name: ") < text.index("added age: ")
    assert "may" not in text
    assert "filled" not in text
    assert caught.value.step == "persistence"
    assert caught.value.hint
    assert sink.rows() == []


def test_defaults_fill_what_the_data_lack(sink: Sink) -> None:
    sink.sql("CREATE TABLE t (id INTEGER, filled TEXT NOT NULL DEFAULT 'x', may TEXT)")
    sink.write(table(id=[1]))
    assert sink.rows() == [(1, "x", None)]


def test_null_in_a_column_that_needs_a_value_is_refused(sink: Sink) -> None:
    sink.sql("CREATE TABLE t (id INTEGER, must TEXT NOT NULL)")
    with pytest.raises(DataError, match="must") as caught:
        sink.write(table(id=[1, 2], must=["secret", None]))
    assert "secret" not in str(caught.value)
    assert sink.rows() == []


def test_two_columns_of_one_name_are_refused(sink: Sink) -> None:
    data = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["id", "id"])
    with pytest.raises(DataError, match="two columns called 'id'"):
        sink.write(data)
    assert sink.tables() == []


def test_two_columns_for_one_column_of_the_table_are_refused(sink: Sink) -> None:
    sink.sql('CREATE TABLE t ("Id" INTEGER)')
    with pytest.raises(SchemaError, match="two columns of the data"):
        sink.write(pa.table({"id": [1], "ID": [2]}))


def test_a_view_is_no_target(sink: Sink) -> None:
    sink.sql(
        "CREATE TABLE base (id INTEGER, name TEXT)",
        "CREATE VIEW t AS SELECT id, count(*) AS name FROM base GROUP BY id",
    )
    with pytest.raises(PlanError, match=r"view|not an? table") as caught:
        sink.write(table(id=[1], name=[2]))
    assert caught.value.hint


# --- what stays ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["append", "upsert"])
def test_a_failed_write_into_a_new_schema_leaves_no_schema(sink: Sink, strategy: str) -> None:
    if sink.kind == "sqlite":
        return  # it has no schemas
    keys = ["id"] if strategy == "upsert" else []
    with pytest.raises(ValueError, match="why"):
        sink.write(failing(USERS, ValueError("why")), schema="fresh", strategy=strategy, upsert_keys=keys)
    assert sink.sql("SELECT 1 FROM information_schema.schemata WHERE schema_name = 'fresh'") == []


def test_after_a_failure_the_next_write_works(sink: Sink) -> None:
    for strategy in ("append", "upsert"):
        with pytest.raises(ValueError, match="why"):
            sink.write(
                failing(USERS, ValueError("why")), strategy=strategy, upsert_keys=["id"] * (strategy == "upsert")
            )
    sink.write(USERS, strategy="upsert", upsert_keys=["id"])
    assert sink.rows() == [(1, "ann"), (2, "bob")]


@pytest.mark.parametrize("strategy", ["append", "insert", "upsert", "replace"])
def test_looking_at_a_write_changes_nothing(sink: Sink, strategy: str) -> None:
    keys = ["id"] if strategy in {"insert", "upsert"} else []
    form = {"table_name": "t", "strategy": strategy, "upsert_keys": keys, "dest_db_url": sink.url}
    text = "\n".join(describe_write(build(TableTarget, form), USERS.schema, Workspace()))
    assert 'CREATE TABLE "t"' in text
    assert ("DELETE FROM" in text) == (strategy == "replace")
    assert (("UPDATE" if sink.kind == "mysql" else "ON CONFLICT") in text) == (strategy == "upsert")
    bulk = {"postgresql": "COPY", "mysql": "LOAD DATA", "sqlite": "VALUES", "duckdb": "SELECT * FROM"}
    assert bulk[sink.kind] in text
    assert sink.kind in {"postgresql", "mysql"} or not sink.path.exists()
    assert sink.tables() == []
