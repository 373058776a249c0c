"""MariaDB: writers of one table take turns whatever database they are connected to; others' rows are never dropped."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from contracts.sinks import Sink
from services import mysql_database

from datapipe.data.stream import Stream, Workspace
from datapipe.persistence.sessions import open_session
from datapipe.persistence.tables import Table
from datapipe.plan import TableTarget, build

ROWS = pa.table({"id": [1, 2]})


def test_one_table_has_one_turn_whatever_the_database_of_the_url(mysql_server: str) -> None:
    with mysql_database(mysql_server) as one, mysql_database(mysql_server) as other:
        sinks = [Sink("mysql", url) for url in (one, other)]
        mine, theirs = (build(TableTarget, {"table_name": "t", "dest_db_url": sink.url}) for sink in sinks)
        place = Table("t", sinks[0].schema)
        with open_session(mine, Workspace()) as first, open_session(theirs, Workspace()) as second:
            assert first.lock(first.turn(first.place(Table("t"))), "first") is None
            assert second.lock(second.turn(second.place(place)), "second") is not None
            # A key belongs to the ledger of its database.
            assert first.lock("key k", "first") is None
            assert second.lock("key k", "second") is None


@pytest.mark.parametrize("commits", [True, False])
def test_a_table_that_somebody_has_written_to_stays(mysql_url: str, commits: bool) -> None:
    sink = Sink("mysql", mysql_url)

    def batches() -> Iterator[pa.RecordBatch]:
        yield from ROWS.to_batches()
        if commits:
            sink.sql("INSERT INTO t VALUES (99)")
        raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        sink.write(Stream(ROWS.schema, batches()))
    assert ("t" in sink.tables()) == commits
    assert not commits or sink.rows() == [(99,)]
