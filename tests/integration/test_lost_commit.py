"""A connection that is cut exactly at COMMIT: the rows are there once, whether or not the server got to commit."""

from __future__ import annotations

import psycopg
import pytest
from faults import Fault, proxied

import datapipe

TIMES = 50


@pytest.mark.parametrize("forwarded", [True, False], ids=["reply lost", "COMMIT lost"])
def test_an_append_cut_at_commit_lands_once(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch, forwarded: bool
) -> None:
    monkeypatch.setenv("MAX_RETRIES", "3")
    monkeypatch.setenv("RETRY_BACKOFF_BASE", "0.05")
    query = "SELECT CAST(:run AS int) AS run, g AS id FROM generate_series(1, 100) g"
    with proxied(postgresql_url) as (proxy, url):
        for run in range(TIMES + 1):
            if run:  # the first creates the tables
                proxy.arm(Fault("cut", pattern=b"COMMIT", forwarded=forwarded))
            plan = datapipe.read(query, source=postgresql_url, params={"run": run}).write("t", to=url)
            result = plan.run()
            if run:
                assert proxy.struck.wait(5)
                assert result.attempts == (1 if forwarded else 2)
    with psycopg.connect(postgresql_url) as conn:
        found = conn.execute("SELECT count(DISTINCT run), count(DISTINCT (run, id)), count(*) FROM t").fetchone()
        assert found == (TIMES + 1, 100 * (TIMES + 1), 100 * (TIMES + 1))
        assert conn.execute("SELECT count(*) FROM _datapipe.loads").fetchone() == (TIMES + 1,)
