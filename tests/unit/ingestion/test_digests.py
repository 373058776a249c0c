"""Digests of rows: equal rows have equal ones, others do not."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest

from datapipe.data.types import TIMESTAMPTZ
from datapipe.ingestion.digests import SIZE, digests

AT = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
COLUMNS = {
    "bool": pa.array([True, False, None]),
    "small": pa.array([1, 2, None], pa.int8()),
    "unsigned": pa.array([2**64 - 1, 2, None], pa.uint64()),
    "float": pa.array([1.5, -0.5, None], pa.float32()),
    "double": pa.array([1.5, float("nan"), None]),
    "text": pa.array(["a", "", None]),
    "bytes": pa.array([b"a", b"\x00", None]),
    "date": pa.array([AT.date(), dt.date(1, 1, 1), None]),
    "time": pa.array([dt.time(1), dt.time(2), None], pa.time64("us")),
    "at": pa.array([AT, AT + dt.timedelta(microseconds=1), None], TIMESTAMPTZ),
    "decimal": pa.array([Decimal("1.10"), Decimal("1.20"), None], pa.decimal128(9, 2)),
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"a" * 16, b"b" * 16, None], pa.binary(16))),
    "list": pa.array([[1, 2], [], None]),
    "struct": pa.array([{"a": 1}, {"a": None}, None]),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_each_value_and_null_has_its_own(name: str) -> None:
    batch = pa.record_batch({name: COLUMNS[name]})
    found = digests(batch, [name])
    assert len(set(found)) == 3 and {len(each) for each in found} == {SIZE}
    assert digests(batch.slice(1), [name]) == found[1:]


def test_no_value_runs_into_the_next() -> None:
    rows = pa.record_batch({"a": ["x", "x:1:y", ""], "b": ["1:y", "", "x1:y"]})
    assert len(set(digests(rows, ["a", "b"]))) == 3


def test_they_are_the_same_in_every_version() -> None:
    rows = pa.record_batch({"id": pa.array([7]), "at": pa.array([AT], TIMESTAMPTZ), "v": ["é"]})
    assert digests(rows, ["id", "at", "v"])[0].hex() == "56a44c39e63f39734014ef84077ff77f"


def test_a_column_that_is_gone_counts_as_null() -> None:
    rows = pa.record_batch({"a": [1], "b": pa.array([None], pa.string())})
    assert digests(rows, ["a", "b"]) == digests(rows.select(["a"]), ["a", "b"])
