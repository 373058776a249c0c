"""SchemaValidator, infer, and what users write where a schema belongs."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import datapipe
from datapipe.errors import DataError, PlanError, SchemaError
from datapipe.plan import parse
from datapipe.schemas import SchemaValidator, contract_of, infer

CONTRACT = {"columns": {"id": {"type": "int", "unique": True}, "price": {"type": "float", "checks": {"ge": 0}}}}
FRAME = pd.DataFrame({"id": [1, 2, 3], "price": [1.0, -1.0, 3.0]})


def test_a_frame_that_breaks_it_says_how() -> None:
    with pytest.raises(DataError, match="price: greater_than_or_equal_to") as caught:
        SchemaValidator(CONTRACT).validate(FRAME)
    assert [(failure.column, failure.rows, failure.first_row) for failure in caught.value.failures] == [("price", 1, 2)]


def test_rows_are_dropped_or_told() -> None:
    assert SchemaValidator(CONTRACT, on_error="drop").validate(FRAME)["id"].tolist() == [1, 3]
    with pytest.warns(UserWarning, match="greater_than_or_equal_to"):
        assert len(SchemaValidator(CONTRACT, on_error="warn").validate(FRAME)) == 3
    with pytest.raises(PlanError, match="no quarantine"):
        SchemaValidator(CONTRACT, on_error="quarantine")


def test_kinds_of_frames_stay_what_they_are() -> None:
    polars = pytest.importorskip("polars")
    good = FRAME.iloc[[0, 2]]
    for data, kind in (
        (good, pd.DataFrame),
        (pa.Table.from_pandas(good), pa.Table),
        (polars.from_pandas(good), polars.DataFrame),
    ):
        assert isinstance(SchemaValidator(CONTRACT).validate(data), kind)


def test_convert_is_exact_or_fails() -> None:
    validator = SchemaValidator(CONTRACT)
    assert validator.convert(pd.DataFrame({"id": ["7"], "price": ["-1.5"]})).to_dict("list") == {
        "id": [7],
        "price": [-1.5],
    }
    with pytest.raises(DataError, match="id: type int"):
        validator.convert(pd.DataFrame({"id": ["7.5"], "price": ["1"]}))
    with pytest.raises(SchemaError, match="column price is missing"):
        validator.convert(pd.DataFrame({"id": ["7"]}))


def test_evolve_takes_new_columns_and_no_other_type() -> None:
    grown = SchemaValidator(CONTRACT).evolve(pd.DataFrame({"id": [1], "price": [1.0], "day": [dt.date(2024, 1, 1)]}))
    assert grown.contract.columns["day"].type == "date"
    grown.validate(pd.DataFrame({"id": [1], "price": [1.0]}))
    with pytest.raises(SchemaError, match="column id is text"):
        SchemaValidator(CONTRACT).evolve(pd.DataFrame({"id": ["x"], "price": [1.0]}))


def test_what_is_inferred_holds_for_what_it_came_from() -> None:
    frame = pd.DataFrame({"id": range(100), "size": ["S", "M"] * 50, "price": [0.5] * 100, "note": [None, "x"] * 50})
    contract = infer(frame)
    assert contract.form()["columns"]["id"] == {
        "type": "int",
        "unique": True,
        "checks": [{"greater_than_or_equal_to": 0}],
    }
    assert contract.columns["note"].nullable
    SchemaValidator(contract).validate(frame)
    again: dict[str, Any] = {}
    exec(contract.to_python("found"), again)
    assert contract_of(again["found"]).columns.keys() == contract.columns.keys()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"columns": {"x": {"checks": {"ge": None}}}}, "needs min_value"),
        ("contract", "'contract' is no schema"),
        (5, "a int is no schema"),
        (pa.schema([("a", pa.int64())]), "a Schema is no schema"),
    ],
)
def test_what_is_no_schema(given: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        datapipe.read(FRAME).validate(given)


def test_a_file_is_given_to_validate_and_not_to_a_document(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("columns:\n  id: int\n", encoding="utf-8")
    assert datapipe.read(FRAME).validate(file).collect().shape == (3, 2)
    step = {"type": "validate", "config": {"schema": str(file)}}
    with pytest.raises(PlanError, match="put the file's content there"):
        parse({"ingestion": {"table": "t"}, "transformation": step})
    file.write_text("hello", encoding="utf-8")
    with pytest.raises(PlanError, match="holds no contract"):
        datapipe.read(FRAME).validate(file)


def test_a_function_stands_for_a_check() -> None:
    plan = datapipe.read(FRAME).validate(
        {"columns": {"price": {"checks": lambda prices: prices >= 0}}}, on_error="drop"
    )
    assert plan.collect()["id"].tolist() == [1, 3]
    assert len(datapipe.read(FRAME).validate(checks=[lambda frame: frame["id"] > 1], on_error="drop").collect()) == 2


def test_a_quarantine_needs_a_table() -> None:
    with pytest.raises(PlanError, match="no place for a quarantine"):
        datapipe.read(FRAME).validate(CONTRACT, on_error="quarantine").write("out.parquet")


def test_a_contract_says_which_of_equal_rows_fail() -> None:
    for form in ({"report_duplicates": "exclude_first"}, {}):
        rule = {"unique": True, **({} if form else {"report_duplicates": "exclude_first"})}
        plan = datapipe.read(pd.DataFrame({"u": [1, 1, 2]})).validate({"columns": {"u": rule}, **form}, on_error="drop")
        assert plan.collect()["u"].tolist() == [1, 2]


def test_a_missing_column_is_looked_for() -> None:
    with pytest.raises(SchemaError, match=r"column prize is missing \(is it price\?\)"):
        datapipe.read(FRAME).validate({"columns": {"prize": "float"}}).collect()
