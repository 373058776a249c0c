from __future__ import annotations

import datetime as dt
import math
import subprocess
import sys
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from datapipe.data.stream import Workspace
from datapipe.data.types import TIMESTAMP, TIMESTAMPTZ
from datapipe.errors import DataError, PlanError
from datapipe.ingestion.frames import read_frame
from datapipe.plan import FrameSource


def read(frame: Any, work: Workspace | None = None) -> pa.Table:
    with read_frame(FrameSource(frame=frame), work or Workspace()) as stream:
        return pa.Table.from_batches(list(stream.batches), stream.schema)


def one(values: Any, dtype: Any = object) -> pa.ChunkedArray:
    return read(pd.DataFrame({"a": pd.Series(values, dtype=dtype)})).column("a")


@pytest.mark.parametrize(
    ("values", "dtype", "type_"),
    [
        ([2**63 - 1, None], "Int64", pa.int64()),
        ([1, 255], "uint8", pa.uint8()),
        ([True, None], "boolean", pa.bool_()),
        (["a", None], "str", pa.string()),
        (["a", None], "category", pa.string()),
        (["a", None], object, pa.string()),
        ([Decimal("1.50"), None], object, pa.decimal128(3, 2)),
        ([dt.date(2024, 1, 1), None], object, pa.date32()),
        ([dt.time(10, 30), None], object, pa.time64("us")),
        ([b"\x00", None], object, pa.binary()),
        ([uuid.UUID(int=7), None], object, pa.uuid()),
        ([[1, 2], None], object, pa.list_(pa.int64())),
        ([dt.datetime(2024, 1, 1), None], "datetime64[us]", TIMESTAMP),
        ([dt.datetime(2024, 1, 1, tzinfo=dt.UTC), None], "datetime64[ns, Europe/Berlin]", TIMESTAMPTZ),
        ([1.5, None], pd.ArrowDtype(pa.float64()), pa.float64()),
    ],
)
def test_a_pandas_column_arrives_exactly(values: list[Any], dtype: Any, type_: pa.DataType) -> None:
    column = one(values, dtype)
    assert (column.type, column.to_pylist()) == (type_, values)


def test_nan_is_null_in_numpy_floats_and_itself_elsewhere() -> None:
    nan = float("nan")
    arrow = pd.Series(pa.array([nan, None]), dtype=pd.ArrowDtype(pa.float64()))
    numpy_values = read(pd.DataFrame({"a": np.array([1.5, nan])})).column("a").to_pylist()
    kept = [
        read(frame).column("a").to_pylist() for frame in (pd.DataFrame({"a": arrow}), pl.DataFrame({"a": [nan, None]}))
    ]
    assert numpy_values == [1.5, None]
    for first, second in kept:
        assert math.isnan(first)
        assert second is None


@pytest.mark.parametrize(
    "values",
    [
        [1, "a"],
        ["a", b"a"],
        [1, True],
        [dt.date(2024, 1, 1), dt.datetime(2024, 1, 1, 10)],
        [dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, tzinfo=dt.UTC)],
        [Decimal(1), 1.5],
        [[1], ["a"]],
        [object()],
        [1j],
    ],
    ids=repr,
)
def test_a_column_of_several_kinds_is_refused_by_name(values: list[Any]) -> None:
    with pytest.raises(DataError) as caught:
        one(values)
    assert caught.value.column == "a"


@pytest.mark.parametrize(
    "series", [pd.Series(pd.period_range("2024", periods=2, freq="D")), pd.Series(pd.interval_range(0, 2))]
)
def test_a_dtype_without_a_column_type_is_refused(series: pd.Series[Any]) -> None:
    with pytest.raises(DataError, match="column 'a'"):
        read(pd.DataFrame({"a": series}))


def test_nanoseconds_are_refused_by_row() -> None:
    with pytest.raises(DataError, match="column 'a', row 2"):
        one([1_000, 1_001], "datetime64[ns]")


def test_a_timedelta_becomes_an_interval() -> None:
    values = one([pd.Timedelta(days=1, microseconds=5), None], "timedelta64[us]").to_pylist()
    assert values == [pa.MonthDayNano([0, 0, 86_400_000_005_000]), None]


def test_the_index_is_no_column_and_the_frame_is_not_changed() -> None:
    frame = pd.DataFrame({"a": pd.Series(["x", None], dtype=object)}, index=pd.Index([5, 5], name="key"))
    before = frame.copy(deep=True)
    assert read(frame).schema.names == ["a"]
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({0: [1]}), "the name of column 0 is not text"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns called 'a'"),
        (pd.DataFrame(), "no columns"),
    ],
)
def test_a_frame_without_proper_names_is_refused(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(frame)


def test_polars_types_become_the_normal_ones() -> None:
    frame = pl.DataFrame(
        {
            "i": pl.Series([2**64 - 1, None], dtype=pl.UInt64),
            "s": ["x", None],
            "c": pl.Series(["a", None], dtype=pl.Categorical),
            "d": [dt.date(2024, 1, 1), None],
            "t": [dt.time(1, 2, 3), None],
            "m": pl.Series([Decimal("1.5"), None], dtype=pl.Decimal(10, 2)),
            "z": pl.Series([dt.datetime(2024, 1, 1), None], dtype=pl.Datetime("ns", "Europe/Berlin")),
            "l": [[1], None],
        }
    )
    table = read(frame)
    assert table.schema.types == [
        pa.uint64(),
        pa.string(),
        pa.string(),
        pa.date32(),
        pa.time64("us"),
        pa.decimal128(10, 2),
        TIMESTAMPTZ,
        pa.list_(pa.int64()),
    ]
    assert table.to_pylist()[0]["m"] == Decimal("1.50")
    assert set(table.to_pylist()[1].values()) == {None}


def test_a_lazy_frame_is_computed() -> None:
    assert read(pl.DataFrame({"a": [1, 2]}).lazy().filter(pl.col("a") > 1)).to_pylist() == [{"a": 2}]


def test_polars_objects_are_refused() -> None:
    with pytest.raises(DataError, match="column 'a'"):
        read(pl.DataFrame({"a": [object()]}))


@pytest.mark.parametrize("frame", [pa.table({"a": [1, 2]}), pa.record_batch({"a": [1, 2]})])
def test_arrow_tables_are_read(frame: Any) -> None:
    assert read(frame).to_pylist() == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pa.table({"a": [1]}).to_reader(), "a pyarrow.RecordBatchReader can be read only once"),
        (iter([1]), "can be read only once"),
        ([1], "a builtins.list cannot be read"),
        (pd.Series([1]), "a pandas.Series cannot be read"),
        (pl.Series([1]), "a polars.Series cannot be read"),
    ],
)
def test_what_is_no_table_is_refused_by_its_type(frame: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        read(frame)


def test_a_large_frame_comes_in_batches_and_its_rows_are_known() -> None:
    frame = pd.DataFrame({"a": range(200_000)})
    work = Workspace(memory=1 << 20)
    with read_frame(FrameSource(frame=frame), work) as stream:
        assert stream.total == 200_000
        sizes = [batch.nbytes for batch in stream.batches]
    assert len(sizes) > 2
    assert max(sizes) <= work.batch_bytes


def test_a_pandas_frame_does_not_load_polars() -> None:
    code = (
        "import pandas, sys; from datapipe.ingestion.frames import read_frame;"
        "from datapipe.plan import FrameSource; from datapipe.data.stream import Workspace\n"
        "with read_frame(FrameSource(frame=pandas.DataFrame({'a': [1]})), Workspace()) as s: list(s.batches)\n"
        "assert 'polars' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
