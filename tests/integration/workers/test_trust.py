"""What somebody who can write to Redis, and to nothing else, can make a worker do: nothing."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from services import PrivateRedis, private_redis, redis_program
from workerside import Worker, fresh_workers, running_worker, until

import datapipe
from datapipe.errors import PlanError

CONFIG = {"ingestion": {"query": "SELECT 1 AS id"}, "persistence": {"table_name": "pwned"}}


@pytest.fixture
def broker() -> Iterator[PrivateRedis]:
    with private_redis(redis_program()) as server:
        yield server


@pytest.fixture
def worker(
    broker: PrivateRedis, postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Worker]:
    """A worker with a key, and a process without one that may write to its broker."""
    found = {
        "REDIS_URL": broker.url,
        "SOURCE_DB_URL": postgresql_url,
        "DEST_DB_URL": postgresql_url,
        "DATAPIPE_HOME": str(tmp_path / "home"),
    }
    monkeypatch.delenv("DATAPIPE_METADATA_URL")
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    fresh_workers()
    with running_worker({**found, "DATAPIPE_SIGNING_KEY": "k" * 40}, tmp_path) as worker:
        yield worker
    fresh_workers()


def tables() -> list[Any]:
    with psycopg.connect(os.environ["DEST_DB_URL"]) as conn:
        return conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()


def test_an_unsigned_message_is_refused(worker: Worker) -> None:
    from datapipe.workers.app import app

    sent = app.send_task("datapipe.run_pipeline", kwargs={"pipeline_config": CONFIG}, queue="datapipe")
    with pytest.raises(PlanError, match="not signed"):
        sent.get(timeout=60)
    assert tables() == []


def test_a_worker_signs_nothing_that_follows_a_task(worker: Worker) -> None:
    from celery import Signature

    from datapipe.workers.app import app

    follows = Signature("datapipe.run_pipeline", args=(), kwargs={"pipeline_config": CONFIG}, immutable=True, app=app)
    app.send_task("celery.accumulate", args=(1,), queue="datapipe", link=[follows])
    until(lambda: "celery.accumulate" in worker.log and "succeeded" in worker.log)
    until(lambda: "not signed" in worker.log)
    time.sleep(1)
    assert tables() == []


def test_an_unsigned_run_of_the_record_is_refused(worker: Worker) -> None:
    run = datapipe.read("SELECT 1 AS id").write("pwned").submit()  # this process has no key
    with pytest.raises(PlanError, match="not signed"):
        run.result(60)
    assert tables() == []


def test_passwords_of_documents_stay_out_of_redis_and_record(worker: Worker, broker: PrivateRedis) -> None:
    from celery import chain

    from datapipe.workers.app import app
    from datapipe.workers.tasks import run_pipeline

    secret = "c4n4ry"
    config = {**CONFIG, "ingestion": {"query": "SELECT 1", "source_db_url": f"postgresql://u:{secret}@127.0.0.1:1/x"}}
    app.send_task("datapipe.run_pipeline", kwargs={"pipeline_config": CONFIG}, queue="datapipe").forget()
    chain(run_pipeline.si(config, "a"), run_pipeline.si(config, "b")).apply_async(queue="nobodys")
    with broker.client as client:
        sent = [json.loads(item) for item in client.lrange("nobodys", 0, -1)]
    bodies = [base64.b64decode(message["body"]).decode() for message in sent]
    assert len(bodies) == 1
    assert "run_pipeline" in bodies[0], "the second one travels with the first"
    assert secret not in "".join([*bodies, json.dumps(sent)])
    record = b"".join(path.read_bytes() for path in Path(os.environ["DATAPIPE_HOME"]).glob("runs.db*"))
    assert secret.encode() not in record


def test_a_run_cannot_be_queued_for_later() -> None:
    from datapipe.workers.tasks import run_pipeline

    with pytest.raises(PlanError, match="cannot be queued with countdown"):
        run_pipeline.apply_async((CONFIG,), countdown=60)
