"""A server that crashes during a load and comes back: as if the load had never run, and a retry loads exactly once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import psycopg
import pytest
from crash.cells import Load, open_cell
from crash.databases import open_database
from crash.runs import ForkServer
from services import find_postgresql, running_postgresql

from datapipe.local.programs import prepare

LOAD = Load("key", "t", existed=True)


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """The URL of a PostgreSQL server that nobody else uses, and what makes it crash and come back."""
    service = find_postgresql()
    if service is None or service.url is not None:
        pytest.skip("needs a PostgreSQL server of its own, to crash it")
    with running_postgresql(service) as url:
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("ALTER DATABASE postgres SET synchronous_commit = on")  # what is committed survives
            row = conn.execute("SHOW data_directory").fetchone()
        assert row is not None
        data = Path(row[0])
        programs = prepare(data.parent, service.programs)
        options = ("-D", str(data), "-l", str(data.parent / "server.log"), "-m", "immediate", "-w")
        yield url, lambda: programs.run("pg_ctl", "restart", *options)


# Each starts a server: CI has each point and each number of retries once.
@pytest.mark.parametrize(
    ("point", "retries"),
    [
        ("copying", 0),
        ("recorded", 3),
        *(pytest.param(*more, marks=pytest.mark.soak) for more in (("copying", 3), ("recorded", 0))),
    ],
)
def test_a_load_whose_server_crashed_has_not_happened(
    fragile: tuple[str, Callable[[], str]], forks: ForkServer, tmp_path: Path, point: str, retries: int
) -> None:
    url, crash = fragile
    with open_cell("postgresql", "upsert", url, tmp_path) as cell:
        cell.prepare(LOAD)
        patience = {"MAX_RETRIES": str(retries), "RETRY_BACKOFF_BASE": "0.5"}
        run = forks.start(cell.case(LOAD, at=point, signal=SIGSTOP, environment=patience))
        run.reach(point)
        crash()
    with open_database("postgresql", url) as database, closing(run):
        cell = dataclasses.replace(cell, database=database)
        assert cell.torn(LOAD) == []
        run.send(SIGCONT)
        assert run.wait()
        assert run.outcome is not None
        if retries:
            assert run.outcome["state"] == "succeeded", run.outcome
        else:
            assert run.outcome["error"] == "TransientError", run.outcome
            assert database.query("SELECT count(*) FROM _datapipe.loads") == [(0,)]
        with closing(forks.start(cell.case(LOAD))) as again:
            assert again.wait()
            assert again.outcome is not None
            assert (again.outcome["state"], again.outcome["replayed"]) == ("succeeded", retries > 0), again.outcome
        assert cell.wrong(LOAD) == []
