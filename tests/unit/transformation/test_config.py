from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datapipe.data.stream import Stream, Workspace
from datapipe.errors import PlanError
from datapipe.plan import TransformConfig
from datapipe.transformation.conditions import condition, expression, literal
from datapipe.transformation.config import ConfigTransformer, compile_config, run_config

SALES = pa.table(
    {
        "id": [1, 2, 3, 4],
        "Region": ["north", "south", "north", None],
        "amount": [10, 20, 30, 40],
        "status": ["active", "gone", "active", "it's"],
        "day": [dt.date(2024, 1, 1), dt.date(2024, 2, 1), dt.date(2025, 3, 1), None],
    }
)
NAMES = SALES.column_names
SPEC = """
select:
  - id
  - name
  - email
rename:
  name: full_name
filter:
  status: active
add_columns:
  created_year: "EXTRACT(YEAR FROM created_at)"
"""


def executed(config: Mapping[str, Any], table: pa.Table = SALES) -> list[dict[str, Any]]:
    sql = compile_config(TransformConfig.model_validate(config), table.column_names)
    with duckdb.connect() as con:
        con.register("input_data", table)
        found: list[dict[str, Any]] = con.sql(sql).to_arrow_table().to_pylist()
    return found


def refused(config: Mapping[str, Any], message: str, columns: Sequence[str] = NAMES) -> PlanError:
    with pytest.raises(PlanError, match=message) as caught:
        compile_config(TransformConfig.model_validate(config), columns)
    return caught.value


def ids(filter_: Any) -> list[int]:
    return [row["id"] for row in executed({"filter": filter_, "select": "id", "sort": "id"})]


def test_the_example_of_the_specification(tmp_path: Path) -> None:
    file = tmp_path / "transform_config.yaml"
    file.write_text(SPEC)
    data = pd.DataFrame(
        {
            "id": [1, 2],
            "name": ["Ann", "Bob"],
            "email": ["a@x", "b@x"],
            "status": ["active", "gone"],
            "created_at": pd.to_datetime(["2023-05-01", "2024-05-01"]),
        }
    )
    before = data.copy(deep=True)
    result = ConfigTransformer(config=str(file)).transform(data)
    assert result.to_dict("list") == {"id": [1], "full_name": ["Ann"], "email": ["a@x"], "created_year": [2023]}
    pd.testing.assert_frame_equal(data, before)


def test_the_compiled_text_is_one_readable_select() -> None:
    config = TransformConfig.model_validate(
        {
            "select": ["id", "amount"],
            "rename": {"amount": "total"},
            "cast": {"total": "DECIMAL(15, 2)"},
            "filter": {"status": "active"},
            "add_columns": {"year": "EXTRACT(YEAR FROM day)"},
            "sort": ["-total", "id"],
            "limit": 5,
        }
    )
    assert compile_config(config, NAMES) == (
        'SELECT\n  "id",\n  CAST("amount" AS DECIMAL(15, 2)) AS "total",\n  (EXTRACT(YEAR FROM day)) AS "year"\n'
        'FROM input_data\nWHERE "status" = \'active\'\nORDER BY "total" DESC, "id"\nLIMIT 5'
    )


def test_an_empty_configuration_changes_nothing() -> None:
    assert executed({}) == SALES.to_pylist()


