"""Runs survive whatever happens to processes, workers and Redis, and take effect once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from services import PrivateRedis, private_redis, redis_program
from workerside import PROGRAM, Worker, running_worker, until, workplace

import datapipe
from datapipe.engine import RunOptions
from datapipe.errors import FatalError, TransientError
from datapipe.history import Run
from datapipe.plan import parse


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[PrivateRedis]:
    """A server that the test may kill; it keeps nothing on disk."""
    program = redis_program()
    with private_redis(program) as server:
        yield server


@pytest.fixture
def environment(
    broker: PrivateRedis, postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    with psycopg.connect(postgresql_url) as conn:
        conn.execute("CREATE TABLE slept (id bigint)")
    with workplace(monkeypatch, broker.url, postgresql_url, tmp_path / "home", DATAPIPE_SHUTDOWN_GRACE="1") as found:
        yield found


def sleeping(seconds: float) -> datapipe.Pipeline:
    return datapipe.read(f"SELECT 1::bigint AS id FROM pg_sleep({seconds})").write("slept")


def rows() -> int:
    with psycopg.connect(os.environ["DEST_DB_URL"]) as conn:
        row = conn.execute("SELECT count(*) FROM slept").fetchone()
    assert row
    return int(row[0])


def running(run: datapipe.Run, but: int | None = None) -> bool:
    row = run.row
    return row.state == "running" and row.process != but


def test_a_killed_process_costs_a_second(environment: dict[str, str], tmp_path: Path) -> None:
    with running_worker(environment, tmp_path) as worker:
        run = sleeping(3).submit()
        until(lambda: running(run))
        first = run.row.process
        os.kill(first or 0, signal.SIGKILL)
        assert until(lambda: running(run, first), 15) < 10
        assert run.result(60).rows_written == 1
        assert (run.row.losses, rows()) == (1, 1)
        assert worker.process is not None
        assert worker.process.poll() is None


def test_a_run_that_always_kills_its_process_is_given_up(environment: dict[str, str], tmp_path: Path) -> None:
    def deadly(frame: Any) -> Any:
        import os

        os.kill(os.getpid(), 9)
        return frame

    with running_worker(environment, tmp_path) as worker:
        run = datapipe.read("SELECT 1 AS id").apply(deadly).write("slept").submit()
        with pytest.raises(FatalError, match="3 workers died with it"):
            run.result(90)
        assert (run.status, run.row.reason, run.row.losses) == ("failed", "worker_lost_3x", 3)
        assert sleeping(0).submit().result(60).rows_written == 1, "the worker lives, the queue goes on"
        assert worker.process is not None
        assert worker.process.poll() is None
        assert worker.log.count("exited prematurely") <= 6


def test_a_killed_worker_s_run_goes_to_another_one(environment: dict[str, str], tmp_path: Path) -> None:
    with running_worker(environment, tmp_path) as worker:
        run = sleeping(5).submit()
        until(lambda: running(run))
        worker.kill()
    with running_worker(environment, tmp_path, "w2"):
        assert run.result(90).rows_written == 1
    assert (run.row.losses, rows()) == (1, 1)
    assert (run.row.worker or "").startswith("w2@")


def test_a_task_longer_than_the_visibility_timeout_runs_once(
    environment: dict[str, str], tmp_path: Path, postgresql_url: str
) -> None:
    command = tmp_path / "impatient.py"
    command.write_text(
        "from datapipe.workers.app import app\n"
        "app.conf.broker_transport_options = {**app.conf.broker_transport_options,"
        " 'visibility_timeout': 2, 'unacked_restore_interval': 1}\n"
        "from datapipe.workers.run_worker import main\nmain()\n"
    )
    workers = [Worker(name, environment, tmp_path, command=(sys.executable, str(command))) for name in ("w1", "w2")]
    try:
        for worker in workers:
            worker.start()
        run = sleeping(10).submit()
        assert run.result(60).rows_written == 1
        received = sum(worker.log.count(f"[{run.id}] received") for worker in workers)
    finally:
        for worker in workers:
            worker.kill()
    assert received > 1, "the broker has delivered it again"
    assert (run.row.losses, rows()) == (0, 1)
    with psycopg.connect(postgresql_url) as conn:
        assert conn.execute("SELECT count(*) FROM _datapipe.loads").fetchone() == (1,)


def staged() -> Run:
    """A single stage as somebody else has sent it, over HTTP."""
    from datapipe.workers.jobs import Job  # each test has an application of its own
    from datapipe.workers.queue import needed_store
    from datapipe.workers.sealing import document
    from datapipe.workers.staging import queue_stage

    plan, options = parse(document("ingest", {"query": "SELECT 1 AS id"})), RunOptions()
    queue_stage(needed_store(), Job.of("ingest", plan, False, None), plan, None, options, {"via": "rest"})
    return Run(options.run_id)


def test_what_redis_forgets_is_queued_again(environment: dict[str, str], broker: PrivateRedis, tmp_path: Path) -> None:
    before = [sleeping(0).submit() for _ in range(5)]
    stage, cancelled = staged(), staged()
    broker.client.flushall()
    assert cancelled.cancel() and cancelled.retry().status == "queued"
    with running_worker(environment, tmp_path):
        until(lambda: {stage.status, cancelled.status} == {"succeeded"}, 60)
        for run in before:
            assert run.result(60).rows_written == 1
        broker.kill()
        broker.start()
        assert sleeping(0).submit().result(60).rows_written == 1, "the worker consumes again"
    assert rows() == 6


def test_a_run_ends_well_while_redis_is_away(environment: dict[str, str], broker: PrivateRedis, tmp_path: Path) -> None:
    with running_worker(environment, tmp_path):
        run = sleeping(4).submit()
        until(lambda: running(run))
        broker.kill()
        until(lambda: run.status == "succeeded", 30)
        broker.start()
        assert sleeping(0).submit().result(90).rows_written == 1
    assert rows() == 2


def test_a_run_that_takes_too_long_is_stopped(environment: dict[str, str], tmp_path: Path) -> None:
    with running_worker({**environment, "DATAPIPE_RUN_TIMEOUT": "2"}, tmp_path):
        run = sleeping(60).submit()
        with pytest.raises(FatalError, match=r"took longer than 2 s.*DATAPIPE_RUN_TIMEOUT"):
            run.result(30)
    assert rows() == 0


def test_a_function_that_does_not_stop_is_killed(environment: dict[str, str], tmp_path: Path) -> None:
    command = tmp_path / "strict.py"
    command.write_text(
        "import datapipe.workers.app as module\n"
        "module.KILL_AFTER = 2.0\n"
        "from datapipe.workers.run_worker import main\nmain()\n"
    )

    def stubborn(frame: Any) -> Any:
        import time

        while True:
            with contextlib.suppress(KeyboardInterrupt):
                time.sleep(60)

    patience = {**environment, "DATAPIPE_RUN_TIMEOUT": "2"}
    worker = Worker("w1", patience, tmp_path, command=(sys.executable, str(command)))
    try:
        worker.start()
        run = datapipe.read("SELECT 1::bigint AS id").apply(stubborn).write("slept").submit()
        with pytest.raises(FatalError, match="did not end within 4 s, and its process was killed"):
            run.result(60)
        assert (run.row.reason, run.row.losses, rows()) == ("timed_out", 0, 0)
        assert sleeping(0).submit().result(60).rows_written == 1
    finally:
        worker.kill()


def test_a_full_redis_takes_nothing(environment: dict[str, str], broker: PrivateRedis) -> None:
    with broker.client as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
    with pytest.raises(TransientError, match="Nothing was queued"):
        sleeping(0).submit()
    assert len(datapipe.runs()) == 0


@pytest.mark.soak  # it takes a minute
def test_a_worker_that_takes_no_messages_starts_anew(environment: dict[str, str], tmp_path: Path) -> None:
    worker = Worker("w1", environment, tmp_path, command=PROGRAM)
    try:
        worker.start()
        from datapipe.workers.app import app

        app.control.cancel_consumer("datapipe", reply=True)
        run = sleeping(0).submit()
        time.sleep(2)
        assert run.status == "queued"
        assert run.result(90).rows_written == 1
        assert "takes no messages" in worker.log
        assert worker.process is not None
        assert worker.process.poll() is None, "the same process"
    finally:
        worker.kill()
