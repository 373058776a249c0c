"""Ranges of a column: every value is in exactly one of them, whatever the cuts are."""

import datetime as dt
import itertools
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datapipe.data.types import tagged
from datapipe.errors import PlanError
from datapipe.ingestion.ranges import Cutting, conditions, cuts, cutting_of, find_column
from datapipe.plan import FileSource, QuerySource

COUNTS = st.integers(1, 12)
KINDS = {
    "BIGINT": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "DATE": (pa.date32(), st.dates()),
    "TIMESTAMP": (pa.timestamp("us"), st.datetimes()),
    "TIMESTAMPTZ": (pa.timestamp("us", "UTC"), st.datetimes(timezones=st.just(dt.UTC))),
    "DECIMAL(38,10)": (
        pa.decimal128(38, 10),
        st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=10),
    ),
}

DUCKDB = duckdb.connect()
DUCKDB.execute("SET threads=1; SET TimeZone='UTC'")


def text(value):
    return None if value is None else str(value)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_each_value_and_each_null_is_in_exactly_one_range(kind, data):
    type_, values = KINDS[kind]
    rows = data.draw(st.lists(st.none() | values, max_size=20))
    known = [value for value in rows if value is not None]
    column, count = pa.field("a", type_), data.draw(COUNTS)
    found = cuts(column, text(min(known, default=None)), text(max(known, default=None)), count)
    ranges = conditions("a", found)
    assert 1 <= len(ranges) <= count
    times = " + ".join(f"CASE WHEN {condition} THEN 1 ELSE 0 END" for condition in ranges)
    query = f"SELECT DISTINCT {times} FROM (SELECT CAST(unnest($rows) AS {kind}) AS a)"
    assert DUCKDB.execute(query, {"rows": [*map(text, rows), None]}).fetchall() == [(1,)]


@given(st.integers(-(10**30), 10**30), st.integers(0, 10**30), COUNTS)
def test_ranges_of_whole_numbers_are_even(low, span, count):
    found = [low, *map(int, cuts(pa.field("a", pa.int64()), str(low), str(low + span), count)), low + span + 1]
    widths = [after - before for before, after in itertools.pairwise(found)]
    assert len(widths) == min(count, span + 1)
    assert max(widths) - min(widths) <= 1


@pytest.mark.parametrize(
    ("type_", "least", "greatest"),
    [
        (pa.int64(), None, None),  # no rows, or nothing but NULLs
        (pa.int64(), "7", "7"),
        (pa.date32(), "2024-01-01", "infinity"),
        (pa.date32(), "0044-03-15 BC", "2024-01-01"),
        (pa.timestamp("us"), "2024-01-01 00:00:00", "12024-01-01 00:00:00"),
        (pa.decimal128(10, 2), "1.00", "NaN"),
        (pa.decimal128(10, 2), "1.00", "Infinity"),
    ],
)
def test_what_cannot_be_cut_is_one_range(type_, least, greatest):
    assert conditions("a", cuts(pa.field("a", type_), least, greatest, 8)) == ("true",)


def test_decimals_are_cut_finer_than_the_values_at_the_ends():
    found = cuts(tagged("a", "numeric"), "0", "1", 4)
    assert [Decimal(cut) for cut in found] == [Decimal(n) / 4 for n in (1, 2, 3)]


def test_timestamps_are_cut_to_the_microsecond():
    found = cuts(pa.field("a", pa.timestamp("us")), "2024-01-01 00:00:00", "2024-01-01 00:00:00.000003", 4)
    assert found == ("2024-01-01 00:00:00.000001", "2024-01-01 00:00:00.000002", "2024-01-01 00:00:00.000003")


SCHEMA = pa.schema(
    [("Id", pa.int32()), ("name", pa.string()), ("at", pa.timestamp("us", "UTC")), ("f", pa.float64())]
).append(tagged("price", "numeric"))


def test_the_column_is_found_as_everywhere_and_refused_with_those_that_would_do():
    assert find_column(Cutting("id", 4), SCHEMA) == 0
    assert find_column(Cutting("price", 4), SCHEMA) == 4
    with pytest.raises(PlanError, match=r"there is no column 'nam'.*Did you mean 'name'"):
        find_column(Cutting("nam", 4), SCHEMA)
    with pytest.raises(
        PlanError, match=r"takes an integer, date, timestamp or decimal column, and 'f' is double.*Id, at, price"
    ):
        find_column(Cutting("f", 4), SCHEMA)
    with pytest.raises(PlanError, match="There is none here"):
        find_column(Cutting("name", 4), pa.schema([("name", pa.string())]))


def test_a_source_says_whether_it_is_to_be_cut():
    assert cutting_of(QuerySource(query="SELECT 1 AS id", partition_on="id", partitions=9)) == Cutting("id", 9)
    assert cutting_of(QuerySource(query="SELECT 1 AS id")) is None
    assert cutting_of(FileSource(files="a.csv")) is None
