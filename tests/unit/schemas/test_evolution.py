"""The policy of evolution: what is altered, what is left out, what is refused, for any two schemas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapipe.data.types import postgresql_type
from datapipe.errors import SchemaError
from datapipe.plan import SchemaMode
from datapipe.schemas.evolution import Evolution, Given, Held, evolution
from datapipe.schemas.kinds import Kind, holds, kind_of


def held(name: str, type_: str, **options: Any) -> Held:
    return Held(name, type_, kind_of(type_), **options)


def new(name: str, type_: str) -> Given:
    return Given(name, type_, kind_of(type_))


def wider(column: Held, kind: Kind) -> tuple[str, Kind]:
    """As PostgreSQL does."""
    found = postgresql_type(kind.field(column.name))
    return found, kind_of(found)


def decide(table: list[Held], data: list[Given], mode: SchemaMode = "evolve", **rename: str) -> Evolution:
    return evolution(table, data, mode, title="crm.users", wider=wider, rename=rename)


def told(found: Evolution) -> list[str]:
    return [str(change) for change in found.changes]


WIDENED = [
    ("smallint", "bigint", "bigint"),
    ("integer", "numeric(10,2)", "numeric(12,2)"),
    ("bigint", "numeric(5,1)", "numeric(20,1)"),
    ("numeric(10,2)", "numeric(8,4)", "numeric(12,4)"),
    ("numeric(10,2)", "numeric", "numeric"),
    ("numeric(10,2)", "integer", "numeric(12,2)"),
    ("varchar(10)", "varchar(20)", "varchar(20)"),
    ("varchar(10)", "text", "text"),
    ("real", "double precision", "double precision"),
]
KEPT = [
    ("bigint", "smallint"),
    ("bigint", "double precision"),  # not every number of one is a number of the other: the values decide
    ("double precision", "bigint"),
    ("text", "varchar(3)"),
    ("timestamp", "date"),
    ("timestamp(3)", "timestamp"),
    ("date", "timestamp"),
    ("uuid", "text"),
    ("json", "text"),
    ("text", "uuid"),
    ("integer[]", "bigint[]"),
    ("mood", "text"),
]
RETYPED = [
    ("integer", "text"),
    ("text", "integer"),
    ("timestamp", "text"),
    ("timestamp", "timestamptz"),
    ("boolean", "integer"),
    ("bytea", "text"),
]


@pytest.mark.parametrize(("before", "data", "after"), WIDENED)
def test_safe_widenings_are_made(before: str, data: str, after: str) -> None:
    found = decide([held("a", before)], [new("a", data)])
    assert told(found) == [f"widened a: {before} -> {after}"]
    assert found.columns == ("a",)


@pytest.mark.parametrize(("before", "data"), KEPT)
def test_what_cannot_be_widened_safely_is_left_to_the_values(before: str, data: str) -> None:
    assert decide([held("a", before)], [new("a", data)]).changes == ()


@pytest.mark.parametrize(("before", "data"), RETYPED)
def test_another_class_of_types_is_refused(before: str, data: str) -> None:
    with pytest.raises(SchemaError) as caught:
        decide([held("a", before)], [new("a", data), new("b", "text")])
    assert caught.value.message == (
        "table crm.users and the data differ (schema_mode evolve):\n"
        f"  breaking: retyped a: {before} -> {data} (another class of types)\n"
        "  added b: text (allowed)"
    )
    assert caught.value.column == "a"
    assert "Cast the column" in str(caught.value.hint)


@pytest.mark.parametrize("mode", ["strict", "discard"])
@pytest.mark.parametrize(("before", "data"), [*KEPT, *RETYPED, *(case[:2] for case in WIDENED)])
def test_no_other_mode_looks_at_types(mode: SchemaMode, before: str, data: str) -> None:
    assert decide([held("a", before)], [new("a", data)], mode) == Evolution((), ("a",))


@pytest.mark.parametrize("options", [{"fixed": True}, {"type_": "character(3)"}])
def test_a_type_that_cannot_be_changed_is_left(options: dict[str, Any]) -> None:
    column = held("a", **{"type_": "varchar(3)", "fixed": True, **options})
    assert decide([column], [new("a", "text")]).changes == ()


def test_new_columns_are_added_behind_what_is_widened() -> None:
    found = decide([held("n", "int")], [new("x", "text"), new("n", "bigint"), new("y", "date")])
    assert told(found) == ["widened n: int -> bigint", "added x: text", "added y: date"]
    assert found.columns == ("x", "n", "y")


def test_unknown_columns_are_left_out_where_they_are_discarded() -> None:
    assert decide([held("n", "int")], [new("x", "text"), new("n", "int")], "discard") == Evolution((), (None, "n"))


def test_a_table_that_has_none_of_the_columns_is_refused_in_every_mode_but_evolve() -> None:
    with pytest.raises(SchemaError, match=r"added x: text \(the table lacks it\)"):
        decide([held("n", "int")], [new("x", "text")], "discard")


@pytest.mark.parametrize("mode", ["evolve", "strict", "discard"])
def test_missing_columns_are_fine_only_where_the_table_allows_it(mode: SchemaMode) -> None:
    may = [held("may", "text"), held("filled", "text", nullable=False, filled=True)]
    assert decide([held("n", "int"), *may], [new("n", "int")], mode).columns == ("n",)
    with pytest.raises(SchemaError, match=r"removed must: date NOT NULL \(the table needs it\)"):
        decide([held("n", "int"), held("must", "date", nullable=False)], [new("n", "int")], mode)


def test_everything_that_differs_is_told_at_once() -> None:
    table = [held("id", "bigint"), held("born", "date", nullable=False), held("note", "text")]
    with pytest.raises(SchemaError) as caught:
        decide(table, [new("id", "bigint"), new("age", "integer"), new("name", "text")], "strict")
    assert caught.value.message.splitlines() == [
        "table crm.users and the data differ (schema_mode strict):",
        "  breaking: removed born: date NOT NULL (the table needs it)",
        "  breaking: added age: integer (the table lacks it)",
        "  breaking: added name: text (the table lacks it)",
    ]
    assert "rename={'old': 'new'}" in str(caught.value.hint)


def test_a_rename_is_proposed_and_never_guessed() -> None:
    with pytest.raises(SchemaError, match=r"rename=\{'colour': 'color'\}"):
        decide([held("id", "int"), held("colour", "text")], [new("id", "int"), new("color", "text")], "strict")
    filled = held("id", "int", nullable=False, filled=True)  # by the database: that is why the data lack it
    with pytest.raises(SchemaError) as caught:
        decide([filled, held("n", "int")], [new("n", "int"), new("color", "text")], "strict")
    assert "rename" not in str(caught.value)
    found = decide([held("id", "int"), held("colour", "text")], [new("id", "int"), new("color", "text")])
    assert told(found) == ["added color: text"]


# --- names ----------------------------------------------------------------------------------------------------


def test_names_match_exactly_first_and_then_whatever_their_case() -> None:
    assert decide([held("ID", "int"), held("id", "int")], [new("id", "int")]).columns == ("id",)
    assert decide([held("ID", "int")], [new("id", "int")]).columns == ("ID",)


@pytest.mark.parametrize("mode", ["evolve", "strict", "discard"])
def test_a_name_that_may_be_two_columns_is_refused(mode: SchemaMode) -> None:
    with pytest.raises(SchemaError, match=r"added Id: int \(the table has ID and id\)"):
        decide([held("ID", "int"), held("id", "int")], [new("Id", "int")], mode)


@pytest.mark.parametrize("mode", ["evolve", "strict", "discard"])
def test_two_columns_do_not_go_into_one(mode: SchemaMode) -> None:
    with pytest.raises(SchemaError, match=r"two columns of the data go into one column of crm\.users"):
        decide([held("Id", "int")], [new("id", "int"), new("ID", "int")], mode)


# --- renames --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["evolve", "strict"])
def test_a_rename_that_is_stated_is_made(mode: SchemaMode) -> None:
    found = decide([held("colour", "text")], [new("color", "text")], mode, colour="color")
    assert told(found) == ["renamed colour -> color"]
    assert found.columns == ("color",)


def test_a_renamed_column_may_be_widened_too() -> None:
    found = decide([held("n", "int")], [new("m", "bigint")], n="m")
    assert told(found) == ["renamed n -> m", "widened m: int -> bigint"]


@pytest.mark.parametrize("names", [{"colour": "color"}, {"Color": "color"}])
def test_a_rename_that_has_been_made_is_none(names: dict[str, str]) -> None:
    assert decide([held("color", "text")], [new("color", "text")], **names).changes == ()


def test_a_rename_may_change_nothing_but_the_case() -> None:
    assert told(decide([held("Color", "text")], [new("color", "text")], Color="color")) == ["renamed Color -> color"]


@pytest.mark.parametrize(
    ("table", "data", "words"),
    [
        (["color", "colour"], ["color"], "table crm.users has both 'colour' and 'color'"),
        (["size"], ["color"], "table crm.users has neither 'colour' nor 'color'"),
        (["colour"], ["color", "colour"], "the data still have 'colour'"),
    ],
)
def test_a_rename_that_cannot_be_meant_is_refused(table: list[str], data: list[str], words: str) -> None:
    with pytest.raises(SchemaError, match=words):
        decide([held(n, "text") for n in table], [new(n, "text") for n in data], colour="color")


# --- for any schemas ------------------------------------------------------------------------------------------

NAMED = "smallint,integer,bigint,real,double precision,text,varchar(3),varchar(30),boolean,date,timestamp,timestamptz"
DECIMALS = st.integers(1, 38).flatmap(lambda p: st.integers(0, p).map(lambda s: f"numeric({p},{s})"))
TYPES = st.sampled_from([*NAMED.split(","), "numeric", "uuid", "json", "mood", "integer[]", "bytea", "time"]) | DECIMALS
COLUMNS = st.dictionaries(st.sampled_from("abcde"), TYPES, min_size=1)


@given(COLUMNS, COLUMNS)
def test_after_the_changes_there_is_nothing_left_to_change(table: dict[str, str], data: dict[str, str]) -> None:
    before, rows = [held(n, t) for n, t in table.items()], [new(n, t) for n, t in data.items()]
    try:
        found = decide(before, rows)
    except SchemaError:
        return
    columns = {column.name: column for column in before}
    for change in found.changes:
        old = columns.get(change.column)
        columns[change.column] = held(change.column, str(change.after))
        if old is not None:  # widened: nothing of the table is lost, and the data fit
            assert holds(columns[change.column].kind, old.kind)
            assert holds(columns[change.column].kind, kind_of(data[change.column]))
    assert decide(list(columns.values()), rows) == replace(found, changes=())
    assert decide(list(columns.values()), rows, "strict") == replace(found, changes=())


@given(COLUMNS, COLUMNS, st.sampled_from(["strict", "discard"]))
def test_only_evolve_changes_a_table(table: dict[str, str], data: dict[str, str], mode: SchemaMode) -> None:
    try:
        found = decide([held(n, t) for n, t in table.items()], [new(n, t) for n, t in data.items()], mode)
    except SchemaError:
        return
    assert found.changes == ()
    assert found.columns == tuple(name if name in table else None for name in data)