def test_the_order_of_the_keys_does_not_matter() -> None:
    one = {"filter": {"amount": {">": 10}}, "rename": {"amount": "total"}, "select": ["amount"], "sort": "total"}
    other = dict(reversed(one.items()))
    assert executed(one) == executed(other) == [{"total": 20}, {"total": 30}, {"total": 40}]


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ({"status": "active"}, [1, 3]),
        ({"status": "it's"}, [4]),
        ({"STATUS": "active"}, [1, 3]),
        ({"Region": None}, [4]),
        ({"Region": {"!=": None}}, [1, 2, 3]),
        ({"id": [1, 4, 9]}, [1, 4]),
        ({"Region": ["south", None]}, [2, 4]),
        ({"Region": []}, []),
        ({"Region": [None]}, [4]),
        ({"Region": {"not in": ["south"]}}, [1, 3]),
        ({"Region": {"not in": ["south", None]}}, [1, 3]),
        ({"id": {"not in": []}}, [1, 2, 3, 4]),
        ({"amount": {">=": 20, "<": 40}}, [2, 3]),
        ({"amount": {">": 10, "<=": 30}, "status": {"!=": "gone"}}, [3]),
        ({"amount": {"=": 10}}, [1]),
        ({"amount": {"between": [20, 30]}}, [2, 3]),
        ({"Region": {"LIKE": "n%"}}, [1, 3]),
        ({"day": {">=": dt.date(2024, 2, 1)}}, [2, 3]),
        ({"day": {">=": "2024-02-01"}}, [2, 3]),
        ({"amount": Decimal("10.0")}, [1]),
        ({"amount": {"<": 1e300}}, [1, 2, 3, 4]),
        ({"amount": {"<": float("inf")}}, [1, 2, 3, 4]),
        ("amount > 10 AND Region = 'north'", [3]),
        ("Region = 'south' OR status = 'active'", [1, 2, 3]),
        ({}, [1, 2, 3, 4]),
    ],
)
def test_filters(filter_: Any, expected: list[int]) -> None:
    assert ids(filter_) == expected


def test_filter_and_added_columns_see_the_input_under_its_names() -> None:
    rows = executed(
        {
            "filter": "amount < 30",
            "add_columns": {"amount": "amount * 100", "twice": "amount * 2"},
            "rename": {"amount": "id", "id": "amount"},
            "select": ["id"],
        }
    )
    assert rows == [{"amount": 1, "id": 1000, "twice": 20}, {"amount": 2, "id": 2000, "twice": 40}]


def test_an_added_column_replaces_one_of_its_name_in_its_place() -> None:
    assert list(executed({"add_columns": {"region": "upper(Region)", "new": "1"}})[0].items())[:2] == [
        ("id", 1),
        ("Region", "NORTH"),
    ]


def test_select_drop_rename_and_cast() -> None:
    row = executed(
        {"drop": ["day", "STATUS"], "rename": {"region": "area"}, "cast": {"Region": "VARCHAR", "id": "TEXT"}}
    )
    assert row[0] == {"id": "1", "area": "north", "amount": 10}
    assert list(executed({"select": ["amount", "id"]})[0]) == ["amount", "id"]
    assert list(executed({"select": ["id", "amount"], "drop": "id"})[0]) == ["amount"]


def test_names_can_be_swapped() -> None:
    config = {"select": ["id", "amount"], "rename": {"id": "amount", "amount": "id"}, "sort": "-id", "limit": 1}
    assert executed({**config, "cast": {"id": "VARCHAR"}}) == [{"amount": 4, "id": "40"}]


def test_groups() -> None:
    rows = executed(
        {
            "group_by": ["region"],
            "aggregations": {"amount": "sum", "n": "COUNT(*)", "largest": "max(amount)"},
            "sort": ["-amount", "Region"],
        }
    )
    assert rows == [
        {"Region": "north", "amount": 40, "n": 2, "largest": 30},
        {"Region": None, "amount": 40, "n": 1, "largest": 40},
        {"Region": "south", "amount": 20, "n": 1, "largest": 20},
    ]


def test_groups_without_aggregations_are_the_distinct_ones() -> None:
    assert executed({"group_by": "Region", "sort": "Region desc"}) == [
        {"Region": "south"},
        {"Region": "north"},
        {"Region": None},
    ]


def test_aggregations_without_groups_are_one_row() -> None:
    assert executed({"aggregations": {"n": "COUNT(*)", "id": "max"}, "filter": {"id": {">": 9}}}) == [
        {"n": 0, "id": None}
    ]


