"""Which row a function failed on: only where that is certain."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import datapipe
from datapipe.errors import DataError

FRAME = pa.table({"id": range(1, 6), "name": ["a", "b", "c", "d", "e"], "price": ["1", "2", "3", "n/a", "n/a"]})


def failed(function: Any, **options: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        datapipe.read(FRAME).apply(function, **options).collect()
    return caught.value


def price(text: str) -> float:
    return float(text)


def test_a_row_that_pandas_went_to_is_named_and_shown() -> None:
    error = failed(lambda frame: frame.assign(x=frame.apply(lambda row: float(row["price"]), axis=1)))
    assert (error.row, error.cells) == (4, {"id": "4", "name": "d", "price": "n/a"})
    assert "failed at row 4" in str(error)


def test_a_value_that_pandas_went_to_names_the_first_row_that_has_it() -> None:
    error = failed(lambda frame: frame.assign(x=frame["price"].map(price)))
    assert (error.row, error.cells["id"]) == (4, "4")


def test_rows_count_over_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_SIZE", "2")
    error = failed(lambda frame: frame.assign(x=frame["price"].map(price)), per_batch=True)
    assert (error.row, error.cells["id"]) == (4, "4")
    assert "at row 4 in batch 2 (rows 3 to 4)" in str(error)


def test_no_row_is_told_where_it_is_not_certain() -> None:
    def stale(frame: pd.DataFrame) -> pd.DataFrame:
        row = frame.iloc[0]  # what it had in its hands once
        raise ValueError(f"something else than {row['id']}")

    def ambiguous(frame: pd.DataFrame) -> pd.DataFrame:
        frame["copy"] = frame["price"]
        return frame.assign(x=frame["price"].map(price))

    assert (failed(stale).row, failed(stale).cells) == (None, {})
    assert failed(ambiguous).row is None


def test_an_arrow_table_has_no_rows_to_go_over() -> None:
    def fail(table: pa.Table) -> pa.Table:
        raise ValueError("no")

    assert failed(fail).row is None


def test_a_row_of_a_frame_that_the_function_made_is_not_taken_for_one_of_its_own() -> None:
    def fail(row: pd.Series) -> float:
        return float(row["price"])

    def filtered(frame: pd.DataFrame) -> pd.DataFrame:
        made = frame[frame["id"] > 3].reset_index(drop=True)
        return made.assign(x=made.apply(fail, axis=1))

    def moved(frame: pd.DataFrame) -> pd.DataFrame:
        frame.drop(index=[0, 1], inplace=True)
        frame.reset_index(drop=True, inplace=True)
        return frame.assign(x=frame.apply(fail, axis=1))

    def added(frame: pd.DataFrame) -> pd.DataFrame:
        frame["more"] = pd.NA
        return frame.assign(x=frame.apply(fail, axis=1))

    assert [failed(function).row for function in (filtered, moved, added)] == [None, None, 4]
