"""SQLTransformer alone: in DuckDB, or in a database through a temporary table."""

import datetime as dt
from decimal import Decimal

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from datapipe.errors import PlanError
from datapipe.transformation import SQLTransformer

FRAME = pd.DataFrame({"id": [1, 2], "name": ["ann", None]})


@pytest.mark.parametrize("url", [None, "sqlite:///:memory:"])
def test_the_specifications_example(url):
    transformer = SQLTransformer(database_url=url)
    for _ in range(2):
        out = transformer.transform(FRAME, "SELECT id, UPPER(name) as name_upper FROM input_data")
        assert out["id"].tolist() == [1, 2] and out["name_upper"][0] == "ANN" and pd.isna(out["name_upper"][1])
    assert len(transformer.version) == 16


@pytest.mark.parametrize("url", [None, "sqlite:///:memory:"])
def test_parameters_and_empty_results(url):
    out = SQLTransformer(url).transform(FRAME, "SELECT id FROM input_data WHERE id > :low AND ':x' <> ''", {"low": 5})
    assert len(out) == 0 and list(out.columns) == ["id"]


def test_the_version_follows_the_query():
    transformer = SQLTransformer()
    transformer.transform(FRAME, "SELECT 1 AS a FROM input_data")
    first = transformer.version
    transformer.transform(FRAME, "SELECT 2 AS a FROM input_data")
    assert transformer.version != first


def test_columns_keep_their_types_through_a_database():
    table = pa.table({"d": [dt.date(2024, 1, 1)], "p": pa.array([Decimal("1.10")], pa.decimal128(5, 2)), "b": [True]})
    out = SQLTransformer("sqlite:///:memory:").transform(table, "SELECT d, p, b FROM input_data")
    assert (
        out["d"].to_pylist() == [dt.date(2024, 1, 1)]
        and out["p"].to_pylist() == [Decimal("1.10")]
        and out["b"].to_pylist() == [True]
    )


def test_an_unknown_column_is_named():
    with pytest.raises(PlanError, match="nam"):
        SQLTransformer("sqlite:///:memory:").transform(FRAME, "SELECT nam FROM input_data")


@pytest.mark.parametrize("url", [None, "sqlite:///:memory:"])
def test_the_result_is_of_the_kind_that_was_given(url):
    query = "SELECT id FROM input_data"
    for given in (FRAME, pl.from_pandas(FRAME), pa.Table.from_pandas(FRAME)):
        assert type(SQLTransformer(url).transform(given, query)) is type(given)


@pytest.mark.parametrize("url", [None, "sqlite:///:memory:"])
def test_an_error_says_which_step(url):
    with pytest.raises(PlanError) as caught:
        SQLTransformer(url).transform(FRAME, "SELECT nam FROM input_data")
    assert caught.value.step == "sql"
