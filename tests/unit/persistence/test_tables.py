"""Whether data fit a table: names, keys, unique indexes. No database here."""

import pyarrow as pa
import pytest

from datapipe.errors import PlanError
from datapipe.persistence.tables import Column, Layout, Table, check_unique, find_keys
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
