"""Rows on their way from one task to the next: Arrow files at a place that all workers of a chain reach.

A task leaves a file ``<task id>.<random>.arrow`` and a note ``<task id>.json`` with its result, which tells a second
delivery of the task that it has been done. Files are named by what wrote them, never by what asks for them.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from datapipe.data.stream import Stream, Workspace, resized, scratch_directory
from datapipe.data.types import describe
from datapipe.errors import FatalError, PlanError
from datapipe.persistence import Leftover
from datapipe.plan import StoredTable
from datapipe.workers.envelope import VALID
from datapipe.workers.places import PART, place

_DAY = 86_400.0
_PLAIN = re.compile(r"[0-9A-Za-z-]{1,64}")
_ROWS = re.compile(r"([0-9A-Za-z-]{1,64})\.[0-9a-f]{32}\.arrow")
_OURS = re.compile(rf"{_ROWS.pattern}|[0-9A-Za-z-]{{1,64}}\.json")


class SpoolMissing(FatalError):  # noqa: N818  # it names a state
    """The rows that a task was to read are not in the spool."""


@dataclass(frozen=True)
class SpoolFile:
    """Rows in the spool.

    Parameters
    ----------
    name : str
        The file's name within the spool; the only thing that says where it is.
    row_count : int
    columns : mapping of str to str
        The type of each column, for people.
    """

    name: str
    row_count: int
    columns: Mapping[str, str] = field(default_factory=dict)


def write(stream: Stream, work: Workspace, task_id: str) -> SpoolFile:
    """Put the rows of a task into the spool; they are there when all of them are.

    Raises
    ------
    FatalError, TransientError
        If there is no room, or the place does not answer.

    Examples
    --------
    >>> table = pa.table({"id": [1, 2]})
    >>> with scratch_directory() as scratch:  # doctest: +SKIP
    ...     file = write(Stream(table.schema, iter(table.to_batches())), Workspace(scratch=scratch), "task-1")
    >>> file.row_count, dict(file.columns)  # doctest: +SKIP
    (2, {'id': 'bigint'})
    """
    where, name = place(), f"{owner(task_id)}.{secrets.token_hex(16)}.arrow"
    draft = where.draft(name, work.scratch)
    try:
        rows = _write(draft, stream, work, where.compression)
        where.publish(draft, name)
    finally:
        draft.unlink(missing_ok=True)
    return SpoolFile(name, rows, {column.name: describe(column) for column in stream.schema})


def _write(path: Path, stream: Stream, work: Workspace, compression: str | None) -> int:
    rows, options = 0, pa.ipc.IpcWriteOptions(compression=compression)
    try:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, stream.schema, options=options) as writer:
            for batch in resized(stream.batches, size=work.batch_bytes):
                writer.write_batch(batch)
                rows += batch.num_rows
    except OSError as error:  # those of the source and the steps are datapipe's own by now
        text = "no space left on the device" if "No space" in str(error) else type(error).__name__
        raise FatalError(f"the rows cannot be spooled: {text}", hint="Free space, or set DATAPIPE_SPOOL_URL") from None
    return rows


@contextmanager
def opened(name: str, work: Workspace, total: int | None = None) -> Iterator[Stream]:
    """The rows of a file in the spool, mapped into memory piece by piece.

    Parameters
    ----------
    name : str
        As a task's result has it.
    total : int, optional
        The number of rows, where it is known.

    Raises
    ------
    PlanError
        If this is not such a name.
    SpoolMissing
        If there is no such file.
    """
    where = place()
    producer_of(name)
    path = where.local(name, work.scratch)
    if path is None:
        hint = "A task removes what it has read: queue the chain again. All workers need the same DATAPIPE_SPOOL_URL"
        raise SpoolMissing(f"the rows of the previous task are not in the spool ({where.label})", hint=hint)
    with _intact():
        file = pa.memory_map(str(path))
        reader = pa.ipc.open_file(file)
    with file:
        yield Stream(reader.schema, _batches(reader), total)


def _batches(reader: pa.ipc.RecordBatchFileReader) -> Iterator[pa.RecordBatch]:
    for number in range(reader.num_record_batches):
        with _intact():
            batch = reader.get_batch(number)
        yield batch


@contextmanager
def _intact() -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException):
        hint = "Queue the chain again"
        raise FatalError("a file in the spool is damaged, or was removed meanwhile", hint=hint) from None


def stored(name: str, total: int | None = None) -> StoredTable:
    """A file in the spool as the source of a plan, known by the task that wrote it: its attempts write the same."""
    producer = producer_of(name)
    return StoredTable(f"spool {producer}", f"the rows of task {producer}", lambda work: opened(name, work, total))


def owner(task_id: str) -> str:
    """What the files of a task begin with.

    Examples
    --------
    >>> owner("0b7e-11"), len(owner("../etc/passwd"))
    ('0b7e-11', 64)
    """
    return task_id if _PLAIN.fullmatch(task_id) else hashlib.sha256(task_id.encode()).hexdigest()


def producer_of(name: str) -> str:
    """The task that wrote a file.

    Raises
    ------
    PlanError
        If this is not the name of a file in the spool: no path, no URL.

    Examples
    --------
    >>> producer_of("../../etc/passwd")
    Traceback (most recent call last):
    datapipe.errors.PlanError: the rows of the previous task are no file of the spool. Hand on a task's result as it is
    """
    match = _ROWS.fullmatch(name)
    if match is None:  # it may be a URL with a password, so it is not repeated
        hint = "Hand on a task's result as it is"
        raise PlanError("the rows of the previous task are no file of the spool", hint=hint)
    return match.group(1)


def discard(name: str) -> None:
    """Remove a file that has been used."""
    producer_of(name)
    place().remove(name)


def remember(task_id: str, result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Note a task's result, unless there is one: the first counts, and is returned."""
    where, name = place(), f"{owner(task_id)}.json"
    with scratch_directory() as scratch:
        draft = where.draft(name, scratch)
        draft.write_text(json.dumps(result), encoding="utf-8")
        if where.publish(draft, name, replace=False):
            return result
    return remembered(task_id) or result


def remembered(task_id: str) -> Mapping[str, Any] | None:
    """The result that a task has noted."""
    with scratch_directory() as scratch:
        path = place().local(f"{owner(task_id)}.json", scratch)
        found: Mapping[str, Any] | None = None if path is None else json.loads(path.read_text(encoding="utf-8"))
    return found


def sweep_spool(older_than: float = VALID, *, dry_run: bool = False) -> tuple[Leftover, ...]:
    """Remove what chains that came to no end have left in the spool.

    Parameters
    ----------
    older_than : float
        Seconds. A message may wait for a week, so what is younger may still be wanted; what was never written
        to its end is wanted by nobody after a day.
    dry_run : bool
        Only look.

    Returns
    -------
    tuple of Leftover
        What was removed, or would be.

    Examples
    --------
    >>> sweep_spool(older_than=1e12, dry_run=True)
    ()
    """
    where = place()
    found = []
    for entry in list(where.entries()):
        part = entry.name.endswith(PART) and _OURS.match(entry.name)
        limit = min(older_than, _DAY) if part else older_than
        if entry.age is not None and entry.age > limit and (part or _OURS.fullmatch(entry.name)):
            found.append(Leftover("spooled file", f"{where.label}/{entry.name}", entry.size))
            if not dry_run:
                where.remove(entry.name)
    return tuple(found)
