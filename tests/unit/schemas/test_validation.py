"""Validation of one stream: modes, limits, conversions, defaults, and what is told."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pytest

from datapipe.data.rejects import Rejects
from datapipe.data.stream import Stream, Workspace, scratch_directory
from datapipe.data.types import tagged
from datapipe.errors import DataError, PlanError, SchemaError
from datapipe.plan import ValidateConfig, build
from datapipe.schemas import contract_of, run_validate

T = pa.table({"id": pa.array([1, 2, 2, None], pa.int64()), "s": ["a", "bb", None, "ccc"]})


def go(table: pa.Table, config: dict[str, Any], **options: Any) -> tuple[list[Any], list[str], list[Any]]:
    told: list[str] = []
    with scratch_directory() as scratch:
        work = Workspace(rejects=Rejects(), scratch=scratch, tell=told.append, **options)
        made = build(ValidateConfig, config, step="v")
        with run_validate(made, Stream(table.schema, iter(table.to_batches())), work, step="v") as stream:
            rows = pa.Table.from_batches(stream.batches, stream.schema).to_pylist()
        return rows, told, [row for batch in work.rejects.batches() for row in batch.to_pylist()]


def columns(**rules: Any) -> dict[str, Any]:
    return {"schema": {"columns": rules}}


def test_a_stream_without_rows() -> None:
    empty = T.slice(0, 0)
    assert go(empty, columns(id={"unique": True}, s={"checks": {"str_length": {"max_value": 1}}}))[0] == []
    for mode in ("raise", "quarantine"):
        with pytest.raises(DataError, match=re.escape("COUNT(*) > 0")):
            go(empty, {"checks": ["COUNT(*) > 0"], "on_error": mode})


def test_what_cannot_be_converted_is_no_null() -> None:
    config = columns(s={"type": "int", "coerce": True})
    rows, _, refused = go(pa.table({"s": ["1", "x"]}), {**config, "on_error": "quarantine"})
    assert rows == [{"s": 1}]
    assert refused[0]["reason"] == "s: type int"
    with pytest.raises(DataError, match="cannot be handed on"):
        go(pa.table({"s": ["1", "x"]}), {**config, "on_error": "warn"})


@pytest.mark.parametrize(
    ("mode", "limit", "fails"), [("warn", 1, True), ("warn", 2, False), ("drop", 1, True), ("quarantine", 2, False)]
)
def test_max_failures_counts_repeated_keys(mode: str, limit: int, fails: bool) -> None:
    config = {**columns(id={"unique": True, "nullable": True}), "on_error": mode, "max_failures": limit}
    if fails:
        with pytest.raises(DataError, match=f"more than max_failures={limit}"):
            go(T, config)
    else:
        assert "id: unique in 2 rows (first: row 2)" in go(T, config)[1][0]


def test_defaults() -> None:
    assert [row["id"] for row in go(T, columns(id={"default": 7}))[0]] == [1, 2, 2, 7]
    with pytest.raises(PlanError, match="column 'id': the default is no bigint"):
        go(T, columns(id={"default": "x"}))


def test_a_name_and_a_pattern_match_one_column() -> None:
    both = columns(id={"nullable": True}, **{".*": {"regex": True, "nullable": True, "checks": ["id < 2"]}})
    with pytest.raises(DataError, match="id: id < 2 in 2 rows"):
        go(T.select(["id"]), both)
    with pytest.raises(SchemaError, match=r"column nope\.\* is missing"):
        go(T, columns(**{"nope.*": {"regex": True}}))


def test_strict_filter_and_order() -> None:
    assert go(T, {"schema": {"columns": {"s": {"nullable": True}}, "strict": "filter"}})[0][0] == {"s": "a"}
    with pytest.raises(SchemaError, match="column s is not in the contract"):
        go(T, {"schema": {"columns": {"id": {"nullable": True}}, "strict": True}})
    with pytest.raises(SchemaError, match="the columns come as id, s, not as s, id"):
        go(T, {"schema": {"columns": {"s": {}, "id": {}}, "ordered": True}})
    with pytest.raises(SchemaError, match="no column is left"):
        go(T, {"schema": {"strict": "filter"}})


def test_sql_must_say_yes_or_no() -> None:
    with pytest.raises(PlanError, match="it gives VARCHAR, not yes or no"):
        go(T, {"checks": ["s"]})
    with pytest.raises(PlanError, match="nope"):
        go(T, {"checks": ["nope > 1"]})


def test_numeric_without_precision_is_a_number() -> None:
    table = pa.table({"n": ["1.5", "10"]}, schema=pa.schema([tagged("n", "numeric")]))
    assert go(table, {"checks": ["n + 1 > 2", "AVG(n) > 5"]})[0] == [{"n": "1.5"}, {"n": "10"}]


def test_messages_hold_no_values() -> None:
    table = pa.table({"s": ["hunter2", "5"]})
    for config in (
        columns(s={"type": "int", "coerce": True}),
        {"checks": ["CAST(s AS INT) > 1"]},
        columns(s={"checks": {"isin": ["5"]}}),
    ):
        with pytest.raises(DataError) as caught:
            go(table, config)
        assert "hunter2" not in str(caught.value)


def test_functions_that_go_wrong() -> None:
    def breaks(column: pd.Series[Any]) -> Any:
        raise ValueError("no such user")

    for function, words in (
        (breaks, "the check breaks failed: ValueError: no such user"),
        (lambda column: [True] * len(column), "returned neither a boolean nor a Series"),
        (lambda column: pd.concat([column, column]).notna(), "returned other rows"),
    ):
        with pytest.raises(DataError, match=re.escape(words)):
            go(T, columns(id={"nullable": True, "checks": [{"function": function}]}))
    with pytest.raises(DataError, match="is row-wise and returned one boolean"):
        go(T, columns(id={"nullable": True, "checks": [{"function": lambda _: True, "row_wise": True}]}))


def test_checks_that_read_alike_are_counted_apart() -> None:
    checks = [{"function": lambda column: column < 2}, {"function": lambda column: column < 1}]
    with pytest.raises(DataError, match=r"id: <lambda> \(2\) in 3 rows \(first: row 1\); id: <lambda> in 2 rows"):
        go(T, columns(id={"nullable": True, "checks": checks}))


def test_a_sample_is_not_held_to_what_the_table_must_be() -> None:
    assert len(go(T, {"checks": ["COUNT(*) > 100"]}, limit=10)[0]) == 4


def test_pandera_schemas_as_they_come() -> None:
    class Model(pandera.DataFrameModel):
        id: int = pandera.Field(ge=0, nullable=True)

        @pandera.check("id")
        def small(cls, column: pd.Series[Any]) -> Any:  # noqa: N805  # as Pandera has it
            return column < 2

    with pytest.raises(DataError, match="id: small in 2 rows"):
        go(T, {"schema": contract_of(Model)})
    pattern = pandera.DataFrameSchema(
        {"s": pandera.Column(str, pandera.Check.str_matches(re.compile("A|b", re.I)), nullable=True)}
    )
    with pytest.raises(DataError, match=r"s: .* in 1 row \(first: row 4\)"):
        go(T, {"schema": contract_of(pattern)})
    for refused, words in (
        (pandera.DataFrameSchema({"id": pandera.Column(int)}, index=pandera.Index(int)), "index"),
        (pandera.DataFrameSchema({"id": pandera.Column(int)}, drop_invalid_rows=True), "drop_invalid_rows"),
        (pandera.DataFrameSchema({"id": pandera.Column(int)}, checks=pandera.Check.ge(0)), "one column"),
    ):
        with pytest.raises(PlanError, match=words):
            contract_of(refused)
