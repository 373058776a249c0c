"""kill -9 at named points and at random times, with duplicate runners of one key: every load takes effect once."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

import pytest
from crash.cells import STRATEGIES, Cell, Load
from crash.child import POINTS
from crash.databases import KINDS
from crash.kills import Killer
from crash.runs import ForkServer
from crash.soak import TITLES, line

CELLS = [(kind, strategy) for kind in KINDS for strategy in STRATEGIES]
# CI kills half of the cells at every point and the other half at random times, so that each is killed. By hand, all in
# both ways.
AT_POINTS = {(kind, STRATEGIES[(first + place) % 4]) for first, kind in enumerate(KINDS) for place in (0, 2)}


def cells(often: Callable[[tuple[str, str]], bool]) -> pytest.MarkDecorator:
    """Every cell; those that are not tested often are run by hand."""
    found = [pytest.param(cell, marks=() if often(cell) else pytest.mark.soak, id="-".join(cell)) for cell in CELLS]
    return pytest.mark.parametrize("cell", found, indirect=True)


@cells(lambda cell: cell in AT_POINTS)
def test_killed_at_every_named_point(cell: Cell, forks: ForkServer) -> None:
    killer = Killer(cell, forks, "points")
    for point in POINTS:
        killer.kill_at(point)
    assert killer.tally.wrong == []


@pytest.mark.parametrize("kills", [9, pytest.param(1000, marks=pytest.mark.soak)])
@cells(lambda cell: cell not in AT_POINTS)
def test_killed_at_random_times(cell: Cell, forks: ForkServer, kills: int) -> None:
    began = time.monotonic()
    tally = Killer(cell, forks, f"random {cell.kind} {cell.strategy}").kill(kills)
    print(TITLES, line(cell.kind, cell.strategy, tally, time.monotonic() - began), sep="\n")
    assert tally.problems == []


@pytest.mark.parametrize("cell", [(kind, "append") for kind in KINDS], indirect=True, ids="-".join)
def test_the_first_runs_of_all_at_once(cell: Cell, forks: ForkServer) -> None:
    loads = [Load(f"key {number}", "t", existed=False) for number in range(4)]
    runs = [forks.start(cell.case(load)) for load in loads]
    for run in runs:
        with closing(run):
            assert run.wait()
            assert run.outcome is not None
            assert run.outcome["state"] == "succeeded", run.outcome
    assert cell.database.query("SELECT COUNT(*), COUNT(DISTINCT id) FROM t") == [(80_000, 20_000)]
