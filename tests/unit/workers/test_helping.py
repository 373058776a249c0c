"""Helpers trust what they are told of a run as they trust its plan: by its signature."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from datapipe.errors import PlanError
from datapipe.plan import parse
from datapipe.store import Board, RunStore
from datapipe.workers import helping
from datapipe.workers.envelope import seal

KEY = "k" * 40
PLAN = {
    "ingestion": {"table": "t", "source_db_url": "postgresql://nobody@127.0.0.1:1/none", "partition_on": "id"},
    "persistence": {"table_name": "u", "dest_db_url": "postgresql://nobody@127.0.0.1:1/none"},
}
ABOUT = {"snapshot": "s", "conditions": ["true"], "schema": "", "memory": 1 << 26, "lease": "lease"}


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    monkeypatch.setenv("DATAPIPE_SIGNING_KEY", KEY)
    store = RunStore(sa.create_engine("sqlite://", poolclass=sa.StaticPool, connect_args={"check_same_thread": False}))
    store.add("r", state="queued", queue="q", message=seal(parse(PLAN), "r", {}, key=KEY))
    store.claim("r", "lease")
    board = Board(store, "r", "lease", "lease")
    board.open(1, helping.sealed_for("r", ABOUT))
    return Board(store, "r", "lease", "helper")


def test_what_was_changed_in_the_store_is_refused(board: Board) -> None:
    known: dict[str, Any] = dict(helping.sealed_for("r", ABOUT))
    for change in ({"conditions": ["true) UNION SELECT * FROM secrets --"]}, {"snapshot": "'; DROP TABLE t; --"}):
        with pytest.raises(PlanError, match="signature is wrong"):
            helping._help(board, {**known, **change})
    unsigned = {name: value for name, value in known.items() if name != "signature"}
    with pytest.raises(PlanError, match="is not signed"):
        helping._help(board, unsigned)
    with pytest.raises(PlanError, match="for run 'other'"):
        helping._help(board, helping.sealed_for("other", ABOUT))
    with pytest.raises(PlanError, match="another attempt's"):
        helping._help(board, helping.sealed_for("r", {**ABOUT, "lease": "old"}))
    assert board.take() is not None, "nothing was taken"


def test_a_helper_that_fails_leaves_the_partition_to_the_runs_own_worker(
    board: Board, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MAX_RETRIES", "0")
    helping._help(board, helping.sealed_for("r", ABOUT))  # nobody listens at port 1
    assert "partition 1 of run r is left to its worker" in caplog.text
    leader = Board(board.store, "r", "lease", "lease")
    part = leader.take()
    assert part is not None and (part.number, part.attempt) == (1, 2)
