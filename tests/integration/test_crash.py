"""kill -9 at named points and at random times, with duplicate runners of one key: every load takes effect once."""

from __future__ import annotations

import time

import pytest
from crash.cells import STRATEGIES, Cell
from crash.child import POINTS
from crash.databases import TESTED
from crash.kills import Killer
from crash.runs import ForkServer
from crash.soak import TITLES, line

CELLS = [(kind, strategy) for kind in TESTED for strategy in STRATEGIES]
every_cell = pytest.mark.parametrize("cell", CELLS, indirect=True, ids="-".join)


@every_cell
def test_killed_at_every_named_point(cell: Cell, forks: ForkServer) -> None:
    killer = Killer(cell, forks, "points")
    for point in POINTS:
        killer.kill_at(point)
    assert killer.tally.wrong == []


@every_cell
@pytest.mark.parametrize("kills", [15, pytest.param(1000, marks=pytest.mark.soak)])
def test_killed_at_random_times(cell: Cell, forks: ForkServer, kills: int) -> None:
    began = time.monotonic()
    tally = Killer(cell, forks, f"random {cell.kind} {cell.strategy}").kill(kills)
    print(TITLES, line(cell.kind, cell.strategy, tally, time.monotonic() - began), sep="\n")
    assert tally.problems == []
