"""A stalled network, a killed session, Ctrl-C, in every stage: the run ends soon, both sides are clean, nothing is written.

What is slow on a healthy network is left alone.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from contracts.sinks import Sink, mysql_connected
from faults import Fault, Proxy, proxied
from forked import Forked
from services import mysql_database, postgresql_database
from stages import ROWS, STAGES, plan, prepared
from workerside import patient

import datapipe
from datapipe.data.connections import shared
from datapipe.data.sockets import leads_to, open_sockets
from datapipe.errors import OutcomeUnknown, TransientError

TIMEOUT = 2  # seconds; the smallest there is
SOON = 1.5 * TIMEOUT + 1
PROGRAM = Path(__file__).parents[1] / "stages.py"


@dataclass(frozen=True)
class Words:
    """What the tests ask a server for, and see on the wire, in its own words."""

    others: str  # the other sessions that do something, or have a transaction: their numbers
    working: str  # those that are at a statement that looks like {}
    statements: dict[str, str]  # what those of a stage look like
    kill: str  # ends one
    locks: dict[str, str]  # what keeps a stage from going on
    sleep: str  # a table that takes so long
    stalls: dict[str, tuple[str, Fault]]  # the connection that leads through the proxy, and when that stalls
    commits: tuple[Fault, Fault]  # COMMIT lost, its reply lost


_OTHERS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
_SESSIONS = """SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"""
_TRANSACTIONS = "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx"
WORDS = {
    "postgresql": Words(
        others=f"{_OTHERS} AND state <> 'idle'",
        working=_OTHERS + " AND state = 'active' AND query ~ '{}'",
        statements={"reading": "origin", "transforming": "origin|target", "copying": "target", "merging": "target"},
        kill="SELECT pg_terminate_backend({})",
        locks={
            "reading": "LOCK TABLE origin",
            "copying": "LOCK TABLE target IN SHARE MODE",
            "merging": "INSERT INTO target VALUES (5, 'mine')",
        },
        sleep="(SELECT pg_sleep({})) AS s",
        stalls={
            "reading": ("source", Fault("stall", "down", after=1_000_000)),
            "transforming": ("source", Fault("stall", "down", after=4_000_000)),
            "copying": ("target", Fault("stall", after=2_000_000)),
            "merging": ("target", Fault("stall", pattern=b'INSERT INTO "target"')),
            "merged": ("target", Fault("stall", "down", pattern=b"INSERT 0")),
            "described": ("source", Fault("stall", pattern=b"origin")),
            "connected": ("source", Fault("stall", pattern=b"pg_catalog.pg_type")),
        },
        commits=(Fault("stall", pattern=b"COMMIT"), Fault("stall", "down", pattern=b"COMMIT")),
    ),
    "mysql": Words(
        others=f"{_SESSIONS} AND (command <> 'Sleep' OR id IN ({_TRANSACTIONS}))",
        working=_SESSIONS + " AND info REGEXP '^({})'",
        statements={"reading": "SELECT id", "transforming": "SELECT id|LOAD", "copying": "LOAD", "merging": "UPDATE"},
        kill="KILL {}",
        locks={
            "reading": "LOCK TABLES origin WRITE",
            "copying": "LOCK TABLES target READ",
            "merging": "INSERT INTO target VALUES (5, 'mine')",
        },
        sleep="(SELECT SLEEP({})) AS s",
        stalls={
            "reading": ("source", Fault("stall", "down", after=1_000_000)),
            "transforming": ("source", Fault("stall", "down", after=4_000_000)),
            "copying": ("target", Fault("stall", after=2_000_000)),
            "merging": ("target", Fault("stall", pattern=b'UPDATE "target"')),
            "described": ("source", Fault("stall", pattern=b"origin")),
        },
        commits=(Fault("stall", pattern=b"\x03COMMIT"), Fault("stall", pattern=b"\x03COMMIT", forwarded=True)),
    ),
}
CASES = [(kind, stage) for kind, words in WORDS.items() for stage in words.stalls]


@dataclass(frozen=True)
class Server:
    """A server with the tables of the plan, asked beside the runs."""

    sink: Sink
    words: Words

    @property
    def url(self) -> str:
        return self.sink.url

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self.sink.sql(sql)

    def begin_anew(self) -> None:
        """End whatever a failed test has left at work, and have the target as it was."""
        for (number,) in self.ask(self.words.others):
            with contextlib.suppress(pymysql.OperationalError):  # it has ended by itself since
                self.ask(self.words.kill.format(number))
        self.sink.sql("DROP TABLE target", *prepared(self.sink.kind)[1:])

    def kill(self, stage: str) -> bool:
        """End the sessions that are at a statement of a stage; whether there was one."""
        found = self.ask(self.words.working.format(self.words.statements[stage]))
        for (number,) in found:
            self.ask(self.words.kill.format(number))
        return bool(found)

    @contextmanager
    def held(self, stage: str) -> Iterator[Callable[[], None]]:
        """Keep a stage from going on; yields what lets it go on."""
        if self.sink.kind == "mysql":
            conn: Any = mysql_connected(self.url)
            conn.begin()
        else:
            conn = psycopg.connect(self.url)

        def release() -> None:
            conn.rollback()
            if self.sink.kind == "mysql":
                conn.query("UNLOCK TABLES")

        with conn:
            conn.cursor().execute(self.words.locks[stage])
            yield release
            release()


@pytest.fixture(params=WORDS)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def servers(postgresql_server: str, mysql_server: str) -> Iterator[dict[str, Server]]:
    """A database of each kind with the tables: to make ``origin`` takes longer than most tests."""
    with postgresql_database(postgresql_server) as postgresql, mysql_database(mysql_server) as mysql:
        urls = {"postgresql": postgresql, "mysql": mysql}
        found = {kind: Server(Sink(kind, url), WORDS[kind]) for kind, url in urls.items()}
        for kind, server in found.items():
            server.sink.sql(*prepared(kind))
        found["postgresql"].ask("ALTER TABLE origin SET (autovacuum_enabled = off)")  # which would be at work there
        yield found


@pytest.fixture
def server(kind: str, servers: dict[str, Server], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("DATAPIPE_NETWORK_TIMEOUT", str(TIMEOUT))
    monkeypatch.setenv("RETRY_BACKOFF_BASE", "0.05")
    servers[kind].begin_anew()
    shared().dispose()  # its engines have the timeout of when they were made
    shared.cache_clear()
    yield servers[kind]
    shared().dispose()
    shared.cache_clear()


def check_clean(server: Server, proxy: Proxy | None = None) -> None:
    """No thread and no socket here, no work there, and the target as it was."""
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("datapipe")] == []
    shared().dispose()
    if proxy is not None:
        address = ("127.0.0.1", proxy.port)
        assert [number for number, _ in open_sockets() if leads_to(number) == address] == []
        proxy.resume()
    until = time.monotonic() + 5
    while server.ask(server.words.others):
        assert time.monotonic() < until, "a session of the run is still there"
        time.sleep(0.05)
    assert server.ask("SELECT * FROM target") == [(-1, "before")]


@contextmanager
def struck(proxy: Proxy, fault: Fault) -> Iterator[list[float]]:
    """The moment at which the fault happened."""
    moment: list[float] = []
    proxy.arm(fault)
    watching = threading.Thread(target=lambda: proxy.struck.wait(20) and moment.append(time.monotonic()))
    watching.start()
    yield moment
    watching.join()


@pytest.mark.parametrize(("kind", "stage"), CASES)
def test_a_stalled_network_ends_the_run(server: Server, stage: str) -> None:
    end, fault = server.words.stalls[stage]
    with proxied(server.url) as (proxy, through):
        ends = {"source": server.url, "target": server.url} | {end: through}
        with struck(proxy, fault) as moment, pytest.raises(TransientError, match="stalled for") as caught:
            plan("merging" if stage == "merged" else stage, **ends).run()
        assert time.monotonic() - moment[0] < patient(SOON)
        assert "Check the network" in str(caught.value)
        assert caught.value.step in {"ingestion", "persistence"}
        check_clean(server, proxy)


@pytest.mark.parametrize(("end", "batch"), [("source", 1), ("target", 8)])
def test_a_network_that_stalls_while_a_function_runs(server: Server, end: str, batch: int) -> None:
    with proxied(server.url) as (proxy, through):
        moment: list[float] = []

        def slow(rows: Any) -> Any:
            if next(count) == batch:
                proxy.stall()
                time.sleep(0.5)
                moment.append(time.monotonic())
            return rows

        count = itertools.count(1)
        ends = {"source": server.url, "target": server.url} | {end: through}
        with pytest.raises(TransientError, match="stalled for"):
            plan("transforming", **ends, between=slow).run("64MB")  # little runs ahead
        assert time.monotonic() - moment[0] < patient(SOON)
        check_clean(server, proxy)


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_ends_a_stalled_run(server: Server, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_NETWORK_TIMEOUT", "30")
    end, fault = server.words.stalls[stage]
    with proxied(server.url) as (proxy, through):
        ends = {"source": server.url, "target": server.url} | {end: through}
        proxy.arm(fault)
        with Forked([str(PROGRAM), stage, ends["source"], ends["target"]]) as child:
            assert child.stdout.readline() == "ready\n"
            assert proxy.struck.wait(20)
            time.sleep(0.5)
            sent = time.monotonic()
            child.send_signal(signal.SIGINT)
            found = json.loads(child.stdout.readline())
            assert time.monotonic() - sent < patient(2)
        assert found == {"state": "cancelled", "threads": []}
        check_clean(server, proxy)


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_session_ends_the_run(server: Server, stage: str) -> None:
    moment: list[float] = []

    def kill() -> None:
        while not server.kill(stage):
            time.sleep(0.1)
        moment.append(time.monotonic())

    killer = threading.Thread(target=kill)

    def slow(batch: Any) -> Any:
        time.sleep(0.05)
        return batch

    with server.held(stage) if stage != "transforming" else contextlib.nullcontext():
        killer.start()
        with pytest.raises(TransientError):
            plan(stage, server.url, server.url, between=slow if stage == "transforming" else None).run()
        killer.join()
        assert time.monotonic() - moment[0] < patient(2)
    check_clean(server)


@pytest.mark.parametrize("stage", ["reading", "copying", "merging"])
def test_a_statement_that_waits_for_long_is_left_alone(server: Server, stage: str) -> None:
    with proxied(server.url) as (_, through), server.held(stage) as release:
        timer = threading.Timer(1.5 * TIMEOUT, release)
        timer.start()
        result = plan(stage, through, through).run()
        timer.join()
    assert (result.attempts, result.rows_written) == (1, ROWS)


def test_a_slow_query_and_a_slow_function_are_left_alone(server: Server) -> None:
    query = f"SELECT id, t FROM origin, {server.words.sleep.format(1.5 * TIMEOUT)}"
    late = iter([1.5 * TIMEOUT])

    def slow(batch: Any) -> Any:
        time.sleep(next(late, 0))
        return batch

    with proxied(server.url) as (_, through):
        result = datapipe.read(query, source=through).apply(slow, per_batch=True).write("target", to=through).run()
    assert (result.attempts, result.rows_written) == (1, ROWS)


def resuming(proxy: Proxy) -> Callable[[Any], None]:
    """A listener that mends the network when an attempt has failed."""
    return lambda event: proxy.resume() if event.kind == "attempt_failed" else None


def test_a_run_is_tried_again_when_the_network_is_back(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_RETRIES", "3")
    with proxied(server.url) as (proxy, through):
        proxy.arm(server.words.stalls["copying"][1])
        result = plan("copying", server.url, through).run(listeners=[resuming(proxy)])
        assert result.attempts > 1
    assert server.ask("SELECT count(*), count(DISTINCT id) FROM target") == [(ROWS + 1, ROWS + 1)]


def mended(proxy: Proxy) -> None:
    """Have the network back some time after it stalled, whenever that is."""
    proxy.struck.wait(20)
    time.sleep(1.5 * TIMEOUT)
    proxy.resume()


@pytest.mark.parametrize("lost", [0, 1], ids=["COMMIT", "reply"])
def test_a_commit_in_a_stalled_network_lands_once(server: Server, monkeypatch: pytest.MonkeyPatch, lost: int) -> None:
    fault = server.words.commits[lost]
    monkeypatch.setenv("MAX_RETRIES", "3")
    with proxied(server.url) as (proxy, through):
        datapipe.read("SELECT 0 AS id, '' AS t", source=server.url).write(
            "target", to=server.url
        ).run()  # creates the ledger
        with struck(proxy, fault) as moment:
            mending = threading.Thread(target=mended, args=(proxy,))
            mending.start()
            plan("copying", server.url, through).run()
            mending.join()
        assert time.monotonic() - moment[0] < patient(1.5 * TIMEOUT + SOON)
    assert server.ask("SELECT count(*), count(DISTINCT id) FROM target") == [(ROWS + 2, ROWS + 2)]


def test_a_commit_whose_network_stays_away_is_unknown(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datapipe.persistence.delivery._RESOLVE_SECONDS", 1)
    with proxied(server.url) as (proxy, through):
        datapipe.read("SELECT 0 AS id, '' AS t", source=server.url).write(
            "target", to=server.url
        ).run()  # creates the ledger
        fault = server.words.commits[0]
        with struck(proxy, fault) as moment, pytest.raises(OutcomeUnknown, match="its key is"):
            plan("copying", server.url, through).run()
        assert time.monotonic() - moment[0] < patient(2 * SOON)
