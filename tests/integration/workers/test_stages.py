"""ingest, transform and persist as tasks: in chains and alone, exactly once, without a password anywhere."""

from __future__ import annotations

import base64
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from celery import chain, group
from services import private_redis, redis_program
from workerside import Worker, fresh_workers, running_worker, until

from datapipe.errors import DataError, FatalError, PlanError
from datapipe.store import open_store

KEY = "k" * 40
# Celery leaves the sockets of a client that has failed to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SOURCE = """
CREATE TABLE people AS SELECT n AS id, 'person ' || n AS name, (n * 1.10)::numeric(10,2) AS amount,
    n::numeric AS exact, ('{"n": ' || n || '}')::jsonb AS data, gen_random_uuid() AS key, now() AS at
FROM generate_series(1, 1000) AS n
"""
FUNCTIONS = """
import os, pathlib, signal, time
def double(df):
    df["amount"] = df["amount"] * 2
    return df
def slow(df):
    pathlib.Path("slow.started").touch()
    while not pathlib.Path("slow.go").exists():
        time.sleep(0.05)
    return df
def deadly(df):
    with open("deaths", "a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server for these tests."""
    program = redis_program()
    with private_redis(program) as server:
        yield server.url


@pytest.fixture
def url(postgresql_url: str) -> str:
    """A database with 1000 people; the URL holds a password."""
    with psycopg.connect(postgresql_url) as conn:
        conn.execute(SOURCE)
    assert password_of(postgresql_url)
    return postgresql_url


def password_of(url: str) -> bytes:
    return (urlsplit(url).password or "").encode()


@pytest.fixture
def folder(tmp_path: Path, redis_url: str, url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of client and workers, with an environment that both have."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    (tmp_path / "stage_functions.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATAPIPE_METADATA_URL")
    for name, value in {
        "REDIS_URL": redis_url,
        "DATAPIPE_HOME": str(tmp_path / "home"),
        "DATAPIPE_CONNECTION_OWN": url,
        "DATAPIPE_FUNCTION_MODULES": "stage_functions",
    }.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def fresh_tasks() -> ModuleType:
    """The tasks as a new process has them, which reads the environment."""
    fresh_workers()
    from datapipe.workers import tasks

    return tasks


def closed(tasks: ModuleType) -> None:
    """Close what a client has opened."""
    app: Any = tasks.app
    if app.backend.result_consumer._pubsub is not None:
        app.backend.result_consumer.stop()
    app.backend.client.connection_pool.disconnect()
    app.close()


@contextmanager
def stage_worker(folder: Path, variables: Mapping[str, str] | None = None, name: str = "w1") -> Iterator[Worker]:
    """A worker that finds the functions of these tests."""
    path = f"{Path(__file__).parents[3]}{os.pathsep}{folder}"
    with running_worker({"PYTHONPATH": path, **(variables or {})}, folder, name) as worker:
        yield worker


@pytest.fixture
def tasks(folder: Path) -> Iterator[ModuleType]:
    """The tasks, and nobody who does them."""
    found = fresh_tasks()
    yield found
    closed(found)


@pytest.fixture
def worked(tasks: ModuleType, folder: Path) -> Iterator[ModuleType]:
    """The tasks, and a worker."""
    with stage_worker(folder):
        yield tasks


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(query.encode()).fetchall()


def spooled(folder: Path) -> list[Path]:
    return list((folder / "home" / "spool").glob("*.arrow"))


def everything_in_redis(redis_url: str) -> bytes:
    """The contents of every key, those of messages decoded."""
    found = b""
    with redis.Redis.from_url(redis_url) as client:
        for key in client.keys("*"):
            kind = client.type(key)
            read = {
                b"list": lambda key: client.lrange(key, 0, -1),
                b"hash": client.hgetall,
                b"set": client.smembers,
                b"zset": lambda key: client.zrange(key, 0, -1),
                b"string": client.get,
                b"none": client.exists,  # it has gone meanwhile
            }[kind]
            found += key + repr(read(key)).encode()
    bodies = re.findall(rb'body[\\"]+: [\\"]+([A-Za-z0-9+/=]+)', found)
    return found + b"".join(base64.b64decode(body) for body in bodies)


SQL = {"sql_query": "SELECT id, upper(name) AS name, amount FROM input_data WHERE id > 10"}


def test_a_chain_takes_rows_from_one_database_to_the_other(worked: ModuleType, url: str, folder: Path) -> None:
    found = chain(
        worked.ingest.s(query="SELECT * FROM people WHERE id <= :most", source_db_url=url, parameters={"most": 20}),
        worked.transform.s(type="sql", config=SQL),
        worked.persist.s(table_name="users", strategy="upsert", upsert_keys=["id"], dest_db_url=url),
    ).apply_async()
    result = found.get(timeout=60)
    assert (result["rows_written"], result["deduplicated"], result["table_name"]) == (10, 0, "users")
    middle, first = found.parent.get(timeout=5), found.parent.parent.get(timeout=5)
    assert (first["row_count"], middle["row_count"]) == (20, 10)
    assert middle["columns"] == {"id": "bigint", "name": "text", "amount": "numeric(10,2)"} | {"id": "integer"}
    assert rows(url, "SELECT count(*), min(name) FROM users") == [(10, "PERSON 11")]
    assert spooled(folder) == []
    recorded = {row.id: (row.state, row.name, row.correlation_id) for row in open_store().runs()}
    assert recorded == {
        task_id: ("succeeded", name, first["task_id"])
        for task_id, name in [
            (first["task_id"], "ingest"),
            (middle["task_id"], "transform"),
            (result["task_id"], "persist"),
        ]
    }


def test_each_task_alone(worked: ModuleType, url: str) -> None:
    first = worked.ingest.delay("SELECT * FROM people", url).get(timeout=60)
    second = worked.transform.delay(first, "config", {"select": ["id", "amount"], "limit": 3}).get(timeout=60)
    third = worked.transform.delay(second, "code", {"function": "stage_functions:double"}).get(timeout=60)
    last = worked.persist.delay(third, "three", dest_db_url=url).get(timeout=60)
    assert (first["row_count"], second["row_count"], last["rows_written"]) == (1000, 3, 3)
    assert rows(url, "SELECT sum(amount) FROM three") == [(Decimal("13.20"),)]


def test_tasks_called_as_functions(tasks: ModuleType, url: str, folder: Path) -> None:
    def halve(df: Any) -> Any:
        return df.assign(id=df["id"] // 2)

    first = tasks.ingest(query="SELECT id FROM people", source_db_url=url)
    second = tasks.transform(first, "code", {"function": halve})
    assert tasks.persist(second, "halves", dest_db_url=url)["rows_written"] == 1000
    assert rows(url, "SELECT max(id) FROM halves") == [(500,)]
    assert spooled(folder) == []


def test_no_password_gets_into_the_broker(tasks: ModuleType, url: str, folder: Path, redis_url: str) -> None:
    extra = {"ingestion": {"query": "SELECT 1 AS one", "source_db_url": url}}
    step = {"sql_query": "SELECT id, one FROM input_data, other", "tables": {"other": extra}}
    persist = tasks.persist.s(table_name="users", strategy="replace", dest_db_url=url)
    started = [
        chain(
            tasks.ingest.s(query="SELECT id FROM people", source_db_url=url), tasks.transform.s("sql", step), persist
        ),
        chain(tasks.ingest.s("SELECT id FROM people", url), group(persist, tasks.persist.s("b", dest_db_url=url))),
    ]
    for canvas in started:
        canvas.apply_async()
    tasks.ingest.apply_async(("SELECT id FROM people", url), link=tasks.transform.s("sql", step) | persist)
    assert password_of(url) not in everything_in_redis(redis_url)
    assert b"people" in everything_in_redis(redis_url)
    with stage_worker(folder) as worker:
        until(lambda: b"rows_written" in everything_in_redis(redis_url))
        time.sleep(2)
        assert password_of(url) not in everything_in_redis(redis_url)
        assert password_of(url).decode() not in worker.log
    assert not [
        path for path in (folder / "home").rglob("*") if path.is_file() and password_of(url) in path.read_bytes()
    ]


def test_a_signature_of_somebody_else_is_sealed_too(tasks: ModuleType, url: str, redis_url: str) -> None:
    app = tasks.app
    later = app.signature("datapipe.persist", kwargs={"table_name": "users", "dest_db_url": url})
    chain(tasks.ingest.s(query="SELECT id FROM people", source_db_url=url), later).apply_async()
    assert password_of(url) not in everything_in_redis(redis_url)


def test_tasks_that_run_twice_take_effect_once(worked: ModuleType, url: str, folder: Path) -> None:
    def again(task: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """A message delivered twice, the second time when the first has been done."""
        task_id = os.urandom(8).hex()
        return tuple(task.apply_async(args, kwargs, task_id=task_id).get(timeout=60) for _ in range(2))  # type: ignore[return-value]  # two

    first, same = again(worked.ingest, "SELECT id, amount FROM people", url)
    assert first == same
    second, same = again(worked.transform, first, "sql", {"sql_query": "SELECT * FROM input_data LIMIT 5"})
    assert second == same
    assert [path.name for path in spooled(folder)] == [second["spool"]]
    last, same = again(worked.persist, second, "twice", dest_db_url=url)
    assert (last["rows_written"], same["rows_written"], same["run_id"]) == (5, 5, last["run_id"])
    assert rows(url, "SELECT count(*) FROM twice") == [(5,)]
    assert spooled(folder) == []


def test_the_ledger_knows_a_load_when_records_and_rows_are_gone(
    tasks: ModuleType, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datapipe.engine import RunOptions, run_recorded
    from datapipe.workers import jobs, sealing, spool

    rows_ = tasks.ingest(query="SELECT id FROM people", source_db_url=url)
    persistence = {"table_name": "once", "dest_db_url": url}
    plan, keep = sealing.plan_of("persist", "task-1", None, persistence)
    job = jobs.Job.of("persist", plan, keep, rows_)
    first = jobs.do(job, RunOptions(run_id="task-1"), run_recorded)
    assert spool.sweep_spool(older_than=-1) and not spooled(folder)
    monkeypatch.setenv("DATAPIPE_METADATA_URL", "off")
    assert jobs.do(job, RunOptions(run_id="task-1"), run_recorded)["rows_written"] == first["rows_written"] == 1000
    assert rows(url, "SELECT count(*) FROM once") == [(1000,)]
    with pytest.raises(FatalError, match="not in the spool"):
        jobs.do(job, RunOptions(run_id="task-2"), run_recorded)
    assert rows(url, "SELECT count(*) FROM once") == [(1000,)]


def test_one_input_for_two_tasks(worked: ModuleType, url: str, folder: Path) -> None:
    both = [worked.persist.s(name, dest_db_url=url, keep=True) for name in ("left_", "right_")]
    canvas = chain(worked.ingest.s("SELECT id FROM people", url), group(both)).apply_async()
    assert [found["rows_written"] for found in canvas.get(timeout=60)] == [1000, 1000]
    assert len(spooled(folder)) == 1, "it waits for the sweep"


def test_errors_keep_their_class_and_their_whole_text(worked: ModuleType, url: str) -> None:
    bad = worked.ingest.delay("SELECT nothing FROM people", url)
    with pytest.raises(PlanError, match=r'ingestion: .*"?nothing"? .*'):
        bad.get(timeout=60)
    first = worked.ingest.delay("SELECT 1 AS id UNION ALL SELECT 1", url).get(timeout=60)
    last = worked.persist.delay(first, "unique_", "insert", ["id"], url)
    with pytest.raises(DataError, match=r"persistence: .*id"):
        last.get(timeout=60)
    assert worked.persist.delay(first, "both", dest_db_url=url).get(timeout=60)["rows_written"] == 2, "its input stays"
    from datapipe.workers.stages import task_status

    status = task_status(last.id)
    assert (status["state"], status["error"]["type"]) == ("failed", "DataError")
    assert task_status(first["task_id"]) == {"task_id": first["task_id"], "state": "succeeded", "result": first}
    assert task_status(bad.id[:-1] + "x")["state"] == "unknown"


def test_a_task_that_nobody_has_taken_is_queued(tasks: ModuleType) -> None:
    from datapipe.workers.stages import task_status

    assert task_status(tasks.ingest.delay("SELECT 1", "sqlite://").id)["state"] == "queued"


def test_mistakes_are_told_before_anything_is_queued(tasks: ModuleType, url: str, redis_url: str) -> None:
    wrong = [
        lambda: tasks.ingest.delay("DELETE FROM people", url),
        lambda: tasks.transform.delay({"spool": "x"}, "sqll", {}),
        lambda: tasks.persist.delay({"spool": "x"}, "users", "upsert", dest_db_url=url),
        lambda: tasks.persist.delay({"spool": "x"}, "users", dest_db_urll=url),
        lambda: chain(tasks.ingest.s("SELECT 1"), tasks.persist.s(table="users")).apply_async(),
        lambda: tasks.transform.delay({"spool": "x"}, "code", {"function": "stage_functions:dubble"}),
        lambda: tasks.transform.delay({"spool": "x"}, "code", {"function": lambda frame: frame}),
    ]
    for call in wrong:
        with pytest.raises(PlanError):
            call()
    assert b"datapipe." not in everything_in_redis(redis_url)


@pytest.mark.parametrize("previous", ["/etc/passwd", {"spool": "../x"}, {"row_count": 1}, None, [1]], ids=repr)
def test_only_rows_of_the_spool_are_read(tasks: ModuleType, url: str, previous: Any) -> None:
    for call in (
        lambda: tasks.transform(previous, "sql", {"sql_query": "FROM input_data"}),
        lambda: tasks.persist(previous, "users", dest_db_url=url),
    ):
        with pytest.raises(PlanError, match=r"no file of the spool|nothing to read"):
            call()


def test_functions_run_only_if_they_may(tasks: ModuleType, url: str, folder: Path) -> None:
    first = tasks.ingest(query="SELECT id, amount FROM people", source_db_url=url)
    step = {"function": "stage_functions:double"}
    raw = {"args": [first], "kwargs": {"type": "code", "config": step}}
    with stage_worker(folder, {"DATAPIPE_FUNCTION_MODULES": ""}, "none"):
        for sent in (tasks.transform.delay(first, "code", step), tasks.app.send_task("datapipe.transform", **raw)):
            with pytest.raises(PlanError, match="may not call 'stage_functions:double'"):
                sent.get(timeout=60)
    with stage_worker(folder, {"DATAPIPE_SIGNING_KEY": KEY}, "key"):
        for sent in (tasks.transform.delay(first, "code", step), tasks.app.send_task("datapipe.transform", **raw)):
            with pytest.raises(PlanError, match="not signed"):
                sent.get(timeout=60)


def test_signed_functions_travel_in_chains(
    tasks: ModuleType, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tripled(df: Any) -> Any:
        return df.assign(id=df["id"] * 3)

    tripled.__module__ = "__main__"  # as in a notebook
    monkeypatch.setenv("DATAPIPE_SIGNING_KEY", KEY)
    with stage_worker(folder, {"DATAPIPE_FUNCTION_MODULES": ""}) as worker:
        last = tasks.persist.s("tripled", dest_db_url=url)
        canvas = chain(
            tasks.ingest.s("SELECT id FROM people", url), tasks.transform.s("code", {"function": tripled}), last
        )
        assert canvas.apply_async().get(timeout=60)["rows_written"] == 1000, worker.log
        assert rows(url, "SELECT max(id) FROM tripled") == [(3000,)]
        # A signed message with another one smuggled in behind it: the worker does not sign that.
        from datapipe.workers.sealing import sealed_call

        _, sealed = sealed_call("ingest", ("SELECT id FROM people", url), {}, "smuggler-1", KEY)
        evil = {
            "task": "datapipe.transform",
            "args": [],
            "kwargs": {"type": "code", "config": {"function": "os:system"}},
        }
        evil |= {"options": {"task_id": "smuggler-2"}, "subtask_type": None, "immutable": False}
        tasks.app.send_task("datapipe.ingest", kwargs=sealed, task_id="smuggler-1", chain=[evil])
        with pytest.raises(PlanError, match="not signed"):
            tasks.app.AsyncResult("smuggler-2").get(timeout=60)


def test_a_process_that_is_killed_loses_nothing(worked: ModuleType, url: str, folder: Path) -> None:
    canvas = chain(
        worked.ingest.s("SELECT id FROM people", url),
        worked.transform.s("code", {"function": "stage_functions:slow"}),
        worked.persist.s("survived", dest_db_url=url),
    ).apply_async()
    until((folder / "slow.started").exists)
    (row,) = [row for row in open_store().runs() if row.state == "running"]
    (folder / "slow.started").unlink()
    os.kill(row.process, signal.SIGKILL)
    until((folder / "slow.started").exists)
    (folder / "slow.go").touch()
    assert canvas.get(timeout=60)["rows_written"] == 1000
    assert rows(url, "SELECT count(*) FROM survived") == [(1000,)]
    assert open_store().run(row.id).losses == 1
    assert spooled(folder) == []


def test_a_worker_that_stops_puts_its_task_back(
    tasks: ModuleType, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tasks.ingest(query="SELECT id FROM people", source_db_url=url)
    with stage_worker(folder, {"DATAPIPE_SHUTDOWN_GRACE": "0"}, "first") as worker:
        found = tasks.transform.delay(first, "code", {"function": "stage_functions:slow"})
        until((folder / "slow.started").exists)
        worker.stop()
    assert open_store().run(found.id).state == "queued"
    (folder / "slow.go").touch()
    with stage_worker(folder, name="second"):
        assert found.get(timeout=60)["row_count"] == 1000


def test_a_task_that_kills_its_workers_is_given_up_and_says_so(worked: ModuleType, url: str, folder: Path) -> None:
    first = worked.ingest(query="SELECT id FROM people", source_db_url=url)
    found = worked.transform.delay(first, "code", {"function": "stage_functions:deadly"})
    with pytest.raises(FatalError, match="given up: 3 workers died"):
        found.get(timeout=120)
    assert (folder / "deaths").read_text() == "xxx"


def test_a_broker_that_is_away_is_named(tasks: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    from datapipe.errors import TransientError

    monkeypatch.setenv("REDIS_URL", "redis://:hush@127.0.0.1:1/0")
    away = fresh_tasks()
    with pytest.raises(TransientError, match="broker cannot be reached") as caught:
        away.ingest.delay("SELECT 1", "sqlite://")
    closed(away)
    assert "hush" not in str(caught.value)
