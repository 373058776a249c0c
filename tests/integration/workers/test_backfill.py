"""A backfill on two workers, one of which is killed: each slice is loaded once."""

from __future__ import annotations

import datetime as dt
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from services import private_redis, redis_program
from workerside import running_worker, until, workplace

import datapipe
from datapipe.backfilling import Backfill

_SOURCE = """
CREATE TABLE events AS
  SELECT n AS id, timestamptz '2023-01-01' + n * interval '6 hours' AS at FROM generate_series(0, 365 * 4 - 1) AS n;
CREATE INDEX ON events (at)
"""


@pytest.fixture
def environment(postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    with psycopg.connect(postgresql_url) as conn:
        conn.execute(_SOURCE)
    with (
        private_redis(redis_program()) as broker,
        workplace(monkeypatch, broker.url, postgresql_url, tmp_path / "home") as found,
    ):
        yield found


def query(sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(os.environ["DEST_DB_URL"]) as conn:
        return conn.execute(sql.encode()).fetchall()


def loaded() -> int:
    """How many loads the ledger has."""
    there = query("SELECT to_regclass('_datapipe.loads')")[0][0]
    return int(query("SELECT count(*) FROM _datapipe.loads")[0][0]) if there else 0


@pytest.mark.parametrize("days", [8, pytest.param(365, marks=pytest.mark.soak)])
def test_each_day_is_loaded_once_though_a_worker_is_killed(
    environment: dict[str, str], tmp_path: Path, days: int
) -> None:
    plan = datapipe.read("events", incremental="at").write("copy")
    start = dt.date(2023, 1, 1)
    ends = start, start + dt.timedelta(days=days)
    found: list[Backfill] = []

    def load() -> None:
        found.append(datapipe.backfill(plan, *ends, every="1 day", workers=True, tell=lambda _: None))

    with running_worker(environment, tmp_path), running_worker(environment, tmp_path, "w2") as second:
        thread = threading.Thread(target=load)
        thread.start()
        until(lambda: loaded() > 1)
        second.kill()
        time.sleep(0.1)
        with running_worker(environment, tmp_path, "w3"):
            thread.join(600)
        again = datapipe.backfill(plan, *ends, every="1 day", tell=lambda _: None)
    assert found[0].failed == ()
    assert (len(found[0].slices), found[0].rows) == (days, days * 4)
    assert query("SELECT count(*), count(DISTINCT id) FROM copy") == [(days * 4, days * 4)]
    assert all(each.replayed for each in again.slices) and again.rows == days * 4
    assert loaded() == days
