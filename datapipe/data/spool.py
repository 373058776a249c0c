"""Batches in a file of the run's own until they are needed."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from datapipe.errors import FatalError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Spool:
    """Batches of one schema, written to a file and then read.

    Raises
    ------
    FatalError
        If the disk is full, or the file cannot be written.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        with _on_disk():
            self._sink = pa.OSFile(str(path), "wb")
            self._writer = pa.ipc.new_stream(self._sink, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        """Add a batch."""
        with _on_disk():
            self._writer.write_batch(batch)

    def close(self) -> None:
        """Take no more batches."""
        with _on_disk():
            self._writer.close()
            self._sink.close()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All of them, in the order they came."""
        with pa.OSFile(str(self.path), "rb") as source, pa.ipc.open_stream(source) as reader:
            yield from reader


@contextmanager
def _on_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = "the disk is full" if error.errno in _FULL else "cannot write a temporary file"
        hint = "Free space there, or set TMPDIR to a folder on another disk"
        raise FatalError(f"{what}: {error.strerror or error}", hint=hint) from None