def test_groups_see_added_columns_and_filter_the_input() -> None:
    rows = executed(
        {
            "filter": "amount < 40",
            "add_columns": {"year": "EXTRACT(YEAR FROM day)", "amount": "amount + 1"},
            "group_by": "year",
            "aggregations": {"amount": "sum"},
            "rename": {"year": "y", "amount": "year"},
            "cast": {"year": "INTEGER"},
            "sort": "y",
        }
    )
    assert rows == [{"y": 2024, "year": 32}, {"y": 2025, "year": 31}]


def test_distinct_sort_and_limit_come_last() -> None:
    assert executed({"select": "status", "distinct": True, "sort": "status", "limit": 2}) == [
        {"status": "active"},
        {"status": "gone"},
    ]
    assert executed({"limit": 0}) == []


def test_sorting_by_the_old_name_and_by_a_name_that_looks_like_an_order() -> None:
    table = pa.table({"-a": [1, 2], "b desc": [2, 1], "a": [0, 0]})
    assert [row["-a"] for row in executed({"sort": "-a"}, table)] == [1, 2]
    assert [row["-a"] for row in executed({"sort": "b desc"}, table)] == [2, 1]
    assert [row["-a"] for row in executed({"sort": "b desc DESC"}, table)] == [1, 2]
    rows = executed({"rename": {"amount": "total"}, "select": "amount", "sort": "-Amount"})
    assert [row["total"] for row in rows] == [40, 30, 20, 10]


def test_odd_names_are_only_names() -> None:
    odd = 'a "quoted"; -- name'
    table = pa.table({odd: [1, 2], "select": ["x", "y"]})
    rows = executed({"filter": {odd: 2}, "rename": {odd: 'o"k'}, "sort": odd}, table)
    assert rows == [{'o"k': 2, "select": "y"}]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"select": ["amuont"]}, "select: there is no column 'amuont'. Did you mean 'amount'"),
        ({"drop": ["amuont"]}, "drop: there is no column"),
        ({"filter": {"stauts": "x"}}, "filter: there is no column 'stauts'. Did you mean 'status'"),
        ({"rename": {"nam": "x"}}, "rename: there is no column"),
        ({"select": "id", "rename": {"amount": "x"}}, "rename: there is no column 'amount'"),
        ({"group_by": "regoin"}, "group_by: there is no column 'regoin'. Did you mean 'Region'"),
        ({"cast": {"amuont": "INTEGER"}}, "cast: there is no column"),
        ({"sort": "-amuont"}, "sort: there is no column 'amuont'"),
        ({"select": "id", "sort": "amount"}, "sort: there is no column 'amount'"),
        ({"aggregations": {"n": "count"}}, "'count' alone works on the column 'n', which is not there.*COUNT"),
        ({"group_by": "id", "aggregations": {"id": "sum"}}, "aggregations.id: the column is already a key"),
        ({"drop": NAMES}, "no column is left"),
        ({"rename": {"id": "amount"}}, "the result has two columns called 'amount'"),
        ({"rename": {"id": "Amount"}}, "the result has both 'Amount' and 'amount'"),
        ({"select": ["id", "ID"]}, "select has two columns called 'id'"),
        ({"filter": {"id": {"=>": 1}}}, "filter.id: unknown operator '=>'"),
        ({"filter": {"id": {"in": 1}}}, "filter.id: in takes a list"),
        ({"filter": {"id": {"<": [1]}}}, "filter.id: < takes one value"),
        ({"filter": {"id": {"<": None}}}, "filter.id: < cannot compare with NULL"),
        ({"filter": {"id": {"between": [1]}}}, "filter.id: between takes two values"),
        ({"filter": {"id": {"=": {"a": 1}}}}, "filter.id: a value of type"),
        ({"cast": {"id": "INTEGER) FROM x; --"}}, "cast.id: .* is not a type"),
        ({"cast": {"id": "VARCHAR 'x'"}}, "cast.id: .* is not a type"),
    ],
)
def test_a_mistake_is_a_plan_error_that_says_what_is_known(config: Mapping[str, Any], message: str) -> None:
    refused(config, message)


