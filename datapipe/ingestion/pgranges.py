"""PostgreSQL in ranges of a column: one snapshot, read over several connections at once."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import psycopg
import pyarrow as pa

from datapipe.data.pgbackend import IDENTITY, watched_backend
from datapipe.data.pgerrors import translate
from datapipe.data.prefetch import Prefetch
from datapipe.data.stream import Workspace
from datapipe.ingestion.postgresql import Query, rows_of
from datapipe.ingestion.ranges import Cutting, Ranges, Snapshot, conditions, cuts, find_column
from datapipe.settings import settings

# While others read the snapshot, its own connection does nothing.
_BEGIN = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "SET LOCAL idle_in_transaction_session_timeout = 0")


@contextmanager
def read_ranges(found: Query, cutting: Cutting, work: Workspace) -> Iterator[Iterator[pa.RecordBatch]]:
    """The rows of all ranges, read side by side, as they come."""
    with snapshot_of(found, cutting, work) as ranges:
        waiting = collections.deque(ranges)
        readers = min(len(waiting), side_by_side())
        work.tell(f"read in {_count(len(waiting))} on {cutting.column}")

        def read() -> Iterator[pa.RecordBatch]:
            while waiting:
                try:
                    part = waiting.popleft()
                except IndexError:  # another reader was quicker
                    return
                with rows_of(found, work, part) as batches:
                    yield from batches

        budget = (readers + 1) * work.batch_bytes
        ahead = Prefetch([read() for _ in range(readers)], budget, work.cancel, "datapipe read range")
        work.holds(lambda: ahead.peak)
        with ahead.running() as batches:
            yield batches


def side_by_side() -> int:
    """How many ranges are read at a time: no more than there are cores, or connections for one database."""
    return max(1, min(os.cpu_count() or 1, settings().pool_size + settings().pool_overflow))


@contextmanager
def snapshot_of(found: Query, cutting: Cutting, work: Workspace) -> Iterator[Ranges]:
    """A snapshot of the server, and the ranges of the rows in it; it lasts as long as this block.

    Its connection is none of the pool, which a target may need to itself.
    """
    place = find_column(cutting, found.schema)
    names = ", ".join(f"c{number}" for number in range(len(found.columns)))
    ends = f"SELECT min(c{place})::text, max(c{place})::text FROM (\n{found.sql}\n) AS q({names})"
    with ExitStack() as stack:  # which closes the connection without a word: by then nobody needs it
        try:
            raw = stack.enter_context(closing(psycopg.connect(found.road.conninfo, autocommit=True)))
            with watched_backend(raw, work.cancel) as (watch, backend), watch.waiting():
                for setup in (*_BEGIN, *found.session):
                    raw.execute(setup.encode())
                process, server, name = _row(raw, f"SELECT {IDENTITY}, pg_export_snapshot()")
                backend.identify(process, server)
                least, greatest = _row(raw, ends)
        except psycopg.Error as error:
            work.cancel.check()
            raise translate(error) from None
        known = cuts(found.schema.field(place), least, greatest, cutting.count)
        yield Ranges(Snapshot(name), conditions(f"c{place}", known))


def _row(raw: psycopg.Connection[Any], sql: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] = raw.execute(sql.encode()).fetchone()  # type: ignore[assignment]  # there is one
    return row


def _count(ranges: int) -> str:
    return f"{ranges} partition{'s' if ranges > 1 else ''}"
