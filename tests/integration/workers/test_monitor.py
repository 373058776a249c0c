"""A real worker, as the monitor sees it: with runs that succeed, fail and go on, stopped, and without its broker."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

import datapipe
from datapipe.workers import WorkerMonitor

if TYPE_CHECKING:
    from conftest import Site

Wait = Callable[..., None]
SECRET = "c4n4ry"


def test_a_worker_that_succeeds_fails_works_and_goes_silent(
    site: Site, wait: Wait, state_of: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    monitor = WorkerMonitor()
    process = site.start_worker("w1")
    first = [site.submit(), site.submit("wrong")]
    wait(lambda: [state_of(run_id) for run_id in first] == ["succeeded", "failed"])

    (worker,) = monitor.workers()
    name = f"w1@{socket.gethostname()}"
    assert (worker.name, worker.state, worker.host) == (name, "online", socket.gethostname())
    assert (worker.pid, worker.queues, worker.concurrency) == (process.pid, ("datapipe",), 1)
    assert (worker.processed, worker.succeeded, worker.failed, worker.active) == (2, 1, 1, ())
    assert worker.rows_per_second is not None
    assert worker.rows_per_second > 0
    assert (worker.silence, worker.uptime is not None) == (0.0, True)

    busy = site.submit("slow")
    wait(lambda: state_of(busy) == "running")
    waiting = [site.submit("slow") for _ in range(3)]
    (worker,), (queue,) = monitor.workers(), monitor.queues()
    assert worker.active == (busy,)
    assert (queue.name, queue.queued, queue.workers) == ("datapipe", 3, 1)
    assert queue.waiting is not None
    assert queue.unacknowledged is not None
    assert queue.waiting + queue.unacknowledged == 4
    assert worker.reserved == queue.unacknowledged - 1
    assert queue.oldest is not None
    assert 0 < queue.oldest < 60
    told = json.loads(site.cli("workers", "--json").stdout)
    assert told["workers"][0]["active"] == [busy]
    assert told["queues"][0]["queued"] == 3

    os.kill(process.pid, signal.SIGSTOP)
    (worker,) = monitor.workers()
    assert (worker.state, worker.active, worker.pid) == ("silent", (busy,), None)
    assert worker.silence is not None
    done = site.cli("workers")
    assert (done.returncode, "silent, last heard of" in done.stdout) == (0, True)
    assert site.cli("health").returncode == 1
    os.kill(process.pid, signal.SIGCONT)
    wait(lambda: monitor.workers()[0].state == "online")

    site.broker.kill()
    began = time.monotonic()
    (worker,), (queue,) = monitor.workers(), monitor.queues()
    assert time.monotonic() - began < 5
    assert (worker.state, worker.active) == ("unknown", (busy,))
    assert (queue.waiting, queue.queued) == (None, 3)
    done = site.cli("workers")
    assert (done.returncode, "the broker cannot be asked: " in done.stdout) == (1, True)
    texts = [done.stdout, done.stderr, caplog.text, repr(monitor), monitor._repr_html_(), json.dumps(told)]
    assert all(site.broker.password not in text for text in texts)
    for run_id in (busy, *waiting):
        datapipe.attach(run_id).cancel()


def test_who_asks_does_not_deliver_messages_again(site: Site) -> None:
    long_ago, message = time.time() - 10_000_000, json.dumps([{"headers": {}, "properties": {}}, "", "datapipe"])
    with site.broker.client as client:
        client.hset("unacked", "tag", message)
        client.zadd("unacked_index", {"tag": long_ago})
        (queue,) = WorkerMonitor().queues()
        assert WorkerMonitor().health().workers == 0
        assert (queue.waiting, queue.unacknowledged) == (0, 1)
        assert (client.llen("datapipe"), client.hlen("unacked"), client.zscore("unacked_index", "tag")) == (
            0,
            1,
            long_ago,
        )


def test_asking_leaves_the_application_as_it_is(site: Site) -> None:
    script = (
        "from datapipe.workers import WorkerMonitor\nimport os\nWorkerMonitor().overview(), WorkerMonitor().health()\n"
        "os.environ['REDIS_URL'] = 'redis://elsewhere/3'\n"
        "from datapipe.workers.app import app\nprint(app.conf.broker_url)"
    )
    assert site.run("-c", script).stdout.strip() == "redis://elsewhere/3"


def test_health_and_its_exit_codes(site: Site, postgresql_url: str, mysql_url: str) -> None:
    urls = {
        "DEST_DB_URL": postgresql_url,
        "DATAPIPE_CONNECTION_CRM": mysql_url,
        "DATAPIPE_CONNECTION_DEAD": f"postgresql://ann:{SECRET}@127.0.0.1:1/crm",
    }
    assert site.cli("health").returncode == 1  # no worker yet
    assert site.cli("health", "--no-workers").returncode == 0
    site.start_worker("w1")
    done = site.cli("health", "--json", DEST_DB_URL=postgresql_url, DATAPIPE_CONNECTION_CRM=mysql_url)
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"], told["workers"]) == (0, True, 1), done.stdout
    assert {part["name"]: part["state"] for part in told["parts"]} == dict.fromkeys(
        ["broker", "result backend", "metadata store", "SOURCE_DB_URL", "DEST_DB_URL", "connection crm"], "ok"
    )
    assert all(part["milliseconds"] < 1000 for part in told["parts"] if part["milliseconds"] is not None)

    done = site.cli("health", **urls)
    assert done.returncode == 1
    assert "connection dead  failed" in done.stdout
    metrics = site.cli("metrics", **urls)
    assert 'datapipe_up{part="connection dead"} 0.0' in metrics.stdout
    for secret in (SECRET, site.broker.password):
        assert all(secret not in text for text in (done.stdout, done.stderr, metrics.stdout, metrics.stderr))


@pytest.mark.parametrize(
    "variable",
    [
        "REDIS_URL",
        pytest.param("DEST_DB_URL", marks=pytest.mark.soak),
        "DATAPIPE_CONNECTION_CRM",
        pytest.param("DATAPIPE_METADATA_URL", marks=pytest.mark.soak),
    ],
)
def test_a_server_that_says_nothing_does_not_hang_health(
    variable: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme = "redis" if variable == "REDIS_URL" else "mysql" if variable.endswith("CRM") else "postgresql"
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        monkeypatch.setenv(variable, f"{scheme}://ann:{SECRET}@127.0.0.1:{mute.getsockname()[1]}/0")
        began = time.monotonic()
        done = site.cli("health")
        assert time.monotonic() - began < 12
        assert (done.returncode, "failed" in done.stdout, done.stderr) == (1, True, "")
        began = time.monotonic()
        site.cli("workers")
        assert time.monotonic() - began < 12
    assert SECRET not in done.stdout
