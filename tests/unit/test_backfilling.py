"""How a range is cut into slices, and what is refused."""

from __future__ import annotations

import datetime as dt
import itertools
from decimal import Decimal
from typing import Any

import pytest

import datapipe
from datapipe.backfilling import Backfill, Slice, slices
from datapipe.errors import PlanError

DAY = dt.date(2024, 1, 1)


@pytest.mark.parametrize(
    ("start", "until", "every", "edges"),
    [
        ("2024-01-01", "2024-01-03", "1 day", ["2024-01-01", "2024-01-02", "2024-01-03"]),
        (DAY, DAY + dt.timedelta(days=3), dt.timedelta(days=2), ["2024-01-01", "2024-01-03", "2024-01-04"]),
        (DAY, "2024-01-02", "12h", ["2024-01-01 00:00:00", "2024-01-01 12:00:00", "2024-01-02 00:00:00"]),
        ("2024-01-31", "2024-03-31", "1 month", ["2024-01-31", "2024-02-29", "2024-03-31"]),
        ("2024-02-29", "2026-01-01", "1 year", ["2024-02-29", "2025-02-28", "2026-01-01"]),
        (
            "2024-01-01T00:00+00:00",
            "2024-01-01T01:30+00:00",
            "1h",
            [f"2024-01-01 0{h}:00+00:00" for h in ("0:00", "1:00", "1:30")],
        ),
        (0, 10, 4, ["0", "4", "8", "10"]),
        ("0.5", "1.5", "0.5", ["0.5", "1.0", "1.5"]),
    ],
)
def test_a_range_is_cut(start: Any, until: Any, every: Any, edges: list[str]) -> None:
    found = slices(start, until, every)
    assert [str(each.start) for each in found] + [str(found[-1].until)] == edges
    assert all(one.until == other.start for one, other in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("start", "until", "every", "message"),
    [
        ("soon", 5, 1, "no value of a cursor"),
        (5, 1, 1, "there is nothing from 5 to 1"),
        (1, 5, 0, "lead nowhere"),
        (1, 5, -1, "lead nowhere"),
        (1, 5, "1 day", "do not go together"),
        (1, 5, "1 month", "do not go together"),
        (DAY, 5, "1 day", "do not go together"),
        (DAY, DAY + dt.timedelta(days=2), "1 fortnight", "no length of time"),
        (0, 10**9, 1, "more than 100,000 slices"),
        (Decimal(0), DAY, 1, "do not go together"),
    ],
)
def test_what_cannot_be_cut(start: Any, until: Any, every: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        slices(start, until, every)


def test_only_an_incremental_plan_with_a_table_is_loaded_in_slices() -> None:
    read = datapipe.read("t", source="sqlite:///crm.db")
    with pytest.raises(PlanError, match="only an incremental plan"):
        datapipe.backfill(read.write("copy", to="sqlite:///crm.db"), 1, 2, every=1)
    read = datapipe.read("t", source="sqlite:///crm.db", incremental="id")
    with pytest.raises(PlanError, match="into a table"):
        datapipe.backfill(read, 1, 2, every=1)


def test_what_is_told_of_slices() -> None:
    good, bad = Slice(1, 2, "succeeded", 1_000), Slice(2, 3, "failed", error="no")
    assert str(Backfill((good, bad))) == "1 of 2 slices are loaded: 1,000 rows\n2 to 3: failed: no"
