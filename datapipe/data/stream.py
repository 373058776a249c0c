"""What flows between stages: Arrow record batches of one schema, read once, and the room a run may use."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from datapipe.data.asking import Asked
from datapipe.data.cancel import CancelToken
from datapipe.data.locks import gate, hold, release
from datapipe.data.rejects import Rejects
from datapipe.errors import FatalError

T = TypeVar("T")
MIB = 1 << 20
SCRATCH = "datapipe-scratch-"  # how the name of a scratch directory begins


@dataclass(frozen=True)
class Block:
    """Rows in the form in which PostgreSQL sends and takes them: binary COPY, without its header and its end."""

    num_rows: int
    data: bytes

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return len(self.data)


@dataclass(frozen=True)
class Encoded:
    """Rows that nobody has looked into.

    Parameters
    ----------
    types : tuple of str
        The type of each column, as the server that sends them spells it.
    blocks : iterator of Block
        One pass only.
    """

    types: tuple[str, ...]
    blocks: Iterator[Block]


@dataclass(frozen=True)
class Stream:
    """Record batches with a schema that is known before the first of them.

    Parameters
    ----------
    schema : pyarrow.Schema
    batches : iterator of pyarrow.RecordBatch
        One pass only. An iterator that is stopped early raises; it never just ends.
    total : int, optional
        The number of rows, when the source knows it.
    encoded : Encoded, optional
        The same rows for a target of the source's own kind. Only one of the two is ever pulled.
    asked : Asked, optional
        What was read of a source that was asked for less than all.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    total: int | None = None
    encoded: Encoded | None = None
    asked: Asked | None = None


@dataclass(frozen=True)
class Workspace:
    """What one run may use.

    Parameters
    ----------
    memory : int
        Bytes for the whole run.
    batch_rows : int
        Rows of a batch handed to user code.
    limit : int, optional
        Rows to read from the source at most (a preview).
    scratch : pathlib.Path
        A private directory of this run, removed at its end.
    cancel : CancelToken
    call : callable
        Runs a user's function in the thread that called ``run()``.
    tell : callable
        Takes a note for the user, which ends in the run's result; ``lasting=True`` if it is true whatever follows.
    holds : callable
        Takes what says how many bytes a part of the step has held at most: a queue, a DuckDB, a gathered table.
    run_id : str
        The run's, the same at every attempt; a run without an id gets one here.
    rejects : Rejects, optional
        Takes rows that a validation keeps from the target, where there is a place for them.
    connect : callable, optional
        Gives a new database of DuckDB, where some are made ahead.
    """

    memory: int = 512 * MIB
    batch_rows: int = 10_000
    limit: int | None = None
    scratch: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    cancel: CancelToken = field(default_factory=CancelToken)
    call: Callable[[Callable[[], T]], T] = lambda work: work()
    tell: Callable[..., object] = lambda _, **__: None
    holds: Callable[[Callable[[], int]], object] = lambda _: None
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    rejects: Rejects | None = None
    connect: Callable[[], Any] | None = None

    @property
    def batch_bytes(self) -> int:
        """The size of a transfer batch, in bytes: small beside the memory, large beside the cost of a call."""
        return max(MIB // 4, min(4 * MIB, self.memory // 64))


@contextlib.contextmanager
def scratch_directory() -> Iterator[Path]:
    """A private directory (mode 0700), removed with everything in it; locked, so that cleanup knows it is in use.

    Raises
    ------
    FatalError
        If there is no room for one.
    """
    path, lock = _locked_directory()
    try:
        with _removing(path):
            yield path
    finally:
        if lock is not None:
            release(lock)


@contextlib.contextmanager
def spill_directory(work: Workspace) -> Iterator[Path]:
    """A directory of its own within the run's scratch directory.

    Raises
    ------
    FatalError
        If there is no room for one.
    """
    with _removing(_make_directory("duckdb-", work.scratch)) as path:
        yield path


def _locked_directory() -> tuple[Path, int | None]:
    """A new directory and its lock; none where the file system has no locks, and so cleanup removes nothing."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(gate(shared=True))
        path = _make_directory(SCRATCH)
        with contextlib.suppress(OSError):
            return path, hold(path)
        return path, None


def _make_directory(prefix: str, parent: Path | None = None) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    except OSError as error:
        hint = "Free space there, or set TMPDIR to a folder on another disk"
        raise FatalError(f"cannot make a temporary directory: {error.strerror or error}", hint=hint) from None


@contextlib.contextmanager
def _removing(path: Path) -> Iterator[Path]:
    """Remove a directory at the end; not at the end of a process that a user's function has forked."""
    owner = os.getpid()
    try:
        yield path
    finally:
        if os.getpid() == owner:
            shutil.rmtree(path, ignore_errors=True)


def resized(
    batches: Iterable[pa.RecordBatch], *, rows: int | None = None, size: int = 4 * MIB
) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of exactly ``rows`` rows (the last may be shorter), or of about ``size`` bytes.

    Small batches are joined, large ones are cut; empty ones vanish.
    """
    waiting: list[pa.RecordBatch] = []
    held_rows = held_bytes = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        waiting.append(batch)
        held_rows += batch.num_rows
        held_bytes += batch.nbytes
        if (held_rows >= rows) if rows else (held_bytes >= size // 2):
            full = _joined(waiting)
            step = rows or max(1, full.num_rows * size // max(1, full.nbytes))
            cut = full.num_rows - full.num_rows % rows if rows else full.num_rows
            for start in range(0, cut, step):
                yield full.slice(start, min(step, cut - start))
            rest = full.slice(cut)
            waiting = [rest] if rest.num_rows else []
            held_rows, held_bytes = rest.num_rows, rest.nbytes if rest.num_rows else 0
    if waiting:
        yield _joined(waiting)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def limited(batches: Iterable[pa.RecordBatch], limit: int | None) -> Iterator[pa.RecordBatch]:
    """The first ``limit`` rows."""
    left = limit
    for batch in batches:
        if left is None:
            yield batch
            continue
        yield batch.slice(0, left)
        left -= min(left, batch.num_rows)
        if not left:
            return
