"""kill -9 of a client whose statement the server is still running: the server notices, and ends it."""

from __future__ import annotations

from contextlib import closing
from signal import SIGKILL

import pytest
from crash.cells import PROMISED, Cell, Load
from crash.runs import ForkServer, wait_until

MERGES = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'INSERT INTO \"t\"%%'"
SLOW = """CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql
          AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END $$"""


@pytest.mark.parametrize("cell", [("postgresql", "upsert")], indirect=True, ids="-".join)
def test_a_killed_client_s_merge_ends_with_it(cell: Cell, forks: ForkServer) -> None:
    load = Load("key", "t", existed=True)
    cell.prepare(load)
    cell.database.query(SLOW)
    cell.database.query("CREATE TRIGGER slow BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION slow()")
    with closing(forks.start(cell.case(load))) as killed:
        wait_until(lambda: cell.database.query(MERGES) == [(1,)])
        killed.send(SIGKILL)
        assert killed.wait()
        assert cell.free_after() < PROMISED
    assert cell.torn(load) == []
    cell.database.query("DROP TRIGGER slow ON t")
    with closing(forks.start(cell.case(load))) as run:
        assert run.wait()
        assert run.outcome is not None
        assert run.outcome["state"] == "succeeded"
    assert [*cell.wrong(load), *forks.sweep(killed=1)] == []
