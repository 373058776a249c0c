"""What the run store knows of many runs, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import time

from datapipe.store import RunStore
from datapipe.store.opening import engine_of
from datapipe.store.statistics import STATES, WorkerLoad, queue_loads, totals, worker_loads


def run(store: RunStore, run_id: str, worker: str | None, state: str, rows: int = 0) -> None:
    store.add(run_id, state="running", worker=worker)
    time.sleep(0.05)
    if state != "running":
        store.change(run_id, state=state, rows_read=rows, rows_written=rows // 2)


def test_a_store_without_runs(store: RunStore) -> None:
    assert [(total.state, total.runs, total.seconds) for total in totals(store)] == [
        (state, 0, 0.0) for state in STATES
    ]
    assert (queue_loads(store), worker_loads(store)) == ((), ())


def test_totals_by_state(store: RunStore) -> None:
    run(store, "a", None, "succeeded", 10)
    run(store, "b", "w1", "succeeded", 2**40)
    run(store, "c", "w1", "failed", 4)
    run(store, "d", "w1", "running")
    found = {total.state: total for total in totals(store)}
    assert (found["succeeded"].runs, found["succeeded"].rows_read, found["succeeded"].rows_written) == (
        2,
        10 + 2**40,
        5 + 2**39,
    )
    assert 0.08 < found["succeeded"].seconds < 5
    assert (found["failed"].runs, found["running"].runs, found["running"].seconds) == (1, 1, 0.0)


def test_queues_and_their_oldest_run(store: RunStore) -> None:
    for number in range(3):
        store.add(f"q{number}", state="queued", queue="slow")
    store.add("other", state="queued", queue="fast")
    store.add("inline", state="queued")
    run(store, "begun", "w1", "running")
    time.sleep(0.1)
    fast, slow = queue_loads(store)
    assert (fast.queue, fast.runs, slow.queue, slow.runs) == ("fast", 1, "slow", 3)
    assert 0.1 <= slow.oldest < 5


def test_workers_and_what_they_did(store: RunStore) -> None:
    run(store, "a", "w1", "succeeded", 1000)
    run(store, "b", "w1", "failed")
    run(store, "c", "w1", "cancelled")
    run(store, "d", "w1", "running")
    run(store, "e", "w2", "succeeded")
    run(store, "inline", None, "running")
    first, second = worker_loads(store)
    assert (first.worker, first.active, first.processed, first.succeeded, first.failed) == ("w1", ("d",), 3, 1, 1)
    assert first.heartbeat is not None
    assert first.silence is not None
    assert 0 <= first.silence < 5
    assert first.rows_per_second is not None
    assert 200 < first.rows_per_second < 10_000
    assert second == WorkerLoad("w2", processed=1, succeeded=1, rows_per_second=0.0)


def test_totals_read_an_index_and_no_documents(sqlite_url: str) -> None:
    engine = engine_of(sqlite_url)
    RunStore(engine)
    with engine.connect() as conn:
        plan = conn.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT state, count(*), sum(rows_read), sum(rows_written), "
            "sum((julianday(ended) - julianday(started)) * 86400.0) FROM datapipe_runs GROUP BY state"
        ).all()
    assert "COVERING INDEX datapipe_runs_totals" in str(plan)