def test_a_name_that_fits_two_columns_is_refused() -> None:
    with pytest.raises(PlanError, match="the input has both 'a' and 'A'"):
        compile_config(TransformConfig(), ["a", "A"])
    with pytest.raises(PlanError, match="could be any of"):
        condition({"NAME": 1}, ["name", "Name"])


@pytest.mark.parametrize("type_", ["BIGINT", "decimal(10,2)", "TIMESTAMP WITH TIME ZONE", "INTEGER[]", "VARCHAR[3][]"])
def test_types_that_are_types_are_taken(type_: str) -> None:
    assert f"AS {type_})" in compile_config(TransformConfig(cast={"id": type_}), ["id"])


BREAKOUTS = [
    "1; DROP TABLE x",
    "1) FROM input_data --",
    "1 -- comment",
    "1 /* comment */",
    "1 /* open",
    "1)",
    "(1",
    "a[1",
    "(1])",
    "'open",
    '"open',
    "`open",
    "",
    "  ",
    "e'\\' || (SELECT 1) --'",
    "é'x' || éE'\\', (SELECT 1) --'",
    "1E'\\') UNION SELECT 1 --'",
    "$$text$$",
    "a$x$b ) UNION SELECT 1 -- $x$",
    "'a\\') UNION SELECT (1'",
]


@pytest.mark.parametrize("text", BREAKOUTS)
def test_an_expression_cannot_break_out_of_its_place(text: str) -> None:
    for config in ({"filter": text or " "}, {"add_columns": {"x": text}}, {"aggregations": {"x": text or " "}}):
        with pytest.raises(PlanError, match=r"filter|add_columns\.x|aggregations\.x"):
            compile_config(TransformConfig.model_validate(config), NAMES)


@pytest.mark.parametrize(
    "text",
    ["'it''s; -- (fine'", "\"Region\" || ')'", "list_value([1], [2, 3])[1]", "{'a': id}.a", "amount::VARCHAR", "'\\'"],
)
def test_punctuation_inside_text_and_names_is_harmless(text: str) -> None:
    assert len(executed({"add_columns": {"x": text}})) == 4


unhurried = settings(deadline=None)  # a shared machine has slow moments
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"))
    | st.decimals(-(10**12), 10**12, places=4)
    | st.dates()
    | st.datetimes()
    | st.times()
    | st.uuids()
)


@unhurried
@given(SCALARS)
def test_a_literal_is_the_value_and_nothing_else(value: Any) -> None:
    if value is None:
        return
    with duckdb.connect() as con:
        row = con.sql(f"SELECT {literal(value, field='x')}").fetchall()
    assert (float(row[0][0]) if isinstance(value, float) else row[0][0]) == value


PIECES = [
    "'",
    '"',
    "`",
    "$$",
    "$t$",
    "--",
    "/*",
    "*/",
    "(",
    ")",
    "[",
    "]",
    ";",
    "e'",
    "é",
    "\\",
    "\n",
    "1",
    "a",
    ",",
    " ",
]
PIECES += [" UNION SELECT 1 ", " FROM t ", "'x'", '"a"', " || ", "=", "1e", "U&'", "x'00'", "#", "?"]


@settings(deadline=None, max_examples=400)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_an_expression_that_is_let_through_stays_one_expression(text: str) -> None:
    try:
        made = expression(text, field="x")
    except PlanError:
        return
    sql = f"SELECT {made} AS x FROM (SELECT 1 AS a) AS t WHERE a = 7"
    with duckdb.connect() as con:
        parsed = con.execute("SELECT json_serialize_sql($q::VARCHAR)", {"q": sql}).fetchall()
    tree = json.loads(parsed[0][0])
    if tree["error"]:
        return
    node = tree["statements"][0]["node"]
    assert len(tree["statements"]) == 1
    assert node["type"] == "SELECT_NODE"
    assert [item["alias"] for item in node["select_list"]] == ["x"]
    assert node["from_table"]["alias"] == "t"
    assert node["where_clause"]["left"]["column_names"] == ["a"]


