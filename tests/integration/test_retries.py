"""A run that loses its source or its target begins again at the source, and lands once; other errors are final."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from contracts.sinks import Sink

import datapipe
from datapipe.errors import DataError, TransientError

ROWS = 400_000
MEMORY = "64MB"  # little, so that no session has done its part before the others begin


@pytest.fixture(autouse=True)
def _retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_RETRIES", "2")
    monkeypatch.setenv("RETRY_BACKOFF_BASE", "0.05")


# How each server makes the rows, and how its sessions at a kind of statement are ended.
ORIGIN = {
    "postgresql": f"CREATE TABLE origin AS SELECT g FROM generate_series(1, {ROWS}) g",
    "mysql": f"CREATE TABLE origin AS SELECT seq AS g FROM seq_1_to_{ROWS}",
}
STATEMENTS = {
    "postgresql": {"writing": "COPY%FROM STDIN%", "reading": "COPY%FROM origin%"},
    "mysql": {"writing": "LOAD DATA%", "reading": "SELECT%FROM origin%"},
}


def end_sessions(sink: Sink, which: str) -> bool:
    """End the server's sessions that read, or write; whether there was one."""
    like = STATEMENTS[sink.kind][which]
    if sink.kind == "postgresql":
        text = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        return bool(sink.sql(f"{text} AND query ILIKE '{like}'"))
    text = "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID()"
    found = sink.sql(f"{text} AND info LIKE '{like}'")
    for (number,) in found:
        sink.sql(f"KILL {number}")
    return bool(found)


def killer(sink: Sink, which: str, times: int) -> Callable[[pa.Table], pa.Table]:
    """A per-batch function that ends the source's or the target's session in the middle, so many times."""
    state = {"left": times, "batches": 0}

    def pass_on(batch: pa.Table) -> pa.Table:
        state["batches"] += 1
        # The session may not have begun yet, or be gone since the last time.
        if state["left"] and state["batches"] % 4 == 0 and end_sessions(sink, which):
            state["left"] -= 1
        return batch

    return pass_on


def plan(sink: Sink, which: str, times: int) -> Any:
    source = datapipe.read("SELECT g AS id, repeat('x', 100) AS text FROM origin g", source=sink.url)
    return source.apply(killer(sink, which, times), per_batch=True).write("t", to=sink.url)


@pytest.fixture(params=ORIGIN)
def sink(request: pytest.FixtureRequest) -> Sink:
    made = Sink(request.param, request.getfixturevalue(f"{request.param}_url"))
    made.sql(ORIGIN[made.kind])
    return made


def found(sink: Sink) -> Any:
    if "t" not in sink.tables():
        return None
    return sink.sql("SELECT count(*), count(DISTINCT id) FROM t")[0]


@pytest.mark.parametrize("which", ["writing", "reading"])
def test_a_lost_backend_is_tried_again_from_the_source(sink: Sink, which: str) -> None:
    events: list[Any] = []
    result = plan(sink, which, 1).run(MEMORY, listeners=[events.append])
    assert result.attempts == 2
    assert result.rows_read == ROWS
    assert found(sink) == (ROWS, ROWS)
    failures = [event.message for event in events if event.kind == "attempt_failed"]
    assert len(failures) == 1
    assert "trying again in" in failures[0]


def test_the_last_attempt_s_error_is_raised_and_nothing_is_there(sink: Sink) -> None:
    with pytest.raises(TransientError) as caught:
        plan(sink, "writing", 9).run(MEMORY)
    assert caught.value.result.attempts == 3
    assert found(sink) is None


def test_an_error_in_the_data_is_final(sink: Sink) -> None:
    twice = datapipe.read("SELECT 1 AS id UNION ALL SELECT 1", source=sink.url)
    with pytest.raises(DataError) as caught:
        twice.write("t", to=sink.url, strategy="insert", keys=["id"]).run()
    assert caught.value.result.attempts == 1
