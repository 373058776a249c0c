"""Whole tables in memory: what they will need, and what is said when there is not enough."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from datapipe.data.memory import gathered
from datapipe.data.stream import MIB, Stream, Workspace
from datapipe.errors import DataError

BATCH = pa.record_batch({"n": pa.array(range(MIB // 8), pa.int64())})  # 1 MiB
TOTAL = 100 * BATCH.num_rows


def stream(total: int | None) -> Stream:
    def batches() -> Iterator[pa.RecordBatch]:
        for _ in range(100):
            yield BATCH

    return Stream(BATCH.schema, batches(), total)


@pytest.mark.parametrize(
    ("total", "said"),
    [
        (TOTAL, "the first 1,441,792 rows have 11 MiB, and all 13,107,200 would be about 100 MiB"),
        (None, "the first 1,441,792 rows have 11 MiB"),
    ],
)
def test_a_table_that_does_not_fit_says_how_far_it_came_and_what_it_would_need(total, said) -> None:
    with pytest.raises(DataError) as caught:
        gathered(stream(total), Workspace(), 10 * MIB)
    assert caught.value.message.endswith(said)


@pytest.mark.parametrize(("total", "told"), [(TOTAL, "about 100 MiB"), (None, "about 51 MiB")])
def test_what_takes_more_than_its_share_is_told_once_as_early_as_it_is_known(total, told) -> None:
    notes: list[str] = []
    parts = []
    work = Workspace(memory=50 * MIB, tell=notes.append, holds=parts.append)
    assert gathered(stream(total), work, 200 * MIB).num_rows == TOTAL
    assert len(notes) == 1 and told in notes[0]
    assert [part() for part in parts] == [100 * MIB]


def test_what_fits_is_not_told() -> None:
    notes: list[str] = []
    gathered(stream(TOTAL), Workspace(memory=100 * MIB, tell=notes.append), 200 * MIB)
    assert not notes
