"""A run that workers share: the same rows as one that is not shared, whoever is killed in the middle."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from benchmarks.lineitem import load
from services import private_redis, redis_program
from workerside import Worker, running_worker, until, workplace

import datapipe
from datapipe.errors import DataError, RunCancelled
from datapipe.store import open_store

COUNT, PARTS = 240, 8
_SOURCE = (
    f"CREATE TABLE source AS SELECT n AS id, n % 7 AS small, 'name ' || n AS name FROM generate_series(1, {COUNT}) AS n"
)


@pytest.fixture
def environment(postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    with psycopg.connect(postgresql_url) as conn:
        conn.execute(_SOURCE)
    with (
        private_redis(redis_program()) as broker,
        workplace(monkeypatch, broker.url, postgresql_url, tmp_path / "home", BATCH_SIZE="10") as found,
    ):
        yield found


def slow(frame: Any) -> Any:
    import time

    time.sleep(0.05)
    return frame.assign(double=frame["id"] * 2)


def shared(table: str = "target", **options: Any) -> datapipe.Pipeline:
    """A plan of eight partitions, which take a sixth of a second each."""
    plan = datapipe.read("source", partition_on="id", partitions=PARTS)
    plan = plan.sql("SELECT id, small, upper(name) AS name FROM input_data").apply(slow, per_batch=True)
    return plan.write(table, **{"strategy": "replace", **options})


def query(sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(os.environ["DEST_DB_URL"]) as conn:
        return conn.execute(sql.encode()).fetchall()


def check(run: datapipe.Run, helped: bool | None = True) -> None:
    """Every row is there once, and nothing else is left; what the result says about it."""
    result = run.result(60)
    assert (result.rows_read, result.rows_written) == (COUNT, COUNT)
    wrong = """SELECT * FROM (SELECT id, small, upper(name) AS name, id * 2 AS double FROM source) AS s
               FULL JOIN target AS t USING (id, small, name, double) WHERE s.id IS NULL OR t.id IS NULL"""
    assert query("SELECT count(*), count(DISTINCT id) FROM target") == [(COUNT, COUNT)]
    assert query(wrong.replace("s.id IS NULL OR t.id", "id")) == []
    assert query(f"SELECT run_id, rows_written FROM _datapipe.loads WHERE run_id = '{run.id}'") == [(run.id, COUNT)]
    until(lambda: stages() == [])
    told = next(note for note in result.notices if note.startswith("read and computed in 8 partitions on id"))
    assert helped is None or ("by other workers" in told) is helped


def process_of_helper(run: datapipe.Run, *workers: Worker) -> int:
    """The process that is at a partition of a run that another worker has."""
    helper = next(worker for worker in workers if not str(run.row.worker).startswith(f"{worker.name}@"))
    return psutil.Process(helper.pid).children()[0].pid


def transactions() -> list[tuple[Any, ...]]:
    return query(
        "SELECT application_name, query FROM pg_stat_activity "
        "WHERE application_name LIKE 'datapipe %' AND xact_start IS NOT NULL"
    )


def stages() -> list[tuple[Any, ...]]:
    return query("SELECT table_name FROM information_schema.tables WHERE table_name LIKE '\\_datapipe\\_stage%'")


def change(sql: str) -> None:
    with psycopg.connect(os.environ["DEST_DB_URL"]) as conn:
        conn.execute(sql.encode())


def partitions() -> dict[int, tuple[str, str | None]]:
    """The state and the holder of each partition."""
    store = open_store()
    assert store is not None
    with store.reading() as conn:
        found = conn.exec_driver_sql("SELECT number, state, holder FROM datapipe_partitions").all()
    return {number: (state, holder) for number, state, holder in found}


def test_a_lone_worker_does_all_of_it(environment, tmp_path):
    plan = datapipe.read("source", partition_on="id", partitions=PARTS)
    plan = plan.sql("SELECT small, count(*) AS n, sum(id) AS total FROM input_data GROUP BY small")
    with running_worker(environment, tmp_path):
        check(shared().submit(), helped=False)
        result = plan.write("grouped").submit().result(60)
    expected = "SELECT small, count(*), sum(id)::bigint FROM source GROUP BY small"
    assert query(f"({expected}) EXCEPT ALL SELECT * FROM grouped") == []
    assert (result.rows_read, result.rows_written) == (COUNT, 7)
    assert any("computed as one: transformation step 1 (sql): the SQL gathers" in note for note in result.notices)


def begun() -> bool:
    """Whether both workers are at a partition."""
    return len({holder for state, holder in partitions().values() if state == "running"}) == 2


def test_two_workers_share_a_run(environment, tmp_path):
    with running_worker(environment, tmp_path), running_worker(environment, tmp_path, "w2"):
        check(shared().submit())
        change("CREATE UNIQUE INDEX ON target (id); UPDATE target SET small = 100")
        check(shared(strategy="upsert", keys=["id"]).submit())
        cancel_one()
        fail_one()


def cancel_one() -> None:
    """A cancelled run stops its helpers, and changes nothing."""
    run = shared(table="cancelled").submit()
    until(begun)
    run.cancel()
    with pytest.raises(RunCancelled):
        run.result(30)
    until(lambda: not transactions() and not stages(), 10)
    assert query("SELECT to_regclass('cancelled')") == [(None,)]


def fail_one() -> None:
    """What goes wrong with a helper is told by the run."""
    change("CREATE TABLE narrow (id int, small int, name varchar(15), double int)")
    change("UPDATE source SET name = repeat('x', 20) WHERE id = 230")
    run = shared(table="narrow", strategy="append").submit()
    with pytest.raises(DataError, match=r"column 'name', row \d+: .* more than 15 characters \(of partition 8 of 8\)"):
        run.result(30)
    until(lambda: not stages())
    assert query("SELECT count(*) FROM narrow") == [(0,)]


def test_a_killed_helper_s_partition_is_done_by_the_run_s_own_worker(environment, tmp_path):
    with running_worker(environment, tmp_path) as first, running_worker(environment, tmp_path, "w2") as second:
        run = shared().submit()
        until(begun)
        os.kill(process_of_helper(run, first, second), signal.SIGKILL)
        check(run, helped=None)
        assert run.row.losses == 0


def test_a_run_whose_own_worker_is_killed_begins_anew(environment, tmp_path):
    with running_worker(environment, tmp_path), running_worker(environment, tmp_path, "w2"):
        run = shared().submit()
        until(lambda: begun() and stages())
        os.kill(run.row.process or 0, signal.SIGKILL)
        check(run, helped=None)
        assert run.row.losses == 1


@pytest.fixture(params=[0.1, 1])
def lineitem(environment, request, tmp_path) -> int:
    """TPC-H lineitem with an index, and its rows."""
    found = load(environment["SOURCE_DB_URL"], request.param, tmp_path)
    change("CREATE INDEX ON lineitem (l_orderkey)")
    change("ANALYZE lineitem")
    return found


def same_as_lineitem(table: str) -> bool:
    both = ("lineitem", table), (table, "lineitem")
    return all(query(f"SELECT * FROM {a} EXCEPT ALL SELECT * FROM {b} LIMIT 1") == [] for a, b in both)


@pytest.mark.soak
@pytest.mark.parametrize("killed", ["nobody", "helper", "leader", "helping worker"])
def test_lineitem_is_the_same_however_it_is_read(environment, tmp_path, lineitem, killed):
    cut = datapipe.read("lineitem", partition_on="l_orderkey", partitions=4)
    if killed == "nobody":
        assert cut.write("inline").run().rows_written == lineitem
        assert same_as_lineitem("inline")
    with running_worker(environment, tmp_path) as first, running_worker(environment, tmp_path, "w2") as second:
        run = cut.write("target").submit()
        until(begun, 60)
        until(lambda: len(stages()) > 0 or run.row.ended_for_good, 120)
        if killed == "leader":
            os.kill(run.row.process or 0, signal.SIGKILL)
        if killed == "helper":
            os.kill(process_of_helper(run, first, second), signal.SIGKILL)
        if killed == "helping worker":
            next(w for w in (first, second) if not str(run.row.worker).startswith(f"{w.name}@")).kill()
        result = run.result(400)
    assert (result.rows_read, result.rows_written, run.row.losses) == (lineitem, lineitem, int(killed == "leader"))
    assert same_as_lineitem("target")
    until(lambda: stages() == [])
    assert query(f"SELECT rows_written FROM _datapipe.loads WHERE run_id = '{run.id}'") == [(lineitem,)]
