"""Plans on a real worker: submitted, watched, cancelled, tried again; the specification's own examples."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from services import PrivateRedis, postgresql_database, private_redis, redis_program
from workerside import Worker, fresh_workers, running_worker, until

import datapipe
from datapipe.data.connections import shared
from datapipe.errors import DataError, PlanError, RunCancelled, TransientError
from datapipe.logs import bound

KEY = "k" * 40
only_redis = pytest.mark.parametrize("broker", ["redis"], indirect=True)


@pytest.fixture(scope="module", params=["redis", "valkey"])
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRedis]:
    """A server of each kind. Most tests need only one of them: see ``pytestmark``."""
    program = redis_program(request.param)
    with private_redis(program) as server:
        yield server


@pytest.fixture(scope="module")
def environment(
    broker: PrivateRedis, postgresql_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The same for this process and the workers: a broker, a database with two users, a run store."""
    home = tmp_path_factory.mktemp("home")
    with postgresql_database(postgresql_server) as url, pytest.MonkeyPatch.context() as patch:
        with psycopg.connect(url) as conn:
            conn.execute("CREATE TABLE users (id bigint, name text, email text)")
            conn.execute("INSERT INTO users VALUES (1, ' ann ', 'ANN@X'), (2, 'bob', 'b@x')")
        found = {
            "REDIS_URL": broker.url,
            "SOURCE_DB_URL": url,
            "DEST_DB_URL": url,
            "DATAPIPE_HOME": str(home),
            "DATAPIPE_SIGNING_KEY": KEY,
            "DATAPIPE_SHUTDOWN_GRACE": "1",
        }
        patch.delenv("DATAPIPE_METADATA_URL")
        patch.chdir(home)
        for name, value in found.items():
            patch.setenv(name, value)
        fresh_workers()
        yield found
        fresh_workers()
        shared().dispose()


