"""Contracts: their forms, their mistakes, and the way to documents and back."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datapipe.errors import PlanError
from datapipe.plan import Contract, loads, parse, to_json, to_yaml, yamltext
from datapipe.plan.contract import BUILT_IN, CheckSpec

PANDERA_NEW = """
schema_type: dataframe
api: pandas
columns:
  id: {dtype: int64, unique: true, greater_than_or_equal_to: 0, isin: [1, 2]}
  s:
    dtype: string[pyarrow]
    str_length: {min_value: 1, max_value: 3, exact_value: null, raise_warning: true}
  d: {dtype: "datetime64[ns]", greater_than_or_equal_to: '2024-01-01 00:00:00', nullable: true}
strict: true
unique: [id, s]
"""
PANDERA_OLD = """
schema_type: dataframe
version: 0.20.0
columns:
  id:
    title: null
    dtype: int64
    nullable: false
    unique: true
    checks:
      greater_than_or_equal_to: {value: 0, options: {raise_warning: false, ignore_na: true}}
      isin: {value: [1, 2], options: {raise_warning: false, ignore_na: true}}
  s:
    dtype: string[pyarrow]
    checks:
    - min_value: 1
      max_value: 3
      options: {check_name: str_length, raise_warning: true, ignore_na: true}
  d:
    dtype: datetime64[ns]
    nullable: true
    checks:
    - value: '2024-01-01 00:00:00'
      options: {check_name: greater_than_or_equal_to}
