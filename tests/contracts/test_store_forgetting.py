"""Old runs leave the record with all that belongs to them, and no others do; the same on SQLite and PostgreSQL."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from datapipe.errors import PlanError
from datapipe.store import RunStore, StepRow, forget_runs, forgetting, old_runs, take_key
from datapipe.store.schema import LOGS, RUNS, STEPS


def ended(store: RunStore, run_id: str, days: float, state: str = "succeeded") -> None:
    """A run that ended, or was last heard of, so many days ago."""
    store.add(run_id, state="running", lease="l", source="a", target="b")
    store.end(run_id, "l", [StepRow(0, "ingestion", rows_out=1)], state=state)
    store.say(run_id, "note", "done")
    long_ago = store.ago(days * 86_400)
    values = {"heartbeat": long_ago, **({} if state in ("lost", "running") else {"ended": long_ago})}
    with store.writing() as conn:
        conn.execute(RUNS.update().where(RUNS.c.id == run_id).values(values))


def left(store: RunStore, table: sa.Table) -> set[str]:
    with store.reading() as conn:
        return set(conn.scalars(sa.select(table.c.id if table is RUNS else table.c.run_id)))


@pytest.mark.parametrize("at_once", [1, 2, 500])
def test_what_ended_long_ago_goes_with_its_steps_and_logs(
    at_once: int, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "_AT_ONCE", at_once)
    for number, state in enumerate(("succeeded", "failed", "cancelled", "skipped", "lost")):
        ended(store, f"old{number}", 91, state)
        ended(store, f"new{number}", 89, state)
    assert (old_runs(store, 90), forget_runs(store, 90), forget_runs(store, 90)) == (5, 5, 0)
    young = {f"new{number}" for number in range(5)}
    assert (left(store, RUNS), left(store, STEPS), left(store, LOGS)) == (young, young, young)


def test_what_goes_on_and_what_waits_stays(store: RunStore) -> None:
    ended(store, "running", 1000, "running")
    store.add("queued", state="queued", source="a", target="b")
    assert forget_runs(store, 0) == 0
    assert left(store, RUNS) == {"running", "queued"}


def test_a_run_that_its_key_needs_stays(store: RunStore) -> None:
    ended(store, "keyed", 1000)
    ended(store, "other", 1000)
    take_key(store, "day 1", "keyed")
    assert forget_runs(store, 1) == 1
    again = take_key(store, "day 1", "again")
    assert again is not None and again.id == "keyed", "it is not done twice"
    with pytest.raises(PlanError):
        store.run("other")
