"""Those files of a source that no load has seen: found by path, size and time, and known again by their content."""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from datapipe.data.asking import Asked, Choose
from datapipe.data.filemarks import FileMark, Files
from datapipe.data.stream import Stream, Workspace
from datapipe.errors import DataError, FatalError, PlanError, TransientError
from datapipe.ingestion.folders import files_of, folder_of, found_files
from datapipe.plan import FileSource

_STEP = "ingestion"
_MOST = 100_000  # files of one load: what the ledger keeps of them is some 8 MB of text, and databases take 16
_YOUNG = 2_000_000_000  # nanoseconds in which a file may change again and keep its time
_CHUNK = 1 << 20
_SHOWN = 3


@dataclass(frozen=True)
class Stamp:
    """What the file system says of a file, whose content is another one as soon as any of it differs."""

    size: int
    modified: int
    identity: tuple[int, int, int]  # device, number, and when any of this changed
    is_young: bool = field(compare=False)

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """That of a file that is there."""
        found = path.stat()
        identity = (found.st_dev, found.st_ino, found.st_ctime_ns)
        return cls(found.st_size, found.st_mtime_ns, identity, time.time_ns() - found.st_mtime_ns < _YOUNG)

    def mark(self, digest: bytes) -> FileMark:
        """What is kept of the file."""
        return FileMark(self.size, None if self.is_young else self.modified, digest)


def sorted_out(there: Mapping[str, Stamp], known: Mapping[str, FileMark]) -> tuple[list[str], list[str]]:
    """The paths that are new, and those whose size or time is not the known one.

    Examples
    --------
    >>> stamp = Stamp(3, 7, (0, 0, 0), False)
    >>> known = {"a": stamp.mark(b""), "b": FileMark(4, 7, b"")}
    >>> sorted_out({"a": stamp, "b": stamp, "c": stamp}, known)
    (['c'], ['b'])
    """
    new = [path for path in there if path not in known]
    doubtful = [
        path
        for path, stamp in there.items()
        if path in known and (known[path].size, known[path].modified) != (stamp.size, stamp.modified)
    ]
    return new, doubtful


