"""Rows that a request brings, or that a task has left."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from restside import Site

from datapipe.data.stream import Stream, Workspace
from datapipe.errors import PlanError
from datapipe.rest.callers import Caller
from datapipe.rest.problems import Refused
from datapipe.rest.rows import handed_on, left_by, spooled, table_of
from datapipe.workers import spool

ANN, BOB = Caller("ann", "run"), Caller("bob", "run")
COLUMNS = st.sampled_from(
    [st.integers(-(2**63), 2**63 - 1), st.booleans(), st.floats(allow_nan=False), st.text(max_size=5)]
)


@st.composite
def tables(draw: Any) -> list[dict[str, Any]]:
    names = draw(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=4, unique=True))
    kinds = {name: draw(COLUMNS) for name in names}
    rows = [{name: draw(st.none() | kind) for name, kind in kinds.items()} for _ in range(draw(st.integers(1, 5)))]
    return [{name: value for name, value in row.items() if draw(st.booleans())} for row in rows]


@given(tables())
def test_rows_come_back_as_they_were_given(rows: list[dict[str, Any]]) -> None:
    names = {name for row in rows for name in row}
    if not names:
        with pytest.raises(PlanError):
            table_of(rows)
        return
    assert table_of(rows).to_pylist() == [{name: row.get(name) for name in table_of(rows).column_names} for row in rows]


def test_a_column_of_nothing_is_text() -> None:
    assert table_of([{"a": None}]).schema.types == [pa.string()]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "there are no rows"),
        ([{}], "they have no columns"),
        ([{"a": 1}, {"a": "x"}], "'a' has values of several types"),
        ([{"a": 10**30}], "'a' has values of several types"),
        ([{"a": [1]}, {"a": {"b": 1}}], "'a' has values of several types"),
    ],
)
def test_what_is_no_table_is_refused(rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(PlanError) as caught:
        table_of(rows)
    assert caught.value.step == "rows" and said in caught.value.message and caught.value.hint


def test_rows_that_have_nothing_in_common_fill_no_memory() -> None:
    with pytest.raises(PlanError, match="more than 1,000,000 places"):
        table_of([{f"c{number}": 1} for number in range(1_001)])


def test_rows_go_through_the_spool(site: Site, tmp_path: Any) -> None:
    found = spooled(table_of([{"id": 1}, {"id": 2}]), "task-1")
    assert found["row_count"] == 2 and spool.producer_of(found["spool"]) == "task-1"
    with spool.opened(found["spool"], Workspace(scratch=tmp_path)) as stream:
        assert isinstance(stream, Stream)
        assert pa.Table.from_batches(list(stream.batches)).to_pylist() == [{"id": 1}, {"id": 2}]


def test_what_a_task_has_left_is_for_its_owner(site: Site) -> None:
    site.store.add("left", state="queued", owner="ann")
    found = spooled(table_of([{"id": 1}]), "left")
    with pytest.raises(Refused) as early:
        left_by("left", site.store, ANN)
    assert early.value.status == 409
    spool.remember("left", {"of": "f", "result": found})
    assert left_by("left", site.store, ANN) == found
    assert handed_on(found, site.store, ANN) == found
    for ask in (lambda: left_by("left", site.store, BOB), lambda: handed_on(found, site.store, BOB)):
        with pytest.raises(Refused) as caught:
            ask()
        assert caught.value.status == 404


@pytest.mark.parametrize("given", [{}, {"spool": None}, {"spool": 1}, {"spool": "../x"}, {"spool": "s3://b/x.arrow"}])
def test_what_is_no_result_is_refused(given: dict[str, Any], site: Site) -> None:
    with pytest.raises(PlanError, match="no file of the spool"):
        handed_on(given, site.store, ANN)


def test_only_the_rows_of_a_result_are_handed_on(site: Site) -> None:
    site.store.add("more", state="queued", owner="ann")
    name = f"more.{'0' * 32}.arrow"
    found = handed_on({"spool": name, "row_count": "x", "columns": {"a": "b"}, "path": "/etc"}, site.store, ANN)
    assert found == {"spool": name, "row_count": None}