@pytest.fixture(scope="module")
def worker(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One for most tests; those that end it or do without have queues of their own."""
    retrying = {"MAX_RETRIES": "1", "RETRY_BACKOFF_BASE": "0.1"}
    with running_worker({**environment, **retrying}, tmp_path_factory.mktemp("w1")) as found:
        yield found


def count(table: str) -> int:
    with psycopg.connect(os.environ["DEST_DB_URL"]) as conn:
        row = conn.execute(f"SELECT count(*) FROM {table}").fetchone()  # type: ignore[arg-type]  # a test's own text
    assert row
    return int(row[0])


def sleeping(seconds: float, table: str = "slept") -> datapipe.Pipeline:
    """A plan whose source takes its time."""
    query = f"SELECT 1::bigint AS id FROM pg_sleep({seconds})"
    return datapipe.read(query, source=os.environ["SOURCE_DB_URL"]).write(table, to=os.environ["DEST_DB_URL"])


def users(function: Callable[..., Any] | None = None) -> datapipe.Pipeline:
    plan = datapipe.read("SELECT * FROM users")
    return (plan.apply(function) if function else plan).write("users_copy")


def test_the_specifications_example(worker: Worker) -> None:
    from datapipe.workers.tasks import run_pipeline

    result = run_pipeline.delay(
        pipeline_config={
            "ingestion": {"query": "SELECT * FROM users", "source_db_url": os.environ["SOURCE_DB_URL"]},
            "transformation": {
                "type": "sql",
                "config": {"sql_query": "SELECT id, UPPER(name) AS name FROM input_data"},
            },
            "persistence": {"table_name": "users_staging", "strategy": "insert"},
        },
        pipeline_id="pipeline_001",
    )
    pipeline_result = result.get(timeout=60)
    assert f"Processed {pipeline_result['ingestion']['row_count']} rows" == "Processed 2 rows"
    assert pipeline_result["pipeline_id"] == "pipeline_001"
    assert pipeline_result["persistence"]["rows_written"] == 2
    assert count("users_staging") == 2
    run = datapipe.attach("pipeline_001")
    assert run.id == result.id
    assert (run.status, run.row.rows_read, run.row.worker) == ("succeeded", 2, f"w1@{os.uname().nodename}")


@only_redis
def test_a_task_that_fails_tells_celery_why(worker: Worker) -> None:
    from datapipe.workers.tasks import run_pipeline

    config = {"ingestion": {"query": "SELECT * FROM nowhere"}, "persistence": {"table_name": "t"}}
    result = run_pipeline.delay(config, pipeline_id="example_002")
    with pytest.raises(PlanError, match="nowhere"):
        result.get(timeout=60)


def test_submit_watch_and_result(worker: Worker) -> None:
    run = users(lambda frame: frame.assign(name=frame["name"].str.strip())).submit(pipeline_id="daily")
    result = run.result(60)
    assert (result.state, result.rows_read, result.rows_written, result.run_id) == ("succeeded", 2, 2, run.id)
    assert run.watch() == "succeeded"
    assert [step.rows_out for step in run.progress][:2] == [2, 2]
    assert datapipe.attach("daily").id == run.id
    assert run.id in {found.id for found in datapipe.runs()}


@only_redis
def test_a_failure_arrives_as_it_was(worker: Worker) -> None:
    def broken(frame: Any) -> Any:
        raise ValueError("no such user")  # this very line

    run = users(broken).submit()
    with pytest.raises(DataError, match="no such user") as caught:
        run.result(60)
    assert caught.value.step == "transformation step 1 (code)"
    assert caught.value.result.run_id == run.id
    note = "".join(caught.value.__notes__)
    assert f"On w1@{os.uname().nodename}" in note
    assert 'raise ValueError("no such user")  # this very line' in note


def test_cancel_stops_the_query_of_the_worker(worker: Worker) -> None:
    run = sleeping(60).submit()
    until(lambda: run.status == "running")
    until(lambda: busy() == 1)
    assert run.cancel()
    assert until(lambda: busy() == 0, 5) < 2
    until(lambda: run.status == "cancelled", 5)
    with pytest.raises(RunCancelled):
        run.result(10)
    assert sleeping(0).submit().result(60).state == "succeeded", "the worker lives"


def busy() -> int:
    with psycopg.connect(os.environ["SOURCE_DB_URL"]) as conn:
        text = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
        row = conn.execute(text).fetchone()
    assert row
    return int(row[0])


@only_redis
def test_cancel_leaves_a_function(worker: Worker) -> None:
    def slow(frame: Any) -> Any:
        import time

        time.sleep(60)
        return frame

    run = users(slow).submit()
    until(lambda: run.status == "running" and run.progress)
    run.cancel()
    assert until(lambda: run.status == "cancelled", 10) < 3


@only_redis
def test_a_queued_run_is_cancelled_at_once_and_never_begins(environment: dict[str, str], tmp_path: Path) -> None:
    run = users().submit(queue="nobodys")
    assert run.status == "queued"
    assert run.cancel()
    assert run.status == "cancelled"
    with running_worker(environment, tmp_path, "w3", queues="nobodys"):
        datapipe.read("users").write("after_it").submit(queue="nobodys").result(60)
    assert (run.status, count("after_it")) == ("cancelled", 2)


@only_redis
def test_retry_runs_the_same_plan_under_the_same_id(worker: Worker) -> None:
    plan = datapipe.read("SELECT * FROM later").write("copied")
    run = plan.submit()
    with pytest.raises(PlanError, match="later"):
        run.result(60)
    with psycopg.connect(os.environ["SOURCE_DB_URL"]) as conn:
        conn.execute("CREATE TABLE later AS SELECT 1 AS id")
    assert run.retry() is run
    assert run.result(60).rows_written == 1
    with pytest.raises(PlanError, match="is succeeded"):
        run.retry()


@only_redis
def test_a_plan_names_its_queue(worker: Worker, environment: dict[str, str], tmp_path: Path) -> None:
    heavy = users().submit(queue="heavy")
    users().submit().result(60)
    assert heavy.status == "queued"
    assert heavy.row.queue == "heavy"
    with pytest.raises(TransientError, match="datapipe worker --queues heavy"):
        heavy.result(0.3)
    with running_worker(environment, tmp_path, "w2", queues="heavy"):
        assert heavy.result(60).state == "succeeded"


@only_redis
def test_a_worker_that_stops_puts_its_run_back(environment: dict[str, str], tmp_path: Path) -> None:
    with running_worker(environment, tmp_path, "w4", queues="stopping") as stopping:
        run = sleeping(8, "stopped").submit(queue="stopping")
        until(lambda: run.status == "running")
        assert stopping.stop(20) == 0
    assert (run.status, run.row.losses) == ("queued", 0)
    with running_worker(environment, tmp_path, "w5", queues="stopping"):
        assert run.result(60).rows_written == 1
    assert count("stopped") == 1


@only_redis
def test_a_worker_with_another_store_says_so(worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_HOME", str(tmp_path / "another"))
    run = users().submit()
    with pytest.raises(PlanError, match=r"another run store.*DATAPIPE_METADATA_URL"):
        run.result(30)
    assert run.status == "failed"


@only_redis
def test_without_a_broker_nothing_is_queued(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(datapipe.runs(1000))
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    fresh_workers()
    with pytest.raises(TransientError, match=r"broker cannot be reached.*Nothing was queued"):
        users().submit()
    monkeypatch.undo()
    fresh_workers()
    assert len(datapipe.runs(1000)) == before


@only_redis
def test_each_line_of_a_workers_log_says_whose_it_is(worker: Worker, tmp_path: Path) -> None:
    """A run that is tried again, and one that fails on a value: by their ids, and without the value."""
    tried = str(tmp_path / "tried")

    def passing(frame: Any) -> Any:
        import logging
        from pathlib import Path

        from datapipe.errors import TransientError

        logging.getLogger("mine").warning("looking")
        if not Path(tried).exists():
            Path(tried).touch()
            raise TransientError("not yet")
        return frame

    with bound(correlation_id="order-17"):
        run = users(passing).submit(pipeline_id="nightly")
    assert run.result(60).attempts == 2
    wrong = users(lambda frame: frame.assign(name=frame["email"].astype(int))).submit()
    with pytest.raises(DataError, match=r"ANN@X|b@x"):
        wrong.result(60)
    until(lambda: f"[{wrong.id}] raised expected" in worker.log)
    told = [json.loads(line) for line in worker.log.splitlines()]  # each of them is an object
    of_the_run = [line for line in told if run.id in json.dumps(line) and line["logger"] != "celery.worker.strategy"]
    whose = {"run_id": run.id, "task_id": run.id, "correlation_id": "order-17", "pipeline_id": "nightly"}
    assert [line for line in of_the_run if not whose.items() <= line.items()] == []
    messages = [line["message"] for line in of_the_run]
    assert messages[0] == "run started" and messages.count("attempt failed") == 1 and "run succeeded" in messages
    assert [line["step"] for line in told if line["logger"] == "mine"] == ["transformation step 1 (code)"] * 2
    failed = next(line for line in told if line["message"] == "run failed" and line["run_id"] == wrong.id)
    assert (failed["level"], failed["correlation_id"]) == ("ERROR", wrong.id)
    assert "ANN@X" not in worker.log and "b@x" not in worker.log


@only_redis
def test_passwords_stay_here(worker: Worker, broker: PrivateRedis) -> None:
    url = os.environ["SOURCE_DB_URL"]
    password = url.split("//")[1].split("@")[0].partition(":")[2]
    run = datapipe.read("SELECT * FROM users", source=url).write("secret_copy", to=url).submit()
    assert run.result(60).rows_written == 2
    kept = "".join(str(broker.client.get(key)) for key in broker.client.keys("celery-task-meta-*"))
    store = b"".join(path.read_bytes() for path in Path(os.environ["DATAPIPE_HOME"]).glob("runs.db*"))
    assert password
    assert password not in kept
    assert password.encode() not in store
    assert password not in worker.log


@only_redis
def test_many_are_submitted_quickly(environment: dict[str, str]) -> None:
    ids = {users().submit(queue="nobodys").id for _ in range(200)}
    assert (datapipe.runs(300).frame.set_index("id").loc[list(ids), "state"] == "queued").sum() == 200


KERNEL = """
plan = datapipe.read("SELECT * FROM users").apply(lambda frame: frame.assign(name=tidy(frame["name"]))).write("from_cell")
print(plan.submit().result(60).rows_written)
"""


@only_redis
def test_functions_of_a_kernels_cells(worker: Worker, environment: dict[str, str]) -> None:
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", env={**os.environ, **environment})
    try:

        def run(code: str) -> str:
            said: list[str] = []

            def heard(message: Any) -> None:
                content = message["content"]
                said.append(content.get("text") or "\n".join(content.get("traceback", ())))

            client.execute_interactive(code, timeout=120, output_hook=heard)
            return "".join(said)

        assert run("import datapipe\ndef tidy(names):\n    return names.str.strip()") == ""
        assert run(KERNEL).strip() == "2"
        told = run(
            "def wrong(frame):\n    return frame['nobody']  # in a cell\n\n"
            "datapipe.read('SELECT * FROM users').apply(wrong).write('t').submit().result(60)"
        )
        assert "return frame['nobody']  # in a cell" in told
        assert "KeyError" in told
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert count("from_cell") == 2
    with psycopg.connect(os.environ["DEST_DB_URL"]) as conn:
        assert conn.execute("SELECT name FROM from_cell ORDER BY id").fetchall() == [("ann",), ("bob",)]


@only_redis
def test_the_command_line(worker: Worker, forked_cli: Path) -> None:
    def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([forked_cli, *arguments], capture_output=True, text=True, check=False)

    done = cli("submit", "--query", "SELECT * FROM users", "--table-name", "by_hand", "--wait", "--json")
    assert done.returncode == 0, done.stderr
    assert '"rows_written": 2' in done.stdout
    failed = cli("submit", "--query", "SELECT * FROM nowhere", "--table-name", "by_hand")
    run_id = failed.stdout.strip()
    assert cli("watch", run_id).returncode == 1
    assert "nowhere" in cli("status", run_id).stdout
    assert cli("retry", run_id).stdout.strip() == f"run {run_id} is queued again"
    until(lambda: datapipe.attach(run_id).status == "failed")
    assert cli("cancel", run_id).returncode == 1
