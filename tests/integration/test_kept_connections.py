"""A connection that was kept for the next read: it carries nothing over, and is not trusted when it should not be."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import sqlalchemy as sa
from faults import Fault, proxied

import datapipe
from datapipe.data import links
from datapipe.data.cancel import CancelToken
from datapipe.data.connections import shared
from datapipe.data.stream import Workspace
from datapipe.errors import DataError, RunCancelled, TransientError
from datapipe.ingestion import open_source, pgcopy
from datapipe.plan import QuerySource

PROCESS = "SELECT pg_backend_pid() AS process"


def read(sql: str, url: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in datapipe.read(sql, source=url).collect().itertuples(index=False)]


def kept() -> int:
    return sum(map(len, links._idle.values()))


@pytest.fixture
def conn(postgresql_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgresql_url, autocommit=True) as made:
        yield made


def test_the_next_read_has_the_same_connection_and_a_new_snapshot(conn, postgresql_url):
    conn.execute("CREATE TABLE t AS SELECT 1 AS a")
    (first,) = read(PROCESS, postgresql_url)
    assert read("SELECT * FROM t", postgresql_url) == [(1,)]
    conn.execute("ALTER TABLE t ADD b text DEFAULT 'x'; INSERT INTO t VALUES (2, 'y')")
    assert read("SELECT * FROM t", postgresql_url) == [(1, "x"), (2, "y")]
    conn.execute(
        "ALTER TABLE t ALTER a TYPE text; CREATE TYPE mood AS ENUM ('ok'); ALTER TABLE t ADD c mood DEFAULT 'ok'"
    )
    assert read("SELECT * FROM t", postgresql_url) == [("1", "x", "ok"), ("2", "y", "ok")]
    assert read(PROCESS, postgresql_url) == [first]
    assert kept() == 1


def test_an_idle_one_has_no_transaction_no_locks_and_no_settings(conn, postgresql_url):
    (process,) = read(PROCESS, postgresql_url)
    read("SELECT pg_advisory_lock(7)::text, set_config('search_path', 'elsewhere', false)", postgresql_url)
    look = "SELECT state, backend_xmin FROM pg_stat_activity WHERE pid = %s"
    assert conn.execute(look, process).fetchall() == [("idle", None)]
    assert conn.execute("SELECT pg_try_advisory_lock(7)").fetchone() == (True,)
    assert read("SELECT current_setting('search_path') <> 'elsewhere', pg_backend_pid()", postgresql_url) == [
        (True, *process)
    ]


@pytest.mark.parametrize("sql", ["SELECT 1 / (g - 100000) FROM generate_series(1, 200000) g", "SELECT 1 / 0"])
def test_none_is_kept_from_a_read_that_failed(sql, postgresql_url):
    with pytest.raises(DataError):
        read(sql, postgresql_url)
    assert kept() == 0


@pytest.mark.parametrize("end", ["cancelled", "left"])
def test_none_is_kept_from_a_read_that_did_not_come_to_its_end(end, postgresql_url):
    source = QuerySource(
        query="SELECT repeat('x', 1000) AS t FROM generate_series(1, 100000)", source_db_url=postgresql_url
    )
    cancel = CancelToken()
    with open_source(source, Workspace(cancel=cancel)) as stream:
        next(stream.batches)
        if end == "cancelled":
            cancel.cancel()
            with pytest.raises(RunCancelled):
                list(stream.batches)
    assert kept() == 0


@pytest.mark.parametrize("when", ["during the rollback", "after it"])
def test_none_is_kept_that_an_interruption_may_still_hit(when, postgresql_url, monkeypatch):
    cancel, execute = CancelToken(), pgcopy._execute

    def end(connection, sql):
        if sql != pgcopy.END:
            execute(connection, sql)
        elif when == "after it":
            execute(connection, sql)
            cancel.cancel()
        else:
            threading.Timer(0.1, cancel.cancel).start()
            execute(connection, "SELECT pg_sleep(60)")

    monkeypatch.setattr(pgcopy, "_execute", end)
    source = QuerySource(query="SELECT 1 AS a", source_db_url=postgresql_url)
    with open_source(source, Workspace(cancel=cancel)) as stream, pytest.raises(RunCancelled):
        assert sum(batch.num_rows for batch in stream.batches) == 1
        cancel.check()
    assert kept() == 0


def test_one_that_the_server_has_ended_is_replaced(conn, postgresql_url):
    (process,) = read(PROCESS, postgresql_url)
    conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    (other,) = read(PROCESS, postgresql_url)  # at the first attempt: tests have no others
    assert other != process


def test_none_is_kept_for_a_lent_engine(postgresql_url):
    engine = sa.create_engine(sa.make_url(postgresql_url).set(drivername="postgresql+psycopg"))
    assert len(datapipe.read(PROCESS, source=engine).collect()) == 1
    engine.dispose()
    assert kept() == 0


def test_threads_share_none(postgresql_url):
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: read(f"SELECT {n}, pg_backend_pid()", postgresql_url), range(40)))
    assert [number for ((number, _),) in found] == list(range(40))
    assert 1 <= kept() <= 5
    shared().dispose()
    assert kept() == 0


def test_a_child_that_ends_leaves_its_parents_alone(postgresql_url):
    script = f"""
import os, sys, warnings
import datapipe
warnings.simplefilter("ignore")
def process():
    return int(datapipe.read({PROCESS!r}, source={postgresql_url!r}).collect()["process"][0])
first = process()
for look in (False, True):
    if (child := os.fork()) == 0:
        if look and process() == first:
            os._exit(1)
        sys.exit()  # as a process ends that does not know better: everything is closed
    assert os.waitpid(child, 0)[1] == 0
assert process() == first
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_kept_one_is_cancelled_as_soon_as_any(postgresql_url):
    (process,) = read(PROCESS, postgresql_url)
    cancel, sent = CancelToken(), []
    timer = threading.Timer(0.5, lambda: (sent.append(time.monotonic()), cancel.cancel()))
    timer.start()
    source = QuerySource(query="SELECT pg_sleep(60)::text, pg_backend_pid()", source_db_url=postgresql_url)
    with pytest.raises(RunCancelled), open_source(source, Workspace(cancel=cancel)) as stream:
        list(stream.batches)
    assert time.monotonic() - sent[0] < 2
    timer.join()
    assert kept() == 0
    assert read(PROCESS, postgresql_url) != [process]


@pytest.mark.parametrize("pattern", [b"BEGIN ISOLATION", b"ROLLBACK; SELECT"], ids=["begin", "end"])
def test_a_network_that_has_stalled_meanwhile_is_noticed(pattern, postgresql_url, monkeypatch):
    monkeypatch.setenv("DATAPIPE_NETWORK_TIMEOUT", "2")
    shared.cache_clear()  # engines have the timeout of when they were made
    with proxied(postgresql_url) as (proxy, through):
        read(PROCESS, through)
        assert kept() == 1
        proxy.arm(Fault("stall", pattern=pattern))
        began = time.monotonic()
        if pattern.startswith(b"BEGIN"):
            with pytest.raises(TransientError, match="stalled for"):
                read(PROCESS, through)
        else:
            assert len(read(PROCESS, through)) == 1  # all rows are here
        assert time.monotonic() - began < 4
        assert kept() == 0
        proxy.resume()
        assert len(read(PROCESS, through)) == 1
        shared().dispose()
    shared.cache_clear()
