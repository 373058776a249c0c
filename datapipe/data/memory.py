"""A whole stream as one table, if the memory allows it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from datapipe.data.stream import MIB, Stream, Workspace
from datapipe.errors import DataError

_CGROUP = Path("/sys/fs/cgroup")


def gathered(stream: Stream, work: Workspace, room: int) -> pa.Table:
    """The whole stream as one table of at most ``room`` bytes.

    One that needs more than the step's share of ``memory=`` tells so, once that can be foreseen.

    Raises
    ------
    DataError
        If it is larger, before memory runs out.
    """
    batches, rows, held, is_told = [], 0, 0, False
    work.holds(lambda: held)
    for batch in checked(stream.batches, work):
        rows, held = rows + batch.num_rows, held + batch.nbytes
        if held > room:
            raise _too_large(stream, room, rows, held)
        whole = _foreseen(stream, rows, held)
        if not is_told and whole > work.memory:
            is_told = True
            told = f"{stream.total:,} rows of about {held // rows:,} bytes" if stream.total else f"{rows:,} rows so far"
            work.tell(f"a Python function takes the whole table, about {whole // MIB:,} MiB beyond memory=: {told}")
        batches.append(batch)
    return pa.Table.from_batches(batches, schema=stream.schema)


def _foreseen(stream: Stream, rows: int, held: int) -> int:
    """The bytes of the whole table if all rows are like these; those of these, if nobody knows how many come."""
    return held * max(stream.total or 0, rows) // max(1, rows)


def _too_large(stream: Stream, room: int, rows: int, held: int) -> DataError:
    whole = _foreseen(stream, rows, held)
    rest = f", and all {stream.total:,} would be about {whole // MIB:,} MiB" if (stream.total or 0) > rows else ""
    return DataError(
        f"the whole table needs more than {room // MIB:,} MiB, half of the memory that is free: "
        f"the first {rows:,} rows have {held // MIB:,} MiB{rest}",
        hint="Use per_batch=True, do it in .sql(), or filter before this step",
    )


def checked(batches: Iterator[pa.RecordBatch], work: Workspace) -> Iterator[pa.RecordBatch]:
    """The same batches; a cancelled run raises instead of ending early."""
    for batch in batches:
        work.cancel.check()
        yield batch


def free_memory() -> int:
    """The bytes this process can still have: what the machine has free, or what its container leaves it."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit, used = (int((_CGROUP / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        counts = dict(line.split() for line in (_CGROUP / "memory.stat").read_text(encoding="ascii").splitlines())
        return max(0, min(free, limit - used + int(counts["inactive_file"])))
    except (OSError, ValueError, KeyError):
        return free  # no container, or one without a limit
