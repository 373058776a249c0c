"""A stalled network, a killed session, Ctrl-C, in every stage: the run ends soon, both sides are clean, nothing is written.

What is slow on a healthy network is left alone.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from faults import Fault, Proxy, proxied
from stages import PREPARE, ROWS, STAGES, plan

import datapipe
from datapipe.data.connections import shared
from datapipe.data.sockets import leads_to, open_sockets
from datapipe.errors import OutcomeUnknown, TransientError

TIMEOUT = 2  # seconds; the smallest there is
SOON = 1.5 * TIMEOUT + 1
PROGRAM = Path(__file__).parents[1] / "stages.py"


@dataclass(frozen=True)
class Server:
    """What the tests ask a server for in its own words."""

    busy: str  # counts the other sessions that do something, or have a transaction
    kill: str  # ends those that are at a statement of the plan, and counts them


_OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
SERVERS = {
    "postgresql": Server(
        busy=f"SELECT count(*) {_OTHERS} AND state <> 'idle'",
        kill=f"SELECT count(pg_terminate_backend(pid)) {_OTHERS} AND state = 'active' AND query ~ 'origin|target'",
    )
}
# The connection that leads through the proxy, and when that stalls.
STALLS = {
    "reading": ("source", Fault("stall", "down", after=1_000_000)),
    "transforming": ("source", Fault("stall", "down", after=4_000_000)),
    "copying": ("target", Fault("stall", after=2_000_000)),
    "merging": ("target", Fault("stall", pattern=b'INSERT INTO "target"')),
    "merged": ("target", Fault("stall", "down", pattern=b"INSERT 0")),
    "described": ("source", Fault("stall", pattern=b"origin")),
    "connected": ("source", Fault("stall", pattern=b"pg_catalog.pg_type")),
}


@pytest.fixture
def server() -> Server:
    return SERVERS["postgresql"]


@pytest.fixture
def url(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("DATAPIPE_NETWORK_TIMEOUT", str(TIMEOUT))
    monkeypatch.setenv("RETRY_BACKOFF_BASE", "0.05")
    with psycopg.connect(postgresql_url) as conn:
        conn.execute(PREPARE)
    shared().dispose()  # its engines have the timeout of when they were made
    shared.cache_clear()
    yield postgresql_url
    shared().dispose()
    shared.cache_clear()


def ask(url: str, sql: str) -> Any:
    with psycopg.connect(url, autocommit=True) as conn:
        return conn.execute(sql.encode()).fetchall()


def check_clean(url: str, server: Server, proxy: Proxy | None = None) -> None:
    """No thread and no socket here, no work there, and the target as it was."""
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("datapipe")] == []
    shared().dispose()
    if proxy is not None:
        address = ("127.0.0.1", proxy.port)
        assert [number for number, _ in open_sockets() if leads_to(number) == address] == []
        proxy.resume()
    until = time.monotonic() + 5
    while ask(url, server.busy) != [(0,)]:
        assert time.monotonic() < until, "a session of the run is still there"
        time.sleep(0.05)
    assert ask(url, "SELECT * FROM target") == [(-1, "before")]


@contextmanager
def struck(proxy: Proxy, fault: Fault) -> Iterator[list[float]]:
    """The moment at which the fault happened."""
    moment: list[float] = []
    proxy.arm(fault)
    watching = threading.Thread(target=lambda: proxy.struck.wait(20) and moment.append(time.monotonic()))
    watching.start()
    yield moment
    watching.join()


@pytest.mark.parametrize("stage", STALLS)
def test_a_stalled_network_ends_the_run(url: str, server: Server, stage: str) -> None:
    end, fault = STALLS[stage]
    with proxied(url) as (proxy, through):
        ends = {"source": url, "target": url} | {end: through}
        with struck(proxy, fault) as moment, pytest.raises(TransientError, match="stalled for") as caught:
            plan("merging" if stage == "merged" else stage, **ends).run()
        assert time.monotonic() - moment[0] < SOON
        assert "Check the network" in str(caught.value)
        assert caught.value.step in {"ingestion", "persistence"}
        check_clean(url, server, proxy)


@pytest.mark.parametrize(("end", "batch"), [("source", 1), ("target", 8)])
def test_a_network_that_stalls_while_a_function_runs(url: str, server: Server, end: str, batch: int) -> None:
    with proxied(url) as (proxy, through):
        moment: list[float] = []

        def slow(rows: Any) -> Any:
            if next(count) == batch:
                proxy.stall()
                time.sleep(0.5)
                moment.append(time.monotonic())
            return rows

        count = itertools.count(1)
        ends = {"source": url, "target": url} | {end: through}
        with pytest.raises(TransientError, match="stalled for"):
            plan("transforming", **ends, between=slow).run("64MB")  # little runs ahead
        assert time.monotonic() - moment[0] < SOON
        check_clean(url, server, proxy)


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_ends_a_stalled_run(url: str, server: Server, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_NETWORK_TIMEOUT", "30")
    end, fault = STALLS[stage]
    with proxied(url) as (proxy, through):
        ends = {"source": url, "target": url} | {end: through}
        proxy.arm(fault)
        command = [sys.executable, str(PROGRAM), stage, ends["source"], ends["target"]]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            assert proxy.struck.wait(20)
            time.sleep(0.5)
            sent = time.monotonic()
            child.send_signal(signal.SIGINT)
            found = json.loads(child.stdout.readline())
            assert time.monotonic() - sent < 2
        assert found == {"state": "cancelled", "threads": []}
        check_clean(url, server, proxy)


@contextmanager
def held(url: str, stage: str) -> Iterator[Callable[[], None]]:
    """Keep a stage from going on: by a lock on its table, or on a row of it; yields what lets it go on."""
    with psycopg.connect(url) as conn:
        locks = {"reading": "LOCK TABLE origin", "copying": "LOCK TABLE target IN SHARE MODE"}
        conn.execute(locks.get(stage, "INSERT INTO target VALUES (5, 'mine')").encode())
        yield conn.rollback
        conn.rollback()


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_session_ends_the_run(url: str, server: Server, stage: str) -> None:
    moment: list[float] = []

    def kill() -> None:
        while ask(url, server.kill) == [(0,)]:
            time.sleep(0.1)
        moment.append(time.monotonic())

    killer = threading.Thread(target=kill)

    def slow(batch: Any) -> Any:
        time.sleep(0.05)
        return batch

    with held(url, stage) if stage != "transforming" else contextlib.nullcontext():
        killer.start()
        with pytest.raises(TransientError):
            plan(stage, url, url, between=slow if stage == "transforming" else None).run()
        killer.join()
        assert time.monotonic() - moment[0] < 2
    check_clean(url, server)


@pytest.mark.parametrize("stage", ["reading", "copying", "merging"])
def test_a_statement_that_waits_for_long_is_left_alone(url: str, stage: str) -> None:
    with proxied(url) as (_, through), held(url, stage) as release:
        timer = threading.Timer(1.5 * TIMEOUT, release)
        timer.start()
        result = plan(stage, through, through).run()
        timer.join()
    assert (result.attempts, result.rows_written) == (1, ROWS)


def test_a_slow_query_and_a_slow_function_are_left_alone(url: str) -> None:
    query = f"SELECT id, t FROM origin, (SELECT pg_sleep({1.5 * TIMEOUT})) AS s"
    late = iter([1.5 * TIMEOUT])

    def slow(batch: Any) -> Any:
        time.sleep(next(late, 0))
        return batch

    with proxied(url) as (_, through):
        result = datapipe.read(query, source=through).apply(slow, per_batch=True).write("target", to=through).run()
    assert (result.attempts, result.rows_written) == (1, ROWS)


def resuming(proxy: Proxy) -> Callable[[Any], None]:
    """A listener that mends the network when an attempt has failed."""
    return lambda event: proxy.resume() if event.kind == "attempt_failed" else None


def test_a_run_is_tried_again_when_the_network_is_back(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_RETRIES", "3")
    with proxied(url) as (proxy, through):
        proxy.arm(STALLS["copying"][1])
        result = plan("copying", url, through).run(listeners=[resuming(proxy)])
        assert result.attempts > 1
    assert ask(url, "SELECT count(*), count(DISTINCT id) FROM target") == [(ROWS + 1, ROWS + 1)]


@pytest.mark.parametrize(
    "fault",
    [Fault("stall", pattern=b"COMMIT"), Fault("stall", "down", pattern=b"COMMIT")],
    ids=["COMMIT lost", "reply lost"],
)
def test_a_commit_in_a_stalled_network_lands_once(url: str, monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    monkeypatch.setenv("MAX_RETRIES", "3")
    with proxied(url) as (proxy, through):
        datapipe.read("SELECT 0 AS id, '' AS t", source=url).write("target", to=url).run()  # creates the ledger
        with struck(proxy, fault) as moment:
            mended = threading.Timer(1.5 * TIMEOUT, proxy.resume)
            mended.start()
            plan("copying", url, through).run()
            mended.join()
        assert time.monotonic() - moment[0] < 1.5 * TIMEOUT + SOON
    assert ask(url, "SELECT count(*), count(DISTINCT id) FROM target") == [(ROWS + 2, ROWS + 2)]


def test_a_commit_whose_network_stays_away_is_unknown(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datapipe.persistence.delivery._RESOLVE_SECONDS", 1)
    with proxied(url) as (proxy, through):
        datapipe.read("SELECT 0 AS id, '' AS t", source=url).write("target", to=url).run()  # creates the ledger
        fault = Fault("stall", pattern=b"COMMIT")
        with struck(proxy, fault) as moment, pytest.raises(OutcomeUnknown, match="its key is"):
            plan("copying", url, through).run()
        assert time.monotonic() - moment[0] < 2 * SOON
