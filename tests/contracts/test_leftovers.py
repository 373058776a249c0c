"""Stages that no live run owns are dropped from every database."""

from __future__ import annotations

import pytest
from contracts.sinks import Sink

from datapipe.data.stream import Workspace
from datapipe.persistence import drop_stages
from datapipe.persistence.sessions import open_session
from datapipe.persistence.tables import Table
from datapipe.plan import DatabaseUrl, TableTarget

STAGES = ["_datapipe_stage", "_datapipe_stage_2"]


@pytest.fixture
def url(sink: Sink) -> DatabaseUrl:
    """A database with two stages and two tables of the user's."""
    sink.sql(*(f"CREATE TABLE {name} (id int)" for name in [*STAGES, "users", "xdatapipe_stage"]))
    return DatabaseUrl.parse(sink.url)


def test_stages_are_dropped(sink: Sink, url: DatabaseUrl) -> None:
    assert [found.name.rpartition(".")[2] for found in drop_stages(url, dry_run=True)] == STAGES
    assert len(sink.tables()) == 4
    assert {found.kind for found in drop_stages(url)} == {"table"}
    assert sink.tables() == ["users", "xdatapipe_stage"]
    assert drop_stages(url) == ()


def test_stages_of_a_live_run_stay(sink: Sink, url: DatabaseUrl) -> None:
    with open_session(TableTarget(table_name="t", dest_db_url=url), Workspace()) as session:
        for turn in {session.turn(session.place(Table(name))) for name in STAGES}:
            assert session.lock(turn, "a live run") is None
        assert drop_stages(url) == ()
    assert len(sink.tables()) == 4
