"""Rows that go from one PostgreSQL table to another as the server encodes them: all of them, wherever a block ends."""

from __future__ import annotations

import psycopg
import pytest

import datapipe
from datapipe.ingestion import pgrelay

# A block ends after so many messages, of which the server sends the last, that there are no more rows, by itself.
ROWS = pgrelay._ROWS


@pytest.mark.parametrize("rows", [0, 1, ROWS - 2, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS - 1, 2 * ROWS])
def test_no_row_is_lost_and_none_is_made(postgresql_url: str, rows: int) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as conn:
        conn.execute(f"CREATE TABLE numbers AS SELECT g AS id FROM generate_series(1, {rows}) AS g")
        plan = datapipe.read("numbers", source=postgresql_url).write("copy", to=postgresql_url)
        for _ in range(2):  # into a new table, and into one that is there
            assert plan.run().rows_written == rows
        found = conn.execute("SELECT count(*), count(DISTINCT id), coalesce(max(id), 0) FROM copy").fetchone()
    assert found == (2 * rows, rows, rows)


def test_a_row_may_fill_its_block_to_the_trailer(postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as conn:
        for spare in range(24):  # one of them leaves just the trailer's bytes
            length = pgrelay._BLOCK - spare - 6
            conn.execute(f"CREATE OR REPLACE VIEW long AS SELECT repeat('x', {length}) AS v")
            plan = datapipe.read("SELECT * FROM long", source=postgresql_url)
            assert plan.write("texts", to=postgresql_url, strategy="replace").run().rows_written == 1
            assert conn.execute("SELECT length(v) FROM texts").fetchall() == [(length,)]


@pytest.mark.parametrize("latest", [None, "at"])
def test_rows_with_json_may_repeat_a_key(postgresql_url: str, latest: str | None) -> None:
    rows = "(VALUES (1, 1, '{}'::json), (1, 1, '{}'), (2, 5, NULL)) AS r(id, at, j)"
    plan = datapipe.read(f"SELECT * FROM {rows}", source=postgresql_url)
    result = plan.write("t", to=postgresql_url, strategy="upsert", keys=["id"], latest=latest).run()
    assert (result.rows_written, result.deduplicated) == (2, 1)
