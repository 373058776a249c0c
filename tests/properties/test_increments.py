"""Whatever is added between runs, all increments together are the rows themselves, each as often as it is there."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from datapipe.data.watermark import Watermark
from datapipe.ingestion.increments import Increment
from datapipe.plan import Incremental

LAG = 3
# How far a new row's cursor is from the greatest one that is there, and what it holds.
NEW = st.lists(st.tuples(st.integers(-LAG, 4), st.sampled_from("ab")), max_size=6)


@given(st.lists(NEW, min_size=1, max_size=6), st.booleans(), st.randoms(use_true_random=False))
def test_all_increments_together_are_the_rows(rounds: list[list[tuple[int, str]]], late: bool, order: Any) -> None:
    how = Incremental(cursor="c", lag=LAG if late else None)
    rows: list[tuple[int, str]] = []
    loaded: Counter[tuple[int, str]] = Counter()
    mark: Watermark | None = None
    top = 0
    for new in rounds:
        rows += [(top + (step if late else abs(step)), text) for step, text in new]
        top = max([top, *(cursor for cursor, _ in rows)])
        order.shuffle(rows)
        increment = Increment(how, mark)
        cut = len(rows) // 2
        batches = [
            pa.record_batch(
                {"c": pa.array([c for c, _ in part], pa.int64()), "v": pa.array([v for _, v in part], pa.string())}
            )
            for part in (rows[:cut], rows[cut:])
        ]
        increment.choose(batches[0].schema)
        loaded.update((row["c"], row["v"]) for each in increment.rows(iter(batches)) for row in each.to_pylist())
        mark = Watermark.of(increment.watermark.form())
        assert loaded == Counter(rows)
