"""A run that loses its source or its target begins again at the source, and lands once; other errors are final."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pyarrow as pa
import pytest

import datapipe
from datapipe.errors import DataError, TransientError

ROWS = 200_000


@pytest.fixture(autouse=True)
def _retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_RETRIES", "2")
    monkeypatch.setenv("RETRY_BACKOFF_BASE", "0.05")


def killer(url: str, which: str, times: int) -> Callable[[pa.Table], pa.Table]:
    """A per-batch function that ends the source's or the target's backend in the middle, so many times."""
    state = {"left": times, "batches": 0}

    def pass_on(batch: pa.Table) -> pa.Table:
        state["batches"] += 1
        if state["left"] and state["batches"] % 4 == 0:
            state["left"] -= 1
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query ILIKE %s"
            with psycopg.connect(url, autocommit=True) as conn:
                ended = conn.execute(query, (f"COPY%{which}%",)).fetchall()
            assert ended
        return batch

    return pass_on


def plan(url: str, which: str, times: int) -> Any:
    source = datapipe.read("SELECT g AS id, repeat('x', 100) AS text FROM origin g", source=url)
    return source.apply(killer(url, which, times), per_batch=True).write("t", to=url)


@pytest.fixture
def url(postgresql_url: str) -> str:
    with psycopg.connect(postgresql_url, autocommit=True) as conn:
        conn.execute(f"CREATE TABLE origin AS SELECT g FROM generate_series(1, {ROWS}) g".encode())
    return postgresql_url


def found(url: str) -> Any:
    with psycopg.connect(url) as conn:
        if conn.execute("SELECT to_regclass('t')").fetchone() == (None,):
            return None
        return conn.execute("SELECT count(*), count(DISTINCT id) FROM t").fetchone()


@pytest.mark.parametrize("which", ["FROM STDIN", "FROM origin"])
def test_a_lost_backend_is_tried_again_from_the_source(url: str, which: str) -> None:
    events: list[Any] = []
    result = plan(url, which, 1).run("64MB", listeners=[events.append])  # the source must not be far ahead
    assert result.attempts == 2
    assert result.rows_read == ROWS
    assert found(url) == (ROWS, ROWS)
    failures = [event.message for event in events if event.kind == "attempt_failed"]
    assert len(failures) == 1
    assert "trying again in" in failures[0]


def test_the_last_attempt_s_error_is_raised_and_nothing_is_there(url: str) -> None:
    with pytest.raises(TransientError) as caught:
        plan(url, "FROM STDIN", 9).run()
    assert caught.value.result.attempts == 3
    assert found(url) is None


def test_an_error_in_the_data_is_final(url: str) -> None:
    twice = datapipe.read("SELECT 1 AS id UNION ALL SELECT 1", source=url)
    with pytest.raises(DataError) as caught:
        twice.write("t", to=url, strategy="insert", keys=["id"]).run()
    assert caught.value.result.attempts == 1
