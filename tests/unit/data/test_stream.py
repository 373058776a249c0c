from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datapipe.data.stream import MIB, Workspace, limited, resized, scratch_directory

unhurried = settings(deadline=None)  # a shared machine has slow moments
SIZES = st.lists(st.integers(0, 40), max_size=12)


def batches(sizes: list[int]) -> Iterator[pa.RecordBatch]:
    """Batches of these sizes; the rows are numbered from 0."""
    start = 0
    for size in sizes:
        yield pa.RecordBatch.from_pydict({"n": pa.array(range(start, start + size), pa.int64())})
        start += size


def rows(found: list[pa.RecordBatch]) -> list[Any]:
    return [value for batch in found for value in batch.column("n").to_pylist()]


@unhurried
@given(SIZES, st.integers(1, 50))
def test_batches_of_a_number_of_rows_are_exactly_that_long(sizes: list[int], wanted: int) -> None:
    made = list(resized(batches(sizes), rows=wanted))
    assert rows(made) == list(range(sum(sizes)))
    assert all(batch.num_rows == wanted for batch in made[:-1])
    assert all(0 < batch.num_rows <= wanted for batch in made)


@unhurried
@given(SIZES, st.integers(8, 2000))
def test_batches_of_a_size_hold_the_same_rows_and_stay_near_it(sizes: list[int], size: int) -> None:
    made = list(resized(batches(sizes), size=size))
    assert rows(made) == list(range(sum(sizes)))
    assert all(0 < batch.nbytes <= size for batch in made)


def test_small_batches_are_joined() -> None:
    made = list(resized(batches([1] * 1000), size=4000))
    assert len(made) < 10
    assert rows(made) == list(range(1000))


def test_rows_are_handed_on_as_soon_as_a_batch_is_full() -> None:
    pulled = []

    def source() -> Iterator[pa.RecordBatch]:
        for batch in batches([5] * 10):
            pulled.append(batch)
            yield batch

    assert next(resized(source(), rows=5)).num_rows == 5
    assert len(pulled) == 1


def test_an_error_of_the_source_comes_through() -> None:
    def source() -> Iterator[pa.RecordBatch]:
        yield from batches([3])
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        list(resized(source(), rows=2))


@unhurried
@given(SIZES, st.none() | st.integers(0, 200))
def test_a_limit_takes_the_first_rows(sizes: list[int], limit: int | None) -> None:
    assert rows(list(limited(batches(sizes), limit))) == list(range(sum(sizes)))[:limit]


def test_a_limit_stops_pulling_when_it_is_reached() -> None:
    source = batches([5, 5, 5])
    assert rows(list(limited(source, 5))) == [0, 1, 2, 3, 4]
    assert next(source).column("n")[0].as_py() == 5


@pytest.mark.parametrize(("memory", "expected"), [(1, MIB // 4), (128 * MIB, 2 * MIB), (1 << 40, 4 * MIB)])
def test_a_transfer_batch_is_small_beside_the_memory(memory: int, expected: int) -> None:
    assert Workspace(memory=memory).batch_bytes == expected


def test_without_a_run_a_function_is_called_where_it_stands() -> None:
    assert Workspace().call(lambda: 7) == 7


def test_a_scratch_directory_is_private_and_leaves_nothing() -> None:
    with scratch_directory() as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        (path / "spill").write_text("rows")
    assert not path.exists()
