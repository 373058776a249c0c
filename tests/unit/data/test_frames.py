from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from datapipe.data.frames import as_given, conform, from_frame, to_pandas, to_polars
from datapipe.data.types import INTERVAL, TIMESTAMP, TIMESTAMPTZ, tag, tagged
from datapipe.errors import DataError

NOON = dt.datetime(2024, 5, 17, 12, 0, 0, 123456)
EVERY_TYPE: dict[str, tuple[Any, pa.DataType, str]] = {
    "i8": (-5, pa.int8(), "Int8"),
    "i64": (2**62 + 1, pa.int64(), "Int64"),
    "u64": (2**64 - 1, pa.uint64(), "UInt64"),
    "flag": (True, pa.bool_(), "boolean"),
    "f32": (1.5, pa.float32(), "float[pyarrow]"),
    "f64": (0.1, pa.float64(), "double[pyarrow]"),
    "text": ("é", pa.string(), "string"),
    "bytes": (b"\x00\xff", pa.binary(), "binary[pyarrow]"),
    "price": (Decimal("1.10"), pa.decimal128(10, 2), "decimal128(10, 2)[pyarrow]"),
    "day": (dt.date(2024, 2, 29), pa.date32(), "date32[day][pyarrow]"),
    "clock": (dt.time(1, 2, 3, 4), pa.time64("us"), "time64[us][pyarrow]"),
    "local": (NOON, TIMESTAMP, "datetime64[us]"),
    "instant": (NOON.replace(tzinfo=dt.UTC), TIMESTAMPTZ, "datetime64[us, UTC]"),
    "numbers": ([1, None], pa.list_(pa.int64()), "list<item: int64>[pyarrow]"),
    "pair": ({"a": 1}, pa.struct([pa.field("a", pa.int64())]), "struct<a: int64>[pyarrow]"),
    "key": (uuid.UUID(int=7).bytes, pa.uuid(), "extension<arrow.uuid>[pyarrow]"),
    "length": (pa.MonthDayNano([1, 2, 3000]), INTERVAL, "month_day_nano_interval[pyarrow]"),
}


def column(name: str) -> tuple[pa.Table, str]:
    value, type_, dtype = EVERY_TYPE[name]
    return pa.table({name: pa.array([value, None], type_)}), dtype


@pytest.mark.parametrize("name", EVERY_TYPE)
def test_a_column_has_one_dtype_whatever_the_data(name: str) -> None:
    table, dtype = column(name)
    for rows in (table, table.slice(0, 1), table.slice(1), table.slice(0, 0)):
        assert str(to_pandas(rows)[name].dtype) == dtype


@pytest.mark.parametrize("name", EVERY_TYPE)
def test_a_column_comes_back_as_it_went(name: str) -> None:
    table, _ = column(name)
    assert from_frame(to_pandas(table), table.schema).equals(table)
    assert from_frame(to_pandas(table.slice(0, 0)), table.schema).equals(table.slice(0, 0))


@pytest.mark.parametrize("name", [name for name in EVERY_TYPE if name != "length"])
def test_a_column_survives_polars(name: str) -> None:
    table, _ = column(name)
    assert from_frame(to_polars(table), table.schema).equals(table)


def test_polars_refuses_an_interval_by_name() -> None:
    table, _ = column("length")
    with pytest.raises(DataError, match="'length'") as caught:
        to_polars(table)
    assert caught.value.column == "length"


def test_nan_and_null_stay_apart() -> None:
    table = pa.table({"x": pa.array([float("nan"), None, 1.0])})
    back = from_frame(to_pandas(table), table.schema)["x"]
    assert back.null_count == 1
    assert np.isnan(back[0].as_py())


@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize("name", ["i64", "flag", "f64", "text", "local", "instant", "day"])
def test_changing_the_frame_never_changes_the_table(name: str, nulls: bool) -> None:
    value, type_, _ = EVERY_TYPE[name]
    table = pa.table({name: pa.array([value, value, None if nulls else value], type_)})
    before = table.to_pylist()
    frame = to_pandas(table)
    frame.loc[0, name] = pd.NA
    frame.iloc[1, 0] = frame.iloc[2, 0]
    frame[name] = frame[name].shift(1)
    assert table.to_pylist() == before


def test_a_record_batch_becomes_a_frame_too() -> None:
    batch = pa.RecordBatch.from_pydict({"a": [1]})
    assert to_pandas(batch)["a"].tolist() == [1]
    assert from_frame(batch).to_pydict() == {"a": [1]}


