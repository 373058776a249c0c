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

    Raises
    ------
    DataError
        If it is larger, before memory runs out.
    """
    batches, held = [], 0
    for batch in checked(stream.batches, work):
        held += batch.nbytes
        if held > room:
            raise DataError(
                f"the whole table needs more than {room // MIB:,} MiB, half of the memory that is free",
                hint="Use per_batch=True, do it in .sql(), or filter before this step",
            )
        batches.append(batch)
    return pa.Table.from_batches(batches, schema=stream.schema)


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
