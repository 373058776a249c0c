"""Rows that were refused, with the reason: kept aside until the load that they belong to is written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from datapipe.data.spool import Spool

SCHEMA = pa.schema(
    [
        pa.field("step", pa.string(), nullable=False),
        pa.field("row_number", pa.int64(), nullable=False),  # of the step's input, from 1
        pa.field("column_name", pa.string()),
        pa.field("check_name", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("data", pa.string()),  # the row as JSON
    ]
)
_MOST = 8 << 20  # bytes kept in memory


class Rejects:
    """Refused rows, in memory as long as they are few, then in files.

    Examples
    --------
    >>> rejects = Rejects()
    >>> rejects.add(pa.RecordBatch.from_pylist([], schema=SCHEMA), Path())
    >>> rejects.rows
    0
    """

    def __init__(self) -> None:
        self.rows = 0
        self.schemas: dict[str, pa.Schema] = {}  # of each step's input
        self._lock = threading.Lock()
        self._held: list[pa.RecordBatch] = []
        self._files: list[Spool] = []
        self._bytes = 0  # held

    def add(self, batch: pa.RecordBatch, scratch: Path) -> None:
        """Keep rows of :data:`SCHEMA`."""
        with self._lock:
            self.rows += batch.num_rows
            self._held.append(batch)
            self._bytes += batch.nbytes
            if self._bytes > _MOST:
                spool = Spool(scratch / f"rejects-{len(self._files)}.arrow", SCHEMA)
                for held in self._held:
                    spool.write(held)
                spool.close()
                self._files.append(spool)
                self._held, self._bytes = [], 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All of them, in the order they came."""
        for file in self._files:
            yield from file.batches()
        yield from self._held