def test_numeric_text_is_exact_decimal_in_the_frame_and_text_again_after_it() -> None:
    field = tagged("n", "numeric")
    table = pa.table([pa.array(["12345678901234567.12345678901234567890", "-0.10", None])], schema=pa.schema([field]))
    frame = to_pandas(table)
    assert frame["n"].dtype == pd.ArrowDtype(pa.decimal256(38, 20))
    assert frame["n"][0] == Decimal("12345678901234567.12345678901234567890")
    frame.loc[1, "n"] = Decimal("1E-20")
    back = from_frame(frame, table.schema)
    assert tag(back.schema.field("n")) == "numeric"
    assert [None if text is None else Decimal(text) for text in back["n"].to_pylist()] == [
        Decimal("12345678901234567.1234567890123456789"),
        Decimal("1E-20"),
        None,
    ]


def test_numeric_text_has_no_needless_zeros() -> None:
    field = tagged("n", "numeric")
    frame = to_polars(pa.table([pa.array(["100", "1.50", "0", "-3"])], schema=pa.schema([field])))
    assert from_frame(frame, pa.schema([field]))["n"].to_pylist() == ["100", "1.5", "0", "-3"]


@pytest.mark.parametrize(
    "text", ["NaN", "1e-21", "1e-80", "1234567890123456789", "123456789012345678901", "1" + "0" * 60]
)
def test_a_numeric_that_does_not_fit_names_its_row_and_proposes_a_cast(text: str) -> None:
    table = pa.table([pa.array(["1", text])], schema=pa.schema([tagged("n", "numeric")]))
    for convert in (to_pandas, to_polars):
        with pytest.raises(DataError, match="row 2") as caught:
            convert(table)
        assert (caught.value.column, caught.value.row) == ("n", 2)
        assert "CAST(n AS numeric" in str(caught.value)
        assert text not in str(caught.value)


def test_a_decimal_is_never_wrapped_around_when_its_scale_grows() -> None:
    like = pa.schema([("d", pa.decimal128(38, 20))])
    huge = Decimal("123456789012345678901")  # Arrow's own cast gives 955136920807832054.185… here
    back = from_frame(pa.table({"d": [huge]}), like)
    assert back["d"].to_pylist() == [huge]
    with pytest.raises(DataError, match="'d', row 2"):
        conform(pa.table({"d": [Decimal(1), huge]}), like)


def test_other_tagged_text_stays_text_and_keeps_its_tag() -> None:
    schema = pa.schema([tagged("doc", "jsonb")])
    frame = to_pandas(pa.table([pa.array(['{"a": 1}'])], schema=schema))
    assert str(frame["doc"].dtype) == "string"
    assert tag(from_frame(frame, schema).schema.field("doc")) == "jsonb"


def test_integers_with_gaps_get_their_type_back() -> None:
    back = from_frame(pd.DataFrame({"id": [1.0, np.nan]}), pa.schema([("id", pa.int16())]))
    assert back.schema.field("id").type == pa.int16()
    assert back["id"].to_pylist() == [1, None]


def test_a_wider_integer_goes_back_only_if_every_value_fits() -> None:
    like = pa.schema([("id", pa.int8())])
    assert from_frame(pd.DataFrame({"id": [127]}), like).schema.field("id").type == pa.int8()
    assert from_frame(pd.DataFrame({"id": [127, 128]}), like).schema.field("id").type == pa.int64()


@pytest.mark.parametrize(
    ("changed", "like", "own"),
    [
        (pd.Series(["1", "2"]), pa.int64(), pa.string()),
        (pd.Series([1, 2]), pa.string(), pa.int64()),
        (pd.Series([1, 2], dtype="Int64"), pa.float64(), pa.int64()),
        (pd.Series([1.0, 2.0], dtype="Float64"), pa.int64(), pa.float64()),
        (pd.Series([1.5, 2.0]), pa.int64(), pa.float64()),
        (pd.to_datetime(pd.Series(["2024-01-01", "2024-01-02"])), pa.date32(), TIMESTAMP),
        (pd.Series([True, False]), pa.int64(), pa.bool_()),
    ],
)
def test_a_column_of_another_kind_keeps_its_new_type(
    changed: pd.Series[Any], like: pa.DataType, own: pa.DataType
) -> None:
    assert from_frame(pd.DataFrame({"x": changed}), pa.schema([("x", like)])).schema.field("x").type == own


