"""A database and a strategy: what is loaded, and what must be there in the end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crash.child import Case
from crash.databases import Database, open_database
from datapipe.persistence import Delivery

STRATEGIES = ("append", "insert", "upsert", "replace")
PROMISED = 2.0  # seconds after which nothing of a killed run is left

_ROWS, _OLD = 20_000, 1_000
_GIVEN = [(n, f"row {n}", n * 1.5) for n in range(1, _ROWS + 1)]
_COLUMNS = "id bigint NOT NULL, name varchar(40), amount double precision"
# Which keys are there before: for insert none of those that come, for upsert half of the old ones come again.
_FIRST_OLD = {"insert": _ROWS, "upsert": _ROWS - _OLD // 2}


@dataclass(frozen=True)
class Load:
    """One key, and the table that it loads."""

    key: str
    table: str
    existed: bool  # whether the table was there before, with rows


@dataclass(frozen=True)
class Cell:
    """One database and one strategy; every load has a table of its own."""

    kind: str
    strategy: str
    database: Database
    source: str

    def case(self, load: Load, **more: Any) -> Case:
        """What a run of a load is started with."""
        query = more.pop("query", "SELECT id, name, amount FROM given")
        urls = {"source": self.source, "target": self.database.url}
        return Case(
            self.kind,
            query=query,
            table=load.table,
            strategy=self.strategy,
            keys=self._keys,
            key=load.key,
            **urls,
            **more,
        )

    @property
    def _keys(self) -> list[str]:
        return ["id"] if self.strategy in {"insert", "upsert"} else []

    def prepare(self, load: Load) -> None:
        """Create the table of a load that finds one."""
        if load.existed:
            key = ", PRIMARY KEY (id)" if self._keys else ""
            self.database.query(f"CREATE TABLE {load.table} ({_COLUMNS}{key})")
            self.database.query(f"INSERT INTO {load.table} SELECT id, name, amount FROM old")

    def old(self) -> list[tuple[Any, ...]]:
        """The rows of a table that existed."""
        first = _FIRST_OLD.get(self.strategy, 0)
        return [(first + n, "old", 0.5) for n in range(1, _OLD + 1)]

    def expected(self, load: Load) -> list[tuple[Any, ...]]:
        """The rows after a load has taken effect."""
        if not load.existed or self.strategy == "replace":
            return _GIVEN
        if self.strategy == "upsert":
            return list({row[0]: row for row in [*self.old(), *_GIVEN]}.values())
        return [*self.old(), *_GIVEN]

    def torn(self, load: Load) -> list[str]:
        """What is wrong at any time: rows and ledger must show a load together, or not at all."""
        if load.table not in self.database.tables():
            return []
        counts = f"SELECT (SELECT COUNT(*) FROM {load.table}), ({self._recorded})"
        ((rows, recorded),) = self.database.query(counts, _hashed(load))
        before, after = (_OLD if load.existed else 0, 0), (len(self.expected(load)), 1)
        return [] if (rows, recorded) in {before, after} else [f"torn: {rows} rows, {recorded} in the ledger"]

    @property
    def _recorded(self) -> str:
        return f"SELECT COUNT(*) FROM {self.database.ledger} AS l WHERE l.key = {self.database.mark}"

    def wrong(self, load: Load) -> list[str]:
        """What is wrong when a load has been run to its end; its table is dropped."""
        found = Counter(self.database.query(f"SELECT id, name, amount FROM {load.table}"))
        expected = Counter(self.expected(load))
        ((recorded,),) = self.database.query(self._recorded, _hashed(load))
        self.database.query(f"DROP TABLE {load.table}")
        counts = {"rows in the ledger besides one": abs(recorded - 1)}
        if found != expected:  # what is subtracted takes longer than to compare
            counts |= {"rows too many": (found - expected).total(), "rows missing": (expected - found).total()}
        left = self.database.tables() - self.database.internal - {"given", "old"}
        return [f"{count} {what}" for what, count in counts.items() if count] + [f"left: {name}" for name in left]

    def free_after(self) -> float:
        """Seconds until nothing is left of runs that have all ended: no connection, no lock."""
        began = time.monotonic()
        while not self.database.is_free() and time.monotonic() - began < 2 * PROMISED:
            time.sleep(0.005)
        return time.monotonic() - began


def _hashed(load: Load) -> str:
    return Delivery(idempotency_key=load.key).key


@contextmanager
def open_cell(kind: str, strategy: str, url: str, folder: Path) -> Iterator[Cell]:
    """A cell in an empty database; the source is beside it, or for SQLite in a file of its own."""
    source = f"sqlite:///{folder / 'source.db'}" if kind == "sqlite" else url
    with open_database(kind, source) as database:
        database.query(f"CREATE TABLE given ({_COLUMNS})")
        database.insert("given", _GIVEN)
    with open_database(kind, url) as database:
        cell = Cell(kind, strategy, database, source)
        database.query(f"CREATE TABLE old ({_COLUMNS})")
        database.insert("old", cell.old())
        yield cell