@unhurried
@given(st.floats(allow_nan=False))
def test_a_float_is_found_by_its_own_literal(value: float) -> None:
    with duckdb.connect() as con:
        row = con.execute(f"SELECT $v::DOUBLE = {literal(value, field='x')}", {"v": value}).fetchall()
    assert row == [(True,)]


def test_a_short_float_is_found_among_decimals() -> None:
    table = pa.table({"id": [1, 2], "price": [Decimal("0.10"), Decimal("19.99")]})
    assert executed({"filter": {"price": 19.99}, "select": "id"}, table) == [{"id": 2}]
    assert executed({"filter": {"price": [0.1]}, "select": "id"}, table) == [{"id": 1}]


def test_a_literal_without_sql_form_is_refused() -> None:
    for value in (b"bytes", object(), "a\0b", Decimal("NaN")):
        with pytest.raises(PlanError, match=r"filter\.x"):
            literal(value, field="filter.x")
    assert literal(uuid.UUID(int=1), field="x").startswith("CAST('00000000-")


def test_a_step_of_a_plan_runs_over_a_stream(tmp_path: Path) -> None:
    stream = Stream(SALES.schema, iter(SALES.to_batches(max_chunksize=1)), SALES.num_rows)
    config = TransformConfig.model_validate({"group_by": "Region", "aggregations": {"amount": "sum"}, "sort": "Region"})
    with run_config(config, stream, Workspace(scratch=tmp_path)) as made:
        assert made.schema.names == ["Region", "amount"]
        rows = pa.Table.from_batches(list(made.batches), schema=made.schema).to_pylist()
    assert rows == [
        {"Region": "north", "amount": 40},
        {"Region": "south", "amount": 20},
        {"Region": None, "amount": 40},
    ]


def test_the_transformer_takes_mappings_files_and_every_frame(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"select": ["id"], "limit": 1}))
    from_file, from_mapping = ConfigTransformer(file), ConfigTransformer({"limit": 1, "select": "id"})
    assert from_file.config == from_mapping.config
    assert from_file.sql(["id", "x"]) == from_mapping.sql(["id", "x"]) == 'SELECT\n  "id"\nFROM input_data\nLIMIT 1'
    assert from_file.transform(SALES).to_pydict() == {"id": [1]}
    polars = from_file.transform(pl.DataFrame({"id": [7]}))
    assert isinstance(polars, pl.DataFrame)
    assert polars["id"].to_list() == [7]


def test_the_version_follows_the_content() -> None:
    one, same = {"select": ["id"], "limit": 1}, {"limit": 1, "select": "id", "version": 1, "distinct": False}
    assert ConfigTransformer(one).version == ConfigTransformer(same).version
    assert ConfigTransformer(one).version != ConfigTransformer({"select": ["id"], "limit": 2}).version
    assert len(ConfigTransformer({"filter": {"day": dt.date(2024, 1, 1)}}).version) == 16


def test_an_older_form_is_understood() -> None:
    old = ConfigTransformer({"version": 0, "field_mappings": {"total": "amount"}, "filters": {"id": 1}})
    assert old.transform(SALES)["total"].to_pylist() == [10]


def test_a_wrong_configuration_names_the_field_and_the_file(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"config: unknown field 'renames'\. Did you mean 'rename'"):
        ConfigTransformer({"renames": {"a": "b"}})
    file = tmp_path / "wrong.yaml"
    file.write_text("selct: [a]")
    with pytest.raises(PlanError, match=r"wrong\.yaml.*unknown field 'selct'"):
        ConfigTransformer(file)
    with pytest.raises(PlanError, match="cannot read"):
        ConfigTransformer(tmp_path / "absent.yaml")
    with pytest.raises(PlanError, match="config: select: there is no column"):
        ConfigTransformer({"select": ["nope"]}).transform(SALES)
