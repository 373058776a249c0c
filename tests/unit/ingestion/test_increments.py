"""Increments: what is new beyond a watermark, whatever comes late or twice."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from datapipe.data.watermark import Watermark
from datapipe.errors import DataError
from datapipe.ingestion import increments
from datapipe.ingestion.increments import Increment
from datapipe.plan import Incremental

Rows = Sequence[tuple[Any, Any]]


def batch(rows: Rows) -> pa.RecordBatch:
    return pa.record_batch({"c": pa.array([c for c, _ in rows], pa.int64()), "v": pa.array([v for _, v in rows])})


def read(since: Watermark | None, *batches: Rows, again: bool = False, **how: Any) -> tuple[Rows, Watermark]:
    """What is new in batches, and the watermark after it, which has gone through the ledger's text."""
    increment = Increment(Incremental(cursor="c", **how), since, again=again)
    made = [batch(rows) for rows in batches]
    increment.choose(made[0].schema)
    found = [(row["c"], row["v"]) for each in increment.rows(iter(made)) for row in each.to_pylist()]
    return found, Watermark.of(increment.watermark.form())


def test_only_what_lies_beyond_the_watermark_is_new() -> None:
    found, mark = read(None, [(1, "a"), (3, "b")], [(2, "c")])
    assert found == [(1, "a"), (3, "b"), (2, "c")] and mark.values == (3,)
    found, mark = read(mark, [(2, "late"), (3, "b"), (4, "d")])
    assert found == [(4, "d")] and mark.values == (4,)


def test_rows_with_the_same_cursor_are_told_apart_and_counted() -> None:
    _, mark = read(None, [(3, "a"), (3, "a"), (3, "b")])
    found, mark = read(mark, [(3, "a"), (3, "b"), (3, "a"), (3, "a"), (3, "c")])
    assert found == [(3, "a"), (3, "c")]
    assert read(mark, [(3, "a"), (3, "b"), (3, "a"), (3, "a"), (3, "c")])[0] == []


def test_rows_that_are_read_again_are_loaded_again_where_they_may_have_been_gone() -> None:
    _, known = read(None, [(8, "a"), (9, "b"), (10, "c")], lag=2)
    assert read(known, [(9, "b"), (10, "c")], lag=2)[0] == []
    found, mark = read(known, [(9, "b"), (10, "c")], again=True, lag=2)
    assert found == [(9, "b"), (10, "c")]
    assert (mark.values, mark.seen, mark.columns) == ((10,), b"", ())
    assert read(mark, [(10, "c"), (12, "d")], again=True, lag=2)[1].values == (12,)
    assert read(mark, [], again=True, lag=2)[1].values == (10,)


def test_no_row_before_the_start_is_loaded_though_none_is_known() -> None:
    found, mark = read(None, [(4, "a"), (5, "b"), (6, "c")], again=True, start=5, lag=3)
    assert found == [(5, "b"), (6, "c")]
    assert read(mark, [(4, "a"), (5, "b"), (6, "c")], again=True, start=5, lag=3)[0] == found


def test_late_rows_are_found_as_far_back_as_the_lag() -> None:
    _, mark = read(None, [(10, "a"), (8, "b"), (5, "c")], lag=3)
    found, mark = read(mark, [(10, "a"), (8, "b"), (7, "late"), (6, "too late")], lag=3)
    assert found == [(7, "late")] and mark.values == (10,)
    found, mark = read(mark, [(10, "a"), (8, "b"), (7, "late"), (12, "new")], lag=3)
    assert found == [(12, "new")]
    assert len(mark.seen) // 16 == 2  # what is nearer than 3 to 12


def test_a_row_that_changed_without_moving_its_cursor_is_new_within_the_lag() -> None:
    _, mark = read(None, [(10, "a"), (9, "b")], lag=5)
    assert read(mark, [(10, "a"), (9, "changed")], lag=5)[0] == [(9, "changed")]


def test_an_empty_increment_keeps_the_watermark() -> None:
    _, mark = read(None, [(3, "a")])
    found, again = read(mark, [])
    assert found == [] and again.values == (3,)
    assert read(None, [])[1].values is None


def test_start_and_until() -> None:
    found, mark = read(None, [(1, "a"), (2, "b"), (3, "c"), (4, "d")], start=2, until=4)
    assert found == [(2, "b"), (3, "c")] and mark.values == (3,)
    assert read(mark, [(1, "a"), (2, "b"), (3, "c"), (4, "d")], start=1, until=9)[0] == [(4, "d")]