class NewFiles:
    """One reading of the files that are new, which leaves what the next one knows.

    Parameters
    ----------
    source : FileSource
    known : Files, optional
        Those of the loads before; None for the first, and where none count.
    keyed : bool
        Whether the target knows rows by their keys, so that a file that has changed may be loaded again.
    """

    def __init__(self, source: FileSource, known: Files | None = None, *, keyed: bool = False) -> None:
        self._source, self._known, self._keyed = source, known, keyed
        self._marks: Mapping[str, FileMark] = known.marks if known else {}
        self._folder, self._rest = folder_of(source.files)
        self._there: dict[str, Stamp] = {}
        self._looked = False
        self._loads: dict[str, FileMark] = {}
        self._touched: dict[str, FileMark] = {}
        self._columns = dict(known.columns) if known else {}

    @contextmanager
    def opened(self, work: Workspace, choose: Choose) -> Iterator[Stream]:
        """The rows of the new files; where none is new, no rows of the columns of the last ones.

        Raises
        ------
        PlanError
            If there is no file, and the pattern has never led to one that was loaded.
        DataError
            If a file has changed that was loaded, and the target has no keys.
        TransientError
            If a file changes meanwhile.
        """
        paths = self._chosen(work)
        if not paths:
            yield _nothing(self._columns.get(self._rest) or list(self._columns.values())[-1], choose)
            return
        from datapipe.ingestion.files import read_files  # loads DuckDB

        with self._whole(), read_files(self._source, work, choose, [self._folder / path for path in paths]) as stream:
            whole, batches = stream.asked.schema if stream.asked else stream.schema, self._read(stream.batches)
            first, known = next(batches, None), self._columns.get(self._rest)
            if first is None and known is not None and _schema(known).names == whole.names:
                yield _nothing(known, choose)  # files without rows tell no types
                return
            self._columns[self._rest] = whole.serialize().to_pybytes()
            yield replace(stream, batches=itertools.chain([] if first is None else [first], batches))

    def told(self) -> str:
        """What would be read, in a line; no file is opened.

        Raises
        ------
        PlanError
            If there is no file, as above.
        """
        try:
            self._look()
        except PlanError as error:
            raise error.at(_STEP) from None
        new, doubtful = sorted_out(self._there, self._marks)
        doubtful = [path for path in doubtful if self._marks[path].modified is not None]  # else it was just young
        found = f"{len(new):,} of {len(self._there):,} files are new{_listed(new)}"
        again = f"; {len(doubtful):,} to be looked at again{_listed(doubtful)}" if doubtful else ""
        return f"files: {found}{again}"

    @property
    def marks(self) -> dict[str, Any]:
        """How many files were loaded, the last of them, and how many are known with them."""
        known = len(self._marks.keys() | self._loads.keys())
        last = max(self._loads, default=None)
        return {"files": len(self._loads), "known": known} | ({} if last is None else {"last": last})

    @property
    def watermark(self) -> Files | None:
        """What this load adds to what is known, once all rows have been read; None if that is nothing.

        Raises
        ------
        TransientError
            If a file is no longer the one that was read.
        """
        self._check()
        added = self._touched | self._loads
        known = self._known.columns if self._known else {}
        fresh = {pattern: schema for pattern, schema in self._columns.items() if known.get(pattern) != schema}
        return Files(added, fresh, anew=self._known is None) if added else None

    def _chosen(self, work: Workspace) -> list[str]:
        """The paths that are to be read, each known by its content; a look at a few rows does without that."""
        self._look()
        new, doubtful = sorted_out(self._there, self._marks)
        if work.limit is not None:
            return [path for path in self._there if path in {*new, *doubtful}]
        if len(new) > _MOST:
            hint = "Load them in parts, by patterns in the same folder: what is loaded stays known"
            raise DataError(f"{len(new):,} files are new, and one load takes at most {_MOST:,}", hint=hint)
        for path in doubtful:
            mark = self._there[path].mark(self._digest(path, work))
            if mark.digest != self._marks[path].digest:
                self._loads[path] = self._changed(path, mark)
            elif mark != replace(self._marks[path], run_id="") and len(self._touched) < _MOST:
                self._touched[path] = mark
        for path in new:
            self._loads[path] = self._there[path].mark(self._digest(path, work))
        return [path for path in self._there if path in self._loads]

    def _look(self) -> None:
        """See which files are there; once, so that all are judged by one look."""
        if self._looked:
            return
        found = found_files(self._source.files)
        is_expected = self._rest in self._columns and os.access(self._folder, os.R_OK | os.X_OK)
        if not found and not is_expected:
            files_of(self._source.files)  # says what is wrong
        stamps = ((path.relative_to(self._folder).as_posix(), _stamp(path)) for path in found)
        self._there, self._looked = {name: stamp for name, stamp in stamps if stamp is not None}, True

    def _name(self, path: str) -> str:
        return str(self._folder / path)

    def _changed(self, path: str, mark: FileMark) -> FileMark:
        if self._keyed:
            return mark
        problem = f"{self._name(path)} has changed since run {self._marks[path].run_id} loaded it"
        hint = (
            "Its rows would be there twice: use strategy='upsert' with keys, or give a new version a new name; "
            "datapipe watermark reset has all files loaded again"
        )
        raise DataError(problem, hint=hint)

    def _digest(self, path: str, work: Workspace) -> bytes:
        made = hashlib.sha256()
        try:
            with (self._folder / path).open("rb") as file:
                while chunk := file.read(_CHUNK):
                    work.cancel.check()
                    made.update(chunk)
        except FileNotFoundError:
            raise self._moved(path, "is gone") from None
        except OSError as error:
            hint = "Check its permissions, and the disk"
            raise PlanError(f"{self._name(path)} cannot be read: {error.strerror}", hint=hint) from None
        return made.digest()

    def _read(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with self._whole():
            yield from batches

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Where reading fails as a file has changed meanwhile, that is what is wrong."""
        try:
            yield
        except (DataError, PlanError, FatalError, OSError):
            self._check()
            raise

    def _check(self) -> None:
        for path in self._loads:
            now = _stamp(self._folder / path)
            if now != self._there[path]:
                raise self._moved(path, "is gone" if now is None else "has changed")

    def _moved(self, path: str, how: str) -> TransientError:
        hint = "Write files under another name, and rename them when they are whole"
        return TransientError(f"{self._name(path)} {how} while it was read", step=_STEP, hint=hint)


def _stamp(path: Path) -> Stamp | None:
    try:
        return Stamp.of(path)
    except FileNotFoundError:
        return None


def _nothing(columns: bytes, choose: Choose) -> Stream:
    """No rows of these columns."""
    schema = _schema(columns)
    ask = choose(schema).granted(schema)
    read = pa.schema([schema.field(name) for name in ask.names(schema)])
    return Stream(read, iter(()), 0, asked=Asked(schema, ask))


def _schema(columns: bytes) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(columns))


def _listed(paths: Sequence[str]) -> str:
    if not paths:
        return ""
    more = f" and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else ""
    return f": {', '.join(paths[:_SHOWN])}{more}"
