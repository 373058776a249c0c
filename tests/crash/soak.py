"""Cells, one after the other, and a line about each."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from services import find_mysql, find_postgresql, mysql_database, postgresql_database, running_mysql, running_postgresql

from crash.cells import open_cell
from crash.kills import Killer, Tally
from crash.runs import fork_server

_ROW = "{:<11} {:<8} {:>6} {:>6} {:>14} {:>8} {:>10} {:>6} {:>8}"
TITLES = _ROW.format(
    "database", "strategy", "kills", "cases", "COPY..COMMIT", "replays", "longest s", "wrong", "minutes"
)

Databases = Callable[[Path], AbstractContextManager[str]]


@dataclass(frozen=True)
class Soak:
    """What is asked of every cell."""

    kills: int
    minutes: float
    seed: int


def soak(kinds: Sequence[str], strategies: Sequence[str], asked: Soak) -> bool:
    """Kill as often as asked, in every cell; whether everything was right."""
    print(f"seed {asked.seed}\n{TITLES}", flush=True)
    right = True
    for kind in kinds:
        with _server(kind) as database:
            for strategy in strategies:
                began = time.monotonic()
                tally = _soaked(kind, strategy, database, asked)
                print(line(kind, strategy, tally, time.monotonic() - began), flush=True)
                right = right and not tally.problems
    return right


def _soaked(kind: str, strategy: str, database: Databases, asked: Soak) -> Tally:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(database(folder))
        cell = stack.enter_context(open_cell(kind, strategy, url, folder))
        server = stack.enter_context(fork_server(folder))
        return Killer(cell, server, f"{asked.seed} {kind} {strategy}").kill(asked.kills, 60 * asked.minutes)


def line(kind: str, strategy: str, tally: Tally, seconds: float) -> str:
    """A cell's figures, and below them where the kills landed and what was wrong."""
    share = f"{tally.inside} ({tally.inside / max(1, tally.kills):.0%})"
    figures = (tally.kills, tally.cases, share, tally.replays, f"{tally.longest:.3f}", len(tally.wrong))
    places = ", ".join(f"{place} {count}" for place, count in tally.places.most_common())
    return "\n  ".join([_ROW.format(kind, strategy, *figures, f"{seconds / 60:.1f}"), places, *tally.problems])


@contextmanager
def _server(kind: str) -> Iterator[Databases]:
    """What makes an empty database; a server runs meanwhile, where there is one."""
    if kind == "sqlite":
        yield lambda folder: nullcontext(f"sqlite:///{folder / 'target.db'}")
    elif kind == "postgresql":
        service = find_postgresql()
        assert service is not None, "no PostgreSQL"
        with running_postgresql(service) as server:
            yield lambda _: postgresql_database(server)
    else:
        service = find_mysql()
        assert service is not None, "no MariaDB"
        with running_mysql(service) as server:
            yield lambda _: mysql_database(server)