def test_a_column_without_values_has_the_type_it_had_or_none() -> None:
    frame = pd.DataFrame({"known": [None, None], "fresh": [None, None], "gaps": [np.nan, np.nan]})
    like = pa.schema([("known", pa.date32()), ("gaps", pa.string())])
    assert from_frame(frame, like).schema.types == [pa.date32(), pa.null(), pa.string()]


def test_the_index_and_its_names_are_left_out() -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="label"))
    assert from_frame(frame).to_pydict() == {"a": [1, 2]}


def test_python_objects_of_one_kind_have_that_type() -> None:
    frame = pd.DataFrame(
        {
            "d": pd.Series([Decimal("1.5"), 2, None], dtype=object),
            "day": pd.Series([dt.date(2024, 1, 1), None, np.nan], dtype=object),
            "u": pd.Series([uuid.UUID(int=1), None, None], dtype=object),
            "b": pd.Series([b"a", None, b""], dtype=object),
            "n": pd.Series([np.int64(1), 2, pd.NA], dtype=object),
        }
    )
    types = from_frame(frame).schema.types
    assert types == [pa.decimal128(2, 1), pa.date32(), pa.uuid(), pa.binary(), pa.int64()]


@pytest.mark.parametrize(
    "values",
    [
        [1, "a"],
        ["a", b"b"],
        [True, 1],
        [dt.date(2024, 1, 1), dt.datetime(2024, 1, 1, 3)],
        [dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, tzinfo=dt.UTC)],
        [{"a": 1}, [1]],
        [Decimal("1.5"), 2.5],
        [2**53 + 1, 0.5],
        [2**64],
        [object()],
        [1j],
        [dt.time(1, tzinfo=dt.UTC)],
        ["\ud800"],
    ],
)
def test_a_column_of_mixed_or_unknown_objects_is_refused_by_name(values: list[Any]) -> None:
    frame = pd.DataFrame({"ok": range(len(values)), "bad": pd.Series(values, dtype=object)})
    with pytest.raises(DataError, match="'bad'") as caught:
        from_frame(frame)
    assert caught.value.column == "bad"


@pytest.mark.parametrize(
    "series",
    [
        pd.Series(pd.period_range("2024", periods=1, freq="D")),
        pd.Series(pd.interval_range(0, 1)),
        pd.Series([1 + 2j]),
    ],
)
def test_a_pandas_type_that_no_column_has_is_refused_by_name(series: pd.Series[Any]) -> None:
    with pytest.raises(DataError, match="'x'"):
        from_frame(pd.DataFrame({"x": series}))


def test_polars_objects_are_refused_instead_of_exported_as_addresses() -> None:
    with pytest.raises(DataError, match="'o'"):
        from_frame(pl.DataFrame({"o": [object()]}))


@pytest.mark.parametrize("dtype", ["datetime64[ns]", object])
def test_nanoseconds_are_never_cut_off(dtype: Any) -> None:
    exact, fine = pd.Timestamp("2024-01-01 00:00:00.000001"), pd.Timestamp("2024-01-01 00:00:00.000000001")
    kept = from_frame(pd.DataFrame({"t": pd.Series([exact], dtype=dtype)}))
    assert kept.schema.field("t").type == TIMESTAMP
    with pytest.raises(DataError, match="row 2") as caught:
        from_frame(pd.DataFrame({"t": pd.Series([exact, fine], dtype=dtype)}))
    assert caught.value.column == "t"


def test_an_instant_is_kept_whatever_its_zone() -> None:
    frame = pd.DataFrame({"t": pd.to_datetime(["2024-07-01 12:00"]).tz_localize("Europe/Paris")})
    back = from_frame(frame)
    assert back.schema.field("t").type == TIMESTAMPTZ
    assert back["t"][0].as_py() == dt.datetime(2024, 7, 1, 10, tzinfo=dt.UTC)


def test_durations_become_intervals_exactly() -> None:
    frame = pd.DataFrame({"d": pd.to_timedelta(pd.Series(["1 day 00:00:01", None]))})
    back = from_frame(frame)
    assert back.schema.field("d").type == INTERVAL
    assert back["d"].to_pylist() == [pa.MonthDayNano([0, 0, 86_401 * 10**9]), None]


