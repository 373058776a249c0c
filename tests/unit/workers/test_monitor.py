"""How answers and records become one picture; what is told of servers without showing a password."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

import datapipe
from datapipe.cli.app import app
from datapipe.store.statistics import QueueLoad, WorkerLoad
from datapipe.workers import WorkerMonitor, monitor
from datapipe.workers.asking import Answer
from datapipe.workers.deadline import together
from datapipe.workers.monitor import Loads, merged_queues, merged_workers, queue_names
from datapipe.workers.values import Health, Overview, Part, WorkerStatus

ANSWER = Answer(pid=7, concurrency=2, uptime=60.0, queues=("datapipe", "slow"), active=("r1", "r2"), reserved=1)
BUSY = WorkerLoad("w1@here", ("r1",), "2024-01-01T00:00:00.000Z", 70.0, 10, 7, 2, 1500.0)
LOADS = Loads({"w1@here": BUSY, "w2@here": WorkerLoad("w2@here", processed=3)}, {"fast": QueueLoad("fast", 4, 9.0)})


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", "redis://:c4n4ry@127.0.0.1:1/0")
    monkeypatch.setattr("datapipe.settings.connections._connections", {})


def test_a_worker_that_answers_has_its_counts_from_the_store() -> None:
    (worker,) = merged_workers({"w1@here": ANSWER}, LOADS)
    assert (worker.name, worker.state, worker.host, worker.pid) == ("w1@here", "online", "here", 7)
    assert (worker.active, worker.reserved, worker.concurrency) == (("r1", "r2"), 1, 2)
    assert (worker.processed, worker.succeeded, worker.failed, worker.rows_per_second) == (10, 7, 2, 1500.0)
    assert (worker.silence, worker.uptime) == (0.0, 60.0)


def test_a_worker_that_has_runs_and_does_not_answer_is_silent() -> None:
    (worker,) = merged_workers({}, LOADS)
    assert (worker.state, worker.active, worker.silence, worker.pid) == ("silent", ("r1",), 70.0, None)


def test_where_nobody_can_be_asked_nobody_is_called_silent() -> None:
    (worker,) = merged_workers(None, LOADS)
    assert worker.state == "unknown"
    assert merged_workers(None, None) == ()


def test_without_a_store_nothing_is_counted() -> None:
    (worker,) = merged_workers({"w1@here": ANSWER}, None)
    assert (worker.state, worker.active, worker.processed, worker.failed) == ("online", ("r1", "r2"), None, None)


def test_queues_are_those_served_and_those_in_which_runs_wait() -> None:
    workers = merged_workers({"w1@here": ANSWER}, LOADS)
    names = queue_names(workers, LOADS)
    assert names == ["datapipe", "fast", "slow"]
    _, fast, slow = merged_queues(names, workers, {"fast": (4, 0), "slow": (0, 2)}, LOADS)
    assert (fast.waiting, fast.unacknowledged, fast.queued, fast.oldest, fast.workers) == (4, 0, 4, 9.0, 0)
    assert (slow.waiting, slow.unacknowledged, slow.queued, slow.oldest, slow.workers) == (0, 2, 0, None, 1)


def test_what_is_not_known_is_none() -> None:
    (queue,) = merged_queues(["q"], None, None, None)
    assert (queue.waiting, queue.unacknowledged, queue.queued, queue.workers) == (None,) * 4


def test_a_picture_shows_itself_as_text_and_html() -> None:
    found = Overview((WorkerStatus("<w1>@here", "silent", "here", silence=70.0),), (), ("the broker is away",))
    assert "silent, last heard of 1 min ago" in str(found)
    assert "the broker is away" in str(found)
    assert "&lt;w1&gt;@here" in found._repr_html_()
    assert "the broker is away" in found._repr_html_()
    assert "no worker is online" in str(Overview())


def test_health_is_ok_if_nothing_failed_and_somebody_works() -> None:
    parts = (Part("broker", "ok", 1.0), Part("DEST_DB_URL", "not configured"), Part("result backend", "not checked"))
    assert Health(parts, 1).ok
    assert Health(parts).ok
    assert not Health(parts, 0).ok
    assert not Health((*parts, Part("crm", "failed")), 1).ok
    assert "no worker is online" in str(Health(parts, 0))
    assert "2 workers are online" in Health(parts, 2)._repr_html_()


def test_a_broker_that_is_away_is_told_and_not_raised(caplog: pytest.LogCaptureFixture) -> None:
    watch = WorkerMonitor()
    assert watch.workers() == ()
    assert [queue.name for queue in watch.queues()] == ["datapipe"]
    assert "the broker cannot be asked" in caplog.text
    bundle = watch._repr_mimebundle_()
    assert "the broker cannot be asked" in bundle["text/plain"]
    assert "the broker cannot be asked" in bundle["text/html"]
    assert "c4n4ry" not in caplog.text + str(bundle) + repr(watch) + watch._repr_html_()


def part(name: str) -> Part:
    return next(part for part in WorkerMonitor().health(workers=False).parts if part.name == name)


def test_files_are_looked_at_and_never_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DB_URL", "sqlite:///crm.db")
    monkeypatch.setenv("DEST_DB_URL", "duckdb:///mart.duckdb")
    monkeypatch.setenv("DATAPIPE_CONNECTION_ARCHIVE", "sqlite:///nowhere/a.db")
    assert part("SOURCE_DB_URL").state == "failed"
    assert (part("DEST_DB_URL").state, "does not exist yet" in part("DEST_DB_URL").message) == ("ok", True)
    assert part("connection archive").state == "failed"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "crm.db").touch()
    assert part("SOURCE_DB_URL").state == "ok"


def test_what_is_not_set_is_not_configured() -> None:
    states = {part.name: part.state for part in WorkerMonitor().health(workers=False).parts}
    assert states["metadata store"] == states["SOURCE_DB_URL"] == states["DEST_DB_URL"] == "not configured"
    assert states["broker"] == states["result backend"] == "failed"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:c4n4ry@127.0.0.1:1/crm",
        "mysql://ann:c4n4ry@127.0.0.1:1/crm",
        "postgresql://ann:c4n/4ry@127.0.0.1:1/crm",
        "postgresql://ann@127.0.0.1:1/crm?password=c4n4ry",
        "postgresql://ann:c4n4ry@127.0.0.1:port/crm",
        "nosuch://ann:c4n4ry@host/crm",
        "c4n4ry",
        "${C4N4RY}",
    ],
)
def test_a_database_that_does_not_answer_is_told_without_its_password(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEST_DB_URL", url)
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM", url)
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://:c4n4ry/c4n4ry@127.0.0.1:1/0")
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "redis://:c4n4ry@127.0.0.1:1/c4n4ry")
    done = CliRunner().invoke(app, ["health", "--json"])
    states = {part["name"]: part["state"] for part in json.loads(done.stdout)["parts"]}
    assert (done.exit_code, states["DEST_DB_URL"], states["connection crm"]) == (1, "failed", "failed")
    assert (states["broker"], states["result backend"]) == ("failed", "failed")
    text = done.output + CliRunner().invoke(app, ["health"]).output + CliRunner().invoke(app, ["metrics"]).output
    for secret in ("c4n4ry", "c4n/4ry", "4ry"):
        assert secret not in text.replace("C4N4RY", "")


def test_an_engine_that_was_lent_is_asked_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = sa.create_engine("sqlite://")
    datapipe.connect("lent", engine)
    datapipe.connect("given", "sqlite:///:memory:")
    assert (part("connection lent").state, part("connection given").state) == ("ok", "ok")
    engine.dispose()


def test_the_slowest_question_is_left_behind() -> None:
    def fail() -> None:
        raise ValueError("no")

    began = time.monotonic()
    found = together({"slow": lambda: time.sleep(5), "quick": lambda: 1, "wrong": fail}, 0.2)
    assert time.monotonic() - began < 2
    assert (found["quick"].value, str(found["wrong"].error)) == (1, "no")
    assert "no answer within 0.2 s" in str(found["slow"].error)


@pytest.mark.parametrize(("missing", "name"), [("celery", "WorkerMonitor"), ("redis", "IdempotencyStore")])
def test_a_missing_extra_is_one_sentence(missing: str, name: str) -> None:
    script = f"import sys; sys.modules[{missing!r}] = None\nfrom datapipe.workers import {name}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith('Run: pip install "datapipe-sdk[workers]"')


@pytest.mark.parametrize("command", ["workers", "metrics"])
def test_a_command_without_its_extra(command: str) -> None:
    script = (
        "import sys; sys.modules['celery'] = None; sys.modules['prometheus_client'] = None\n"
        f"sys.argv = ['datapipe', {command!r}]\nimport datapipe.cli; datapipe.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert 'pip install "datapipe-sdk[workers]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nothing_is_imported_before_it_is_used() -> None:
    script = "import sys, datapipe.workers, datapipe.cli.workers; print({'celery', 'redis'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_store_that_hangs_does_not_hang_the_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: Any) -> None:
        time.sleep(30)

    monkeypatch.setattr(monitor, "open_store", hang)
    monkeypatch.setattr(monitor, "PATIENCE", 0.2)
    began = time.monotonic()
    found = WorkerMonitor(0.1).overview()
    assert time.monotonic() - began < 5
    assert any("the run store cannot be asked: no answer within" in problem for problem in found.problems)
