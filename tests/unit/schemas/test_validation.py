"""Validation of one stream: modes, limits, conversions, defaults, and what is told."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pytest

import datapipe
from datapipe.data.rejects import SCHEMA as REJECTS
from datapipe.data.rejects import Rejects
from datapipe.data.spool import Spool
from datapipe.data.stream import Stream, Workspace, scratch_directory
from datapipe.data.types import tagged
from datapipe.errors import DataError, FatalError, PlanError, SchemaError
from datapipe.plan import ColumnRule, Contract, ValidateConfig, build
from datapipe.schemas import contract_of, run_validate

T = pa.table({"id": pa.array([1, 2, 2, None], pa.int64()), "s": ["a", "bb", None, "ccc"]})


def go(table: pa.Table, config: dict[str, Any], **options: Any) -> tuple[list[Any], list[str], list[Any]]:
    told: list[str] = []
    with scratch_directory() as scratch:
        work = Workspace(scratch=scratch, tell=told.append, rejects=Rejects(), **options)
        made = build(ValidateConfig, config, step="v")
        with run_validate(made, Stream(table.schema, iter(table.to_batches())), work, step="v") as stream:
            rows = pa.Table.from_batches(stream.batches, stream.schema).to_pylist()
        assert work.rejects is not None
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


NUMERIC = pa.schema([pa.field("id", pa.int64()), tagged("n", "numeric")])
LARGE = "123456789012345678901"  # does not fit decimal(38,20)


def test_arguments_and_columns_of_other_numbers() -> None:
    prices = pa.table({"p": pa.array([Decimal("1.00"), Decimal("2.50")], pa.decimal128(15, 2))})
    for check in ({"isin": [1, 2]}, {"notin": [1]}):
        assert len(go(prices, {**columns(p={"checks": check}), "on_error": "drop"})[0]) == 1
    numbers = pa.table({"id": [1, 2], "n": ["1.5", "7"]}, schema=NUMERIC)
    checks = {"ge": 0, "between": [0, 5]}
    assert [row["id"] for row in go(numbers, {**columns(n={"checks": checks}), "on_error": "drop"})[0]] == [1]
    large = pa.table({"u": pa.array([2**64 - 1, 0], pa.uint64())})
    assert len(go(large, columns(u={"checks": {"ge": 0, "lt": 2**64, "gt": -0.5, "isin": [0, 2**64 - 1]}}))[0]) == 2


@pytest.mark.parametrize("mode", ["quarantine", "drop", "warn", "raise"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_number_too_large_for_checks_fails_its_row(mode: str, size: int) -> None:
    given = pa.table({"id": [-1, 2, 3, 4], "n": ["1", "2", LARGE, "1.0"]}, schema=NUMERIC)
    table = pa.Table.from_batches(given.to_batches(max_chunksize=size))
    config = {
        **columns(id={"checks": {"gt": 0}}, n={"unique": True, "checks": ["n < 5"]}),
        "checks": ["n <= (SELECT max(n) FROM input_data)"],
        "on_error": mode,
    }
    if mode == "raise":
        with pytest.raises(DataError, match=r"n: does not fit decimal\(38,20\) in 1 row \(first: row 3\)"):
            go(table, config)
        return
    rows, told, refused = go(table, config)
    assert "n: does not fit decimal(38,20) in 1 row (first: row 3)" in told[0]
    assert [row["id"] for row in rows] == ([-1, 2, 3, 4] if mode == "warn" else [2, 4])
    if mode == "quarantine":
        assert [(row["row_number"], row["reason"]) for row in refused][1:] == [(3, "n: does not fit decimal(38,20)")]


def test_a_number_that_no_check_reads_is_handed_on() -> None:
    table = pa.table({"id": [1], "n": [LARGE]}, schema=NUMERIC)
    assert go(table, {"checks": ["id > 0", "COUNT(*) > 0"]})[0] == [{"id": 1, "n": LARGE}]
    assert go(table.select(["n"]), {"checks": ["COUNT(*) > 0"]})[0] == [{"n": LARGE}]


def test_sql_that_fails_in_one_row_fails_that_row() -> None:
    table = pa.table({"s": ["2", "x", None, "0"]})
    check = "CAST(s AS INT) > 1"
    rows, _, refused = go(table, {"checks": [check, "length(s) = 1"], "on_error": "quarantine"})
    assert [row["s"] for row in rows] == ["2", None]
    assert [(row["row_number"], row["reason"]) for row in refused] == [(2, check), (4, check)]
    with pytest.raises(DataError, match="random"):
        go(table, {"checks": ["random() < 2 AND error('random') IS NULL"]})


def test_functions_answer_for_every_row() -> None:
    for function in (lambda column: (column < 2).iloc[:1], lambda column: (column < 9)[column > 1]):
        with pytest.raises(DataError, match="returned other rows than it got"):
            go(T, columns(id={"nullable": True, "checks": [{"function": function}]}))
    short = {"function": lambda frame: frame["id"].notna().iloc[:2]}
    with pytest.raises(DataError, match="returned other rows than it got"):
        go(T, {"checks": [short]})


def test_arguments_of_functions_may_have_any_name() -> None:
    def below(column: pd.Series[Any], name: int) -> Any:
        return column < name

    check = {"function": below, "arguments": {"name": 2}}
    rows = go(T, {**columns(id={"nullable": True, "checks": [check]}), "on_error": "drop"})[0]
    assert [row["id"] for row in rows] == [1, None]


def test_columns_that_share_a_rule() -> None:
    rule = ColumnRule(nullable=True)
    with pytest.raises(SchemaError, match="column gone is missing"):
        go(T, {"schema": Contract(columns={"id": rule, "gone": rule})})


def test_sql_is_one_expression() -> None:
    for text in ("id > 0), (id > 5", "true) UNION ALL SELECT (id > 0"):
        with pytest.raises(PlanError, match="it is not one expression"):
            go(T, {"checks": [text]})


def test_what_is_filtered_cannot_be_checked() -> None:
    filtered = {"columns": {"id": {"nullable": True}}, "strict": "filter"}
    for config in (
        {"schema": filtered, "checks": ["s <> ''"]},
        {"schema": {**filtered, "unique": [["id", "s"]]}},
    ):
        with pytest.raises(PlanError, match="reads the column 's', which strict='filter' leaves out"):
            go(T, config)
    with pytest.raises(PlanError, match="nope"):
        go(T, {"schema": filtered, "checks": ["nope > 1"]})


@pytest.mark.parametrize("mode", ["quarantine", "drop", "warn", "raise"])
def test_the_table_is_judged_without_the_rows_that_are_refused(mode: str) -> None:
    config = {**columns(id={"unique": True, "nullable": True}), "checks": ["COUNT(*) < 3"], "on_error": mode}
    if mode == "raise":
        with pytest.raises(DataError, match=r"COUNT\(\*\) < 3; id: unique in 2 rows"):
            go(T, config)
        return
    rows, told, _ = go(T, config)
    assert len(rows) == (4 if mode == "warn" else 2)
    assert ("COUNT(*) < 3" in told[0]) is (mode == "warn")
    few = {**config, "checks": ["COUNT(*) > 3"]}
    if mode != "warn":
        with pytest.raises(DataError, match=re.escape("COUNT(*) > 3")):
            go(T, few)


@pytest.mark.parametrize(("values", "kept"), [([1, 2], True), ([1, 2, 3], False), ([1], False), ([1, 2.5], False)])
def test_values_of_a_column(values: list[Any], kept: bool) -> None:
    config = columns(id={"nullable": True, "checks": {"unique_values_eq": values}})
    if kept:
        assert len(go(T, config)[0]) == 4
    else:
        with pytest.raises(DataError, match="unique_values_eq"):
            go(T, config)


def test_a_column_may_have_the_name_of_the_row_number() -> None:
    table = pa.table({"_datapipe_row": [7, 7, 8], "_Datapipe_Row_": [1, 2, 3]})
    config = {**columns(_datapipe_row={"unique": True}), "checks": ["AVG(_datapipe_row_) > 0"], "on_error": "drop"}
    assert go(table, config)[0] == [{"_datapipe_row": 8, "_Datapipe_Row_": 3}]


def test_a_full_disk_while_rows_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datapipe.schemas.validation.Spool", lambda _, schema: Spool(Path("/dev/full"), schema))
    with pytest.raises(FatalError, match=r"the disk is full: .* set TMPDIR"):
        go(T, {**columns(id={"unique": True, "nullable": True}), "on_error": "drop"})


def test_a_full_disk_under_rejected_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datapipe.data.rejects._MOST", 0)
    (tmp_path / "rejects-0.arrow").symlink_to("/dev/full")
    batch = pa.RecordBatch.from_pylist([{"step": "v", "row_number": 1}], schema=REJECTS)
    with pytest.raises(FatalError, match="the disk is full"):
        Rejects().add(batch, tmp_path)


def test_a_users_check_may_have_the_name_of_a_built_in_one() -> None:
    def in_range(column: pd.Series[Any], min_value: int) -> Any:
        return column == min_value

    check = pandera.Check(in_range, name="in_range", statistics={"min_value": 2}, min_value=2)
    schema = pandera.DataFrameSchema({"id": pandera.Column(checks=check, nullable=True)})
    contract = contract_of(schema)
    assert contract.columns["id"].checks[0].function is not None
    assert len(go(T.select(["id"]), {"schema": contract, "on_error": "drop"})[0]) == 3


@pytest.mark.parametrize("mode", ["raise", "quarantine", "drop", "warn"])
def test_a_check_among_rows_that_every_row_keeps(mode: str) -> None:
    checks = ["id <= (SELECT max(id) FROM input_data)", "row_number() OVER (PARTITION BY id) < 3"]
    rows, told, _ = go(T, {"checks": checks, "on_error": mode})
    assert (len(rows), told) == (4, [])


def test_columns_that_differ_only_in_case_are_not_judged_as_one() -> None:
    rows = pd.DataFrame({"a": [1, 2], "A": [7, 7]})
    columns = {name: {"type": "int", "unique": True} for name in ("a", "A")}
    for contract in (
        {"columns": columns},
        {"columns": {"a": {"type": "int"}, "A": {"type": "int"}}, "checks": ["A < 5"]},
    ):
        with pytest.raises(DataError, match="the table has both 'a' and 'A'"):
            datapipe.read(rows).validate(contract).collect()
