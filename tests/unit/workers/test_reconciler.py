"""Which waiting runs no worker will ever be given."""

from __future__ import annotations

import pytest

from datapipe.store import RunRow
from datapipe.workers.broker import BrokerState, QueueState
from datapipe.workers.reconciler import stranded

NOW = "2026-01-01T00:10:00.000Z"


def waiting(run_id: str, minute: int, queue: str = "q") -> RunRow:
    """A run that was put into its queue at so many minutes past."""
    names = dict.fromkeys(RunRow.__dataclass_fields__)
    times = {"queued": f"2026-01-01T00:{minute:02d}:00.000Z", "now": NOW, "created": NOW}
    return RunRow(**{**names, "steps": (), "id": run_id, "state": "queued", "queue": queue, "losses": 0, **times})  # type: ignore[arg-type]  # what the function does not read is None


def found(state: BrokerState, *rows: RunRow, times: dict[str, str] | None = None) -> list[str]:
    return [row.id for row in stranded(rows, state, times or {})]


def test_an_empty_queue_has_lost_whoever_waits() -> None:
    assert found(BrokerState({"q": QueueState()}), waiting("a", 1), waiting("b", 2)) == ["a", "b"]


def test_what_is_next_is_not_lost() -> None:
    state = BrokerState({"q": QueueState(3, ("a", "b", "c"))})
    rows = [waiting("a", 1), waiting("b", 2), waiting("c", 3)]
    assert found(state, *rows, times={row.id: str(row.queued) for row in rows}) == []


def test_what_was_queued_before_the_next_message_is_lost() -> None:
    state = BrokerState({"q": QueueState(1, ("c",))})
    rows = [waiting("a", 1), waiting("c", 3), waiting("d", 4)]
    assert found(state, *rows, times={"c": "2026-01-01T00:03:00.000Z"}) == ["a"]


def test_a_queue_of_strangers_tells_nothing() -> None:
    assert found(BrokerState({"q": QueueState(2, ("x", "y"))}), waiting("a", 1)) == []


def test_runs_may_overtake_each_other_a_little() -> None:
    state = BrokerState({"q": QueueState(1, ("b",))})
    assert found(state, waiting("a", 1), times={"b": "2026-01-01T00:01:03.000Z"}) == []


@pytest.mark.parametrize(("seconds", "lost"), [(5.0, []), (31.0, ["a"])])
def test_what_a_worker_took_it_begins_soon_or_never(seconds: float, lost: list[str]) -> None:
    assert found(BrokerState({"q": QueueState()}, {"a": seconds}), waiting("a", 1)) == lost


def test_each_queue_by_itself() -> None:
    state = BrokerState({"q": QueueState(1, ("a",)), "p": QueueState()})
    assert found(state, waiting("a", 1), waiting("b", 1, "p"), times={"a": "2026-01-01T00:01:00.000Z"}) == ["b"]
