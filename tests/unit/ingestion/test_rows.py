"""Batches of a driver's rows: the same rows in their order, whatever one fetch gives."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from datapipe.data.stream import Workspace
from datapipe.ingestion.rows import Field, batches_of

SCHEMA = pa.schema({"a": pa.int64(), "b": pa.string()})


def convert(values: Sequence[Any], field: Field, first_row: int) -> pa.Array[Any]:
    assert field.type != pa.int64() or values[0] == first_row
    return pa.array(values, field.type)


@given(st.integers(0, 700), st.none() | st.integers(0, 700), st.integers(1, 70))
def test_rows_stay_in_order_and_a_fetch_within_its_bound(total: int, limit: int | None, at_once: int) -> None:
    rows, asked = iter([(number, str(number)) for number in range(1, total + 1)]), []

    def fetch(count: int) -> list[tuple[int, str]]:
        asked.append(count)
        return list(itertools.islice(rows, count))

    batches = batches_of(fetch, SCHEMA, convert, Workspace(limit=limit), at_once=at_once)
    found = [row for batch in batches for row in batch.to_pylist()]
    kept = total if limit is None else min(limit, total)
    assert found == [{"a": number, "b": str(number)} for number in range(1, kept + 1)]
    assert all(0 < count <= at_once for count in asked)
    assert limit is None or sum(1 for _ in rows) == total - kept
