"""Lists of runs, the same on SQLite and PostgreSQL: a page at a time, each run once."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datapipe.errors import PlanError
from datapipe.store import RunStore
from datapipe.store.schema import RUNS
from datapipe.store.search import search

ONCE = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


def filled(store: RunStore, times: list[int], **values: Any) -> list[str]:
    """Runs that were recorded at these seconds; their ids, the newest first, as a list has them."""
    with store.writing() as conn:
        conn.execute(RUNS.delete())
        rows = [
            {"id": f"r{number:02d}", "pipeline_id": "p", "state": "failed", "created": stamp(second), **values}
            for number, second in enumerate(times)
        ]
        if rows:
            conn.execute(RUNS.insert(), rows)
    return [str(row["id"]) for row in sorted(rows, key=lambda row: (row["created"], row["id"]), reverse=True)]


def stamp(second: int) -> str:
    return f"2026-01-01T00:00:{second:02d}.000Z"


def pages(store: RunStore, limit: int, **wanted: Any) -> list[list[str]]:
    found, after = [], None
    while True:
        page = search(store, limit=limit, after=after, **wanted)
        found.append([row["id"] for row in page.rows])
        after = page.after
        if after is None:
            return found


@ONCE
@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 13))
def test_pages_visit_each_run_once_in_order_whatever_their_size(store: RunStore, times: list[int], limit: int) -> None:
    expected = filled(store, times)
    found = pages(store, limit)
    assert [run_id for page in found for run_id in page] == expected
    assert all(len(page) == limit for page in found[:-1]) and len(found[-1]) <= limit


def test_runs_that_come_meanwhile_move_nothing(store: RunStore) -> None:
    expected = filled(store, [1, 2, 3, 4])
    first = search(store, limit=2)
    store.add("new", state="queued")
    rest = search(store, limit=10, after=first.after)
    assert [row["id"] for row in (*first.rows, *rest.rows)] == expected
    assert search(store).rows[0]["id"] == "new"


def test_a_run_that_is_removed_takes_no_other_with_it(store: RunStore) -> None:
    expected = filled(store, [1, 2, 3, 4], state="queued")
    first = search(store, limit=2)
    store.remove(expected[1])
    assert [row["id"] for row in search(store, after=first.after).rows] == expected[2:]


def test_filters_are_exact_and_work_together(store: RunStore) -> None:
    store.add("a", state="queued", owner="ann", name="daily", via="rest", queue="q", kind="plan")
    store.add("b", state="running", owner="ann", name="daily%", via="cli", kind="notebook", parent_run_id="a")
    store.add("c", state="queued", owner="bob", name="Daily", correlation_id="x", pipeline_id="p")

    def ids(**wanted: Any) -> set[str]:
        return {row["id"] for row in search(store, **wanted).rows}

    assert ids(owner="ann") == {"a", "b"} and ids(owner="ann", state="queued") == {"a"}
    assert (ids(name="daily"), ids(name="%"), ids(name="")) == ({"a"}, set(), set())
    assert (ids(kind="notebook"), ids(via="cli"), ids(parent_run_id="a")) == ({"b"},) * 3
    assert (ids(queue="q"), ids(pipeline_id="p"), ids(correlation_id="x")) == ({"a"}, {"c"}, {"c"})
    assert ids(owner="' OR 1=1 --") == set() and ids(owner=None) == {"a", "b", "c"}


def test_times_are_from_and_before(store: RunStore) -> None:
    filled(store, [1, 2, 3])
    found = [row["created"] for row in search(store, since=stamp(2), until=stamp(3)).rows]
    assert found == [stamp(2)]


def test_a_list_has_what_is_short(store: RunStore) -> None:
    store.add("a", state="failed", document="{}", outline=[["read", "x", "y"]], error={"type": "E"}, message={"a": 1})
    (row,) = search(store).rows
    assert row["error"] == {"type": "E"}
    assert not {"document", "outline", "result", "message", "lease"} & set(row)


@pytest.mark.parametrize("after", ["", "x", "AAAA", "W10", "WzEsMl0", "bnVsbA", "é", "A" * 400,
                                   base64.urlsafe_b64encode(json.dumps(["\ud800", "x"]).encode()).decode(),
                                   base64.urlsafe_b64encode(json.dumps([stamp(1), "a\0"]).encode()).decode().rstrip("="),])  # fmt: skip
def test_a_place_that_no_page_has_said_is_refused(after: str, store: RunStore) -> None:
    with pytest.raises(PlanError, match="after is not what a page has said"):
        search(store, after=after)


def test_the_newest_are_found_by_an_index(store: RunStore, store_url: str) -> None:
    filled(store, [number % 60 for number in range(200)])
    query = "SELECT id FROM datapipe_runs ORDER BY created DESC, id DESC LIMIT 50"
    with store.writing() as conn:
        if store_url.startswith("sqlite"):
            told = str(conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all())
            assert "TEMP B-TREE" not in told
        else:
            conn.execute(sa.text("SET LOCAL enable_seqscan = off"))
            told = str(conn.exec_driver_sql(f"EXPLAIN {query}").all())
        assert "datapipe_runs_newest" in told
