"""Arrow to a frame and back is the identity, for every type, whatever the values."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st

from datapipe.data.frames import conform, from_frame, to_pandas, to_polars
from datapipe.data.types import EXACT_NUMERIC, INTERVAL, TIMESTAMP, TIMESTAMPTZ, tag, tagged

unhurried = settings(deadline=None, max_examples=150)
ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
MOMENTS = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999))


def whole(low: int, high: int) -> st.SearchStrategy[int]:
    return st.sampled_from([low, high, 0, 1]) | st.integers(low, high)


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    limit = 10**precision - 1
    return whole(-limit, limit).map(lambda unscaled: Decimal(f"{unscaled}E-{scale}"))


VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.bool_(): st.booleans(),
    pa.int8(): whole(-(2**7), 2**7 - 1),
    pa.int16(): whole(-(2**15), 2**15 - 1),
    pa.int32(): whole(-(2**31), 2**31 - 1),
    pa.int64(): whole(-(2**63), 2**63 - 1),
    pa.uint8(): whole(0, 2**8 - 1),
    pa.uint16(): whole(0, 2**16 - 1),
    pa.uint32(): whole(0, 2**32 - 1),
    pa.uint64(): whole(0, 2**64 - 1),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
    pa.string(): ANY_TEXT,
    pa.binary(): st.binary(max_size=8),
    pa.date32(): st.dates(),
    pa.time64("us"): st.times(),
    TIMESTAMP: MOMENTS,
    TIMESTAMPTZ: MOMENTS.map(lambda moment: moment.replace(tzinfo=dt.UTC)),
    INTERVAL: st.tuples(whole(-1200, 1200), whole(-9999, 9999), st.integers(-(10**15), 10**15)),
    pa.uuid(): st.uuids().map(lambda value: value.bytes),
    pa.decimal128(5, 2): decimals(5, 2),
    pa.decimal128(18, 18): decimals(18, 18),
    pa.decimal128(38, 0): decimals(38, 0),
    EXACT_NUMERIC: decimals(38, 20),
    pa.list_(pa.float64()): st.lists(st.none() | st.floats(), max_size=3),
    pa.list_(TIMESTAMPTZ): st.lists(st.none() | MOMENTS.map(lambda moment: moment.replace(tzinfo=dt.UTC)), max_size=2),
    pa.list_(pa.int64()): st.lists(st.none() | whole(-(2**63), 2**63 - 1), max_size=3),
    pa.list_(pa.list_(pa.string())): st.lists(st.none() | st.lists(st.none() | ANY_TEXT, max_size=2), max_size=2),
    pa.struct([pa.field("a", pa.int64()), pa.field("b", pa.string())]): st.fixed_dictionaries(
        {"a": st.none() | whole(-(2**63), 2**63 - 1), "b": st.none() | ANY_TEXT}
    ),
    pa.null(): st.none(),
}
NOT_IN_POLARS = {INTERVAL}
# A NaN among Python objects is how pandas writes a missing value, and to_pylist makes other objects of these.
AS_OBJECTS_OTHERWISE = {pa.float32(), pa.float64(), pa.uint64(), INTERVAL}


@st.composite
def tables(draw: st.DrawFn, types: list[pa.DataType]) -> pa.Table:
    """A few columns of these types, in some chunks; some without a NULL, some of nothing else."""
    chosen = draw(st.lists(st.sampled_from(types), min_size=1, max_size=4))
    rows = draw(st.integers(0, 6))
    columns = []
    for type_ in chosen:
        value = draw(st.sampled_from([VALUES[type_], st.none(), st.none() | VALUES[type_]]))
        values = pa.array(draw(st.lists(value, min_size=rows, max_size=rows)), type_)
        cut = draw(st.integers(0, rows))
        columns.append(pa.chunked_array([values.slice(0, cut), values.slice(cut)], type=type_))
    return pa.table(columns, names=[f"c{number}" for number in range(len(chosen))])


def same(one: pa.Table, other: pa.Table) -> bool:
    """Equality for which NaN equals NaN, and not NULL."""
    if not one.schema.equals(other.schema, check_metadata=True) or one.num_rows != other.num_rows:
        return False
    return all(map(same_column, one.columns, other.columns))


def same_column(one: pa.ChunkedArray[Any], other: pa.ChunkedArray[Any]) -> bool:
    if pa.types.is_floating(one.type):
        numbers = [np.array(c.fill_null(0).to_numpy(), dtype="f8") for c in (one, other)]
        return bool(pc.is_null(one).equals(pc.is_null(other))) and np.array_equal(*numbers, equal_nan=True)
    if one.type == pa.list_(pa.float64()):
        return repr(one.to_pylist()) == repr(other.to_pylist())
    return bool(one.equals(other))


@unhurried
@given(tables(list(VALUES)))
def test_pandas_gives_back_what_it_was_given(table: pa.Table) -> None:
    frame = to_pandas(table)
    assert same(from_frame(frame, table.schema), table)
    assert same(conform(from_frame(frame), table.schema), table)


@unhurried
@given(tables(list(VALUES)))
def test_pandas_keeps_every_type_without_being_told(table: pa.Table) -> None:
    assert same(from_frame(to_pandas(table)), table)


@unhurried
@given(tables([type_ for type_ in VALUES if type_ not in AS_OBJECTS_OTHERWISE]))
def test_python_objects_in_a_frame_keep_their_values(table: pa.Table) -> None:
    objects = {name: pd.Series(table[name].to_pylist(), dtype=object) for name in table.column_names}
    assert same(from_frame(pd.DataFrame(objects), table.schema), table)


@unhurried
@given(tables([type_ for type_ in VALUES if type_ not in NOT_IN_POLARS]))
def test_polars_gives_back_what_it_was_given(table: pa.Table) -> None:
    assert same(from_frame(to_polars(table), table.schema), table)


@unhurried
@given(tables(list(VALUES)), st.data())
def test_a_frame_has_the_same_dtypes_for_any_of_its_rows(table: pa.Table, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, table.num_rows))
    part = table.slice(start, data.draw(st.integers(0, table.num_rows - start)))
    assert to_pandas(part).dtypes.tolist() == to_pandas(table).dtypes.tolist()


@unhurried
@given(st.lists(st.none() | decimals(38, 20), max_size=6))
def test_numeric_text_keeps_every_digit(numbers: list[Decimal | None]) -> None:
    schema = pa.schema([tagged("n", "numeric")])
    table = pa.table([pa.array([None if n is None else f"{n:f}" for n in numbers], pa.string())], schema=schema)
    for frame in (to_pandas(table), to_polars(table)):
        back = from_frame(frame, schema)
        assert tag(back.schema.field("n")) == "numeric"
        assert [None if text is None else Decimal(text) for text in back["n"].to_pylist()] == numbers