def test_categories_become_their_values() -> None:
    frame = pd.DataFrame({"c": pd.Series(["a", None, "a"], dtype="category")})
    assert from_frame(frame).schema.field("c").type == pa.string()
    assert from_frame(frame)["c"].to_pylist() == ["a", None, "a"]


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(DataError, match="two columns called 'a'"):
        from_frame(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(DataError, match="two columns called 'a'"):
        from_frame(pa.table([[1], [2]], names=["a", "a"]))


@pytest.mark.parametrize("name", [0, None, ("a", "b")])
def test_a_column_whose_name_is_not_text_is_refused(name: Any) -> None:
    frame = pd.DataFrame({"x": [1]})
    frame.columns = pd.Index([name], dtype=object, tupleize_cols=False)
    with pytest.raises(DataError, match="not text"):
        from_frame(frame)


@pytest.mark.parametrize("result", [[1], pd.Series([1]), {"a": [1]}, "text"])
def test_what_is_no_table_is_refused(result: Any) -> None:
    with pytest.raises(DataError, match="a table was expected"):
        from_frame(result)


def test_a_frame_without_columns_is_refused() -> None:
    with pytest.raises(DataError, match="no columns"):
        from_frame(pd.DataFrame())


def test_a_decimal_value_of_more_than_38_digits_is_refused_by_column_and_row() -> None:
    fitting = from_frame(pa.table({"d": pa.array([Decimal(1)], pa.decimal256(50, 2))}))
    assert fitting.schema.field("d").type == pa.decimal128(38, 2)
    with pytest.raises(DataError, match="'d', row 2"):
        from_frame(pa.table({"d": pa.array([Decimal(1), Decimal(10) ** 40], pa.decimal256(50, 2))}))


def test_long_decimals_can_be_added_and_multiplied_in_a_frame() -> None:
    sums = pa.table({"s": pa.array([Decimal("1.10"), None], pa.decimal128(38, 2))})
    frame = to_pandas(sums)
    frame["double"] = frame["s"] + frame["s"]
    frame["half"] = frame["s"] * Decimal("0.5")
    back = from_frame(frame, sums.schema)
    assert back["double"].to_pylist() == [Decimal("2.20"), None] and back["half"][0].as_py() == Decimal("0.55")
    assert back.schema.field("s").type == pa.decimal128(38, 2)


def test_a_table_comes_back_as_the_kind_that_was_given() -> None:
    table = pa.table({"a": [1]})
    assert isinstance(as_given(table, pd.DataFrame()), pd.DataFrame)
    assert isinstance(as_given(table, pl.DataFrame()), pl.DataFrame)
    assert as_given(table, table) is table


FIRST = pa.schema([pa.field("id", pa.int32()), pa.field("name", pa.string())])


def test_conform_gives_exactly_the_schema() -> None:
    made = conform(pa.table({"name": pa.array([None], pa.null()), "id": [3.0]}), FIRST)
    assert made.schema == FIRST
    assert made.to_pylist() == [{"id": 3, "name": None}]


def test_conform_keeps_numeric_text() -> None:
    schema = pa.schema([tagged("n", "numeric")])
    made = conform(pa.table({"n": [Decimal("1.50")]}), schema)
    assert made.schema.equals(schema, check_metadata=True)
    assert made["n"].to_pylist() == ["1.5"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"id": [1]}), "'name' is missing"),
        (pa.table({"id": [1], "name": ["a"], "more": [1]}), "'more' is new"),
        (pa.table({"id": ["1"], "name": ["a"]}), "'id' was integer at first and is now text"),
        (pa.table({"id": [1], "name": [1]}), "'name' was text at first and is now bigint"),
        (pa.table({"id": [1, 2**40], "name": ["a", "b"]}), "'id', row 2"),
        (pa.table({"id": [0.5], "name": ["a"]}), "'id', row 1"),
        (pa.table([[1], ["a"], ["b"]], names=["id", "name", "name"]), "two columns called 'name'"),
    ],
)
def test_conform_refuses_what_is_not_the_same(table: pa.Table, message: str) -> None:
    with pytest.raises(DataError, match=message):
        conform(table, FIRST)


def test_conform_says_how_to_type_a_column_that_began_with_nulls() -> None:
    with pytest.raises(DataError, match="held only NULLs at first") as caught:
        conform(pa.table({"x": [1]}), pa.schema([("x", pa.null())]))
    assert "astype" in str(caught.value)
