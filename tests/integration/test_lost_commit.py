"""A connection that is cut exactly at COMMIT: the rows are there once, whether or not the server got to commit."""

from __future__ import annotations

import pytest
from contracts.sinks import Sink
from faults import Fault, proxied

import datapipe

TIMES = [5, pytest.param(20, marks=pytest.mark.soak)]
QUERIES = {
    "postgresql": "SELECT CAST(:run AS int) AS run, g AS id FROM generate_series(1, 100) g",
    "mysql": "SELECT CAST(:run AS int) AS run, seq AS id FROM seq_1_to_100",
}
COMMIT = {"postgresql": b"COMMIT", "mysql": b"\x03COMMIT"}  # as it is sent
LEDGERS = {"postgresql": "_datapipe.loads", "mysql": "_datapipe_loads"}


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("forwarded", [True, False], ids=["reply lost", "COMMIT lost"])
@pytest.mark.parametrize("kind", QUERIES)
def test_an_append_cut_at_commit_lands_once(
    kind: str, forwarded: bool, times: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_RETRIES", "3")
    monkeypatch.setenv("RETRY_BACKOFF_BASE", "0.05")
    sink = Sink(kind, request.getfixturevalue(f"{kind}_url"))
    with proxied(sink.url) as (proxy, url):
        for run in range(times + 1):
            if run:  # the first creates the tables
                proxy.arm(Fault("cut", pattern=COMMIT[kind], forwarded=forwarded))
            plan = datapipe.read(QUERIES[kind], source=sink.url, params={"run": run}).write("t", to=url)
            result = plan.run()
            if run:
                assert proxy.struck.wait(5)
                assert result.attempts == (1 if forwarded else 2)
    ids = "(SELECT DISTINCT run, id FROM t) AS d"
    assert sink.sql("SELECT count(DISTINCT run), count(*) FROM t") == [(times + 1, 100 * (times + 1))]
    assert sink.sql(f"SELECT count(*) FROM {ids}") == [(100 * (times + 1),)]
    assert sink.sql(f"SELECT count(*) FROM {LEDGERS[kind]}") == [(times + 1,)]
