"""Whether data fit a table: names, keys, unique indexes. No database here."""

import pyarrow as pa
import pytest

from datapipe.errors import PlanError, SchemaError
from datapipe.persistence.tables import Column, Layout, Table, check_unique, find_keys, match_columns
from datapipe.plan import TableTarget, WriteStrategy, build

USERS = Table("users", "crm")


def layout(*columns: Column, unique: tuple[frozenset[str], ...] = ()) -> Layout:
    return Layout(columns, unique)


def target(*keys: str, latest: str | None = None) -> TableTarget:
    return build(TableTarget, {"table_name": "t", "strategy": "upsert", "upsert_keys": list(keys), "latest": latest})


def data(*names: str) -> pa.Schema:
    return pa.schema([(name, pa.int64()) for name in names])


@pytest.mark.parametrize(
    ("table", "sql", "shown"),
    [
        (Table("t"), '"t"', "t"),
        (USERS, '"crm"."users"', "crm.users"),
        (Table('a"b', "c.d"), '"c.d"."a""b"', 'c.d.a"b'),
    ],
)
def test_a_table_is_quoted_for_sql_and_plain_for_people(table: Table, sql: str, shown: str) -> None:
    assert (table.sql, str(table)) == (sql, shown)


# --- keys ---------------------------------------------------------------------------------------------------


def test_keys_are_named_as_the_data_name_them() -> None:
    assert find_keys(target("ID", "day"), ["Id", "day", "n"]) == ("Id", "day")


def test_latest_is_no_key() -> None:
    assert find_keys(target("id", latest="at"), ["id", "at"]) == ("id",)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (target("idd"), "key 'idd' is not a column of the data. Did you mean 'id'? columns: at, id"),
        (target("id", latest="att"), "latest 'att' is not a column of the data. Did you mean 'at'"),
    ],
)
def test_an_unknown_key_or_latest_is_named_with_the_nearest(given: TableTarget, words: str) -> None:
    with pytest.raises(PlanError) as caught:
        find_keys(given, ["id", "at"])
    assert words in str(caught.value)


# --- columns ------------------------------------------------------------------------------------------------


def test_columns_come_in_the_order_of_the_data() -> None:
    found = match_columns(layout(Column("a", "int"), Column("B", "int"), Column("c", "int")), data("b", "a"), USERS)
    assert [column.name for column in found] == ["B", "a"]


def test_an_exact_name_wins_over_another_case() -> None:
    found = match_columns(layout(Column("ID", "int"), Column("id", "int")), data("id"), USERS)
    assert [column.name for column in found] == ["id"]


def test_a_name_that_may_be_two_columns_is_none() -> None:
    with pytest.raises(SchemaError, match=r"the target lacks Id"):
        match_columns(layout(Column("ID", "int"), Column("id", "int")), data("Id"), USERS)


def test_everything_that_differs_is_told_at_once() -> None:
    there = layout(
        Column("id", "bigint", nullable=False),
        Column("born", "date", nullable=False),
        Column("made", "date", nullable=False, optional=True),
        Column("note", "text"),
    )
    with pytest.raises(SchemaError) as caught:
        match_columns(there, pa.schema([("id", pa.int64()), ("age", pa.int32()), ("name", pa.string())]), USERS)
    assert caught.value.message == (
        "table crm.users and the data differ: the target lacks age (integer); the target lacks name (text); "
        "the target needs born (date NOT NULL), which the data lack"
    )
    assert "crm.users" in str(caught.value.hint)


def test_two_columns_do_not_go_into_one() -> None:
    with pytest.raises(SchemaError, match=r"two columns of the data go into one column of crm\.users"):
        match_columns(layout(Column("Id", "int")), data("id", "ID"), USERS)


# --- unique indexes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [("a", "b"), ("b", "a"), ()])
def test_keys_with_a_unique_index_pass_in_any_order(keys: tuple[str, ...]) -> None:
    check_unique(layout(unique=(frozenset("ab"),)), keys, USERS, WriteStrategy.UPSERT)


@pytest.mark.parametrize("keys", [("a",), ("a", "b", "c")])
def test_keys_without_one_get_the_statement_that_makes_it(keys: tuple[str, ...]) -> None:
    with pytest.raises(PlanError, match="unique index") as caught:
        check_unique(layout(unique=(frozenset("ab"),)), keys, USERS, WriteStrategy.UPSERT)
    columns = ", ".join(f'"{key}"' for key in keys)
    assert caught.value.hint == (
        f'Create it: CREATE UNIQUE INDEX "users_{"_".join(keys)}" ON "crm"."users" ({columns})'
    )