checks: null
index: null
coerce: false
strict: true
unique: [id, s]
report_duplicates: all
add_missing_columns: false
"""


def made(form: Any) -> Contract:
    step = {"type": "validate", "config": {"schema": form}}
    held: Any = parse({"ingestion": {"table": "t"}, "transformation": step}).transformation[0]
    found = held.config.schema_
    assert isinstance(found, Contract)
    return found


def test_short_forms() -> None:
    long = {
        "columns": {
            "id": {"type": "int"},
            "p": {"checks": [{"check": "greater_than_or_equal_to", "arguments": {"min_value": 0}}]},
        }
    }
    assert made({"columns": {"id": "int", "p": {"checks": {"ge": 0}}}}) == made(long)
    assert made({"columns": {"id": {"dtype": "int"}, "p": {"ge": 0}}}) == made(long)
    assert made({"unique": "a"}).unique == made({"unique": ["a"]}).unique == (("a",),)
    assert made({"unique": [["a", "b"], ["c"]]}).unique == (("a", "b"), ("c",))
    assert made({"checks": "a > 0"}) == made({"checks": ["a > 0"]}) == made({"checks": [{"sql": "a > 0"}]})
    assert CheckSpec.model_validate({"between": [0, 5]}) == CheckSpec.model_validate(
        {"in_range": {"min_value": 0, "max_value": 5}}
    )


def test_pandera_old_and_new() -> None:
    new, old = (made(yamltext.read_yaml(text)) for text in (PANDERA_NEW, PANDERA_OLD))
    assert new == old
    assert [check.label for check in new.columns["id"].checks] == ["greater_than_or_equal_to(0)", "isin([1, 2])"]
    assert new.columns["s"].checks[0].warn


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"columns": {"a": {"tpye": "int"}}}, "column 'a': unknown field 'tpye'. Did you mean 'type'"),
        ({"colums": {}}, "unknown field 'colums'. Did you mean 'columns'"),
        ({"columns": {"a": {"checks": {"gee": 0}}}}, "column 'a': no check is called 'gee'. Did you mean 'ge'"),
        ({"columns": {"a": {"checks": {"in_range": {"min_value": 0, "max": 3}}}}}, "no argument 'max'"),
        ({"columns": {"a": {"checks": {"in_range": [0]}}}}, "needs max_value"),
        ({"columns": {"a": {"checks": {"ge": [0, 1]}}}}, "takes min_value, not 2 values"),
        ({"columns": {"a": {"checks": {"isin": "abc"}}}}, "needs a list"),
        ({"columns": {"a": {"checks": {"ge": {"type": "float", "value": "nan"}}}}}, "compares with NaN"),
        ({"columns": {"a": {"checks": {"str_matches": "("}}}}, "is no regular expression"),
        ({"columns": {"a": {"checks": {"str_length": "3"}}}}, "needs whole numbers"),
        ({"columns": {"(": {"regex": True}}}, "is no regular expression"),
        ({"columns": {"a": {"checks": ["a > 0; drop table t"]}}}, "more than one statement"),
        ({"columns": {"a": {"nullable": "perhaps"}}}, "schema.columns.a.nullable"),
        ({"columns": {"a": {"default": {"type": "dat", "value": "x"}}}}, "unknown value type 'dat'"),
        ({"columns": {"a": {"report_duplicates": "al"}}}, "Did you mean 'all'"),
        ({"columns": ["a"]}, "schema.columns"),
        ({"checks": [{"ge": 0}]}, "looks at one column"),
        ({"index": [{"dtype": "int"}], "columns": {}}, "validates columns, not an index"),
        ({"columns": {"a": {"parsers": ["x"]}}}, "does not change values"),
    ],
)
def test_mistakes(form: Any, words: str) -> None:
    with pytest.raises(PlanError) as caught:
        made(form)
    assert "transformation step 1 (validate)" in str(caught.value)
    assert words in str(caught.value)


VALUES = (
    st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.dates()
    | st.datetimes()
    | st.times()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.binary(max_size=5)
)
COMPARED = ["equal_to", "not_equal_to", "greater_than", "less_than_or_equal_to"]
checks = st.one_of(
    st.tuples(st.sampled_from(COMPARED), VALUES).map(
        lambda pair: {"check": pair[0], "arguments": {next(iter(BUILT_IN[pair[0]])): pair[1]}}
    ),
    st.lists(VALUES, max_size=3).map(lambda items: {"isin": items}),
    st.tuples(VALUES, VALUES, st.booleans()).map(
        lambda t: {"in_range": {"min_value": t[0], "max_value": t[1], "include_min": t[2]}}
    ),
    st.just({"str_length": {"min_value": 1}}),
    st.sampled_from(
        [
            "a > 0",
            {"sql": "avg(a) > 1", "warn": True, "name": "mean"},
            {"function": "inspect:cleandoc", "row_wise": True},
        ]
    ),
)
rules = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["int", "numeric(9,2)", "str"]),
        "nullable": st.booleans(),
        "unique": st.booleans(),
        "default": st.none() | VALUES,
        "checks": st.lists(checks, max_size=3),
    },
)
contracts = st.fixed_dictionaries(
    {"columns": st.dictionaries(st.text(min_size=1, max_size=5), rules, max_size=3)},
    optional={
        "unique": st.lists(st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=2), max_size=2),
        "strict": st.sampled_from([True, False, "filter"]),
        "ordered": st.booleans(),
        "checks": st.just(["sum(a) > 1"]),
    },
)


@settings(max_examples=60)
@given(contracts)
def test_round_trips(form: Any) -> None:
    plan = parse({"ingestion": {"table": "t"}, "transformation": {"type": "validate", "config": {"schema": form}}})
    for text in (to_yaml(plan), to_json(plan)):
        again = loads(text)
        assert again == plan
        assert again.fingerprint == plan.fingerprint


def test_types_survive() -> None:
    form = {"columns": {"a": {"default": Decimal("1.50"), "checks": {"ge": dt.date(2024, 1, 1)}}}}
    rule = made(made(form).form()).columns["a"]
    assert isinstance(rule.default, Decimal)
    assert rule.checks[0].arguments["min_value"] == dt.date(2024, 1, 1)


def test_the_fingerprint_is_stable() -> None:
    form = {
        "columns": {"id": {"type": "int", "unique": True}, "p": {"checks": {"between": [0, 5]}}},
        "unique": ["id", "p"],
    }
    steps = {"type": "validate", "config": {"schema": form, "on_error": "quarantine"}}
    plan = parse({"ingestion": {"table": "t"}, "transformation": steps})
    spelled = {"type": "validate", "config": {"schema": made(form).form(), "on_error": "quarantine", "checks": []}}
    assert parse({"ingestion": {"table": "t"}, "transformation": spelled}).fingerprint == plan.fingerprint