def test_an_end_before_the_watermark_forgets_nothing() -> None:
    _, mark = read(None, [(10, "a"), (9, "b")], lag=5)
    found, mark = read(mark, [(10, "a"), (9, "b"), (7, "late")], lag=5, until=8)
    assert found == [(7, "late")] and mark.values == (10,)
    assert read(mark, [(10, "a"), (9, "b"), (7, "late")], lag=5)[0] == []


def test_a_watermark_that_was_set_is_where_reading_begins() -> None:
    mark = Watermark.of(Watermark(("c",), begin=(2,)).form())
    assert read(mark, [(1, "a"), (2, "b"), (3, "c")], lag=5)[0] == [(2, "b"), (3, "c")]


def test_a_lag_that_has_grown_doubles_no_rows() -> None:
    _, mark = read(None, [(8, "a"), (9, "b"), (10, "c")])
    found, mark = read(mark, [(8, "a"), (9, "b"), (10, "c"), (11, "d")], lag=5)
    assert found == [(11, "d")] and mark.floor == (10,)
    found, mark = read(mark, [(8, "a"), (9, "b"), (10, "late"), (10, "c"), (11, "d"), (20, "e")], lag=5)
    assert found == [(10, "late"), (20, "e")] and mark.floor == (15,)


def test_nothing_before_the_start_is_read_later_either() -> None:
    _, mark = read(None, [(1, "a"), (5, "b")], start=5, lag=3)
    assert read(mark, [(3, "a"), (4, "c"), (5, "b"), (6, "d")], start=5, lag=3)[0] == [(6, "d")]


def test_null_is_refused_left_out_or_looked_at_each_time() -> None:
    rows = [(1, "a"), (None, "x"), (2, "b")]
    with pytest.raises(DataError, match="the cursor 'c' is NULL in row 2"):
        read(None, rows)
    assert read(None, rows, nulls="skip")[0] == [(1, "a"), (2, "b")]
    found, mark = read(None, rows, nulls="always")
    assert found == rows
    assert read(mark, [(None, "x"), (None, "x"), (2, "b")], nulls="always")[0] == [(None, "x")]
    found, mark = read(None, [(None, "x")], nulls="always")
    assert mark.values is None and read(mark, [(None, "x"), (1, "a")], nulls="always")[0] == [(1, "a")]


def test_a_new_column_does_not_make_rows_new() -> None:
    _, mark = read(None, [(3, "a")])
    wide = pa.record_batch({"c": [3, 4], "v": ["a", "b"], "w": [1, 2]})
    increment = Increment(Incremental(cursor="c"), mark)
    increment.choose(wide.schema)
    assert [row["c"] for each in increment.rows(iter([wide])) for row in each.to_pylist()] == [4]
    assert increment.watermark.columns == ("c", "v", "w")


def test_rows_near_the_watermark_are_held_as_digests_when_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[(number, f"text {number}") for number in range(first, first + 50)] for first in range(0, 500, 50)]
    _, expected = read(None, *rows, lag=100)
    monkeypatch.setattr(increments, "_HELD", 100)
    found, mark = read(None, *rows, lag=100)
    assert len(found) == 500 and mark == expected and len(mark.seen) == 101 * 16


def test_more_rows_than_can_be_known_again_need_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(increments, "_MOST", 2)
    rows = [(3, "a"), (3, "b"), (3, "c")]
    with pytest.raises(DataError, match=r"3 rows near the watermark .* at most 2 can be known"):
        read(None, rows)
    made = batch(rows)
    keyed = Increment(Incremental(cursor="c"), keyed=True)
    keyed.choose(made.schema)
    assert sum(each.num_rows for each in keyed.rows(iter([made]))) == 3
    again = Increment(Incremental(cursor="c"), Watermark.of(keyed.watermark.form()), keyed=True)
    again.choose(made.schema)
    assert sum(each.num_rows for each in again.rows(iter([made]))) == 3  # which their keys make harmless


def test_several_columns_are_one_cursor() -> None:
    how = Incremental.model_validate(["day", "n"])
    days = pa.array([dt.date(2024, 1, 1)] * 2 + [dt.date(2024, 1, 2)] * 2)
    rows = pa.record_batch({"day": days, "n": [1, 9, 1, 2]})
    first = Increment(how)
    first.choose(rows.schema)
    assert sum(each.num_rows for each in first.rows(iter([rows]))) == 4
    assert first.marks == {"day": "2024-01-02", "n": 2}
    more = pa.record_batch({"day": pa.array([dt.date(2024, 1, 2)] * 3), "n": [1, 2, 3]})
    then = Increment(how, first.watermark)
    then.choose(more.schema)
    assert [row["n"] for each in then.rows(iter([more])) for row in each.to_pylist()] == [3]
