"""Tables of this process: pandas and polars frames, Arrow tables. The caller's object is never changed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import pandas as pd
import pyarrow as pa

from datapipe.data.frames import from_frame
from datapipe.data.stream import Stream, Workspace
from datapipe.errors import PlanError
from datapipe.plan import FrameSource, StoredTable


def content_hash(source: FrameSource) -> str:
    """SHA-256 over a frame's columns and rows; for a stored table over its name.

    Examples
    --------
    >>> one, same, other = (FrameSource(frame=pa.table({"a": [n]})) for n in (1, 1, 2))
    >>> content_hash(one) == content_hash(same), content_hash(one) == content_hash(other)
    (True, False)
    """
    if isinstance(source.frame, StoredTable):
        return sha256(f"datapipe stored table 1:{source.frame.name}".encode()).hexdigest()
    table = from_frame(_readable(source.frame)).combine_chunks()
    digest = sha256()
    with pa.output_stream(_Hashed(digest.update)) as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=65_536)
    return digest.hexdigest()


class _Hashed(io.RawIOBase):
    """A file that only feeds a function."""

    def __init__(self, update: Callable[[bytes], object]) -> None:
        self._update = update

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._update(data)
        return len(data)


@contextmanager
def read_frame(source: FrameSource, work: Workspace) -> Iterator[Stream]:
    """The rows of a pandas or polars frame, an Arrow table or a stored one; a pandas index is no column.

    NaN in a NumPy float column is NULL, as pandas treats it; polars, Arrow and ArrowDtype tell the two apart.

    Raises
    ------
    PlanError
        If the object is none of these, or can be read only once.
    DataError
        If a column has no single type, or a value has no exact counterpart.

    Examples
    --------
    >>> with read_frame(FrameSource(frame=pd.DataFrame({"a": [1, 2]}, index=[7, 8])), Workspace()) as stream:
    ...     next(stream.batches).to_pylist(), stream.total
    ([{'a': 1}, {'a': 2}], 2)
    """
    if isinstance(source.frame, StoredTable):
        with source.frame.open(work) as stream:  # what a stream wrote: its types are exact already
            yield stream
        return
    table = from_frame(_readable(source.frame))
    part = table if work.limit is None else table.slice(0, work.limit)
    rows = max(1, table.num_rows * work.batch_bytes // max(1, table.nbytes))
    yield Stream(table.schema, iter(part.to_batches(max_chunksize=rows)), part.num_rows)


def _readable(frame: Any) -> Any:
    """The frame, if it is one; a lazy one is computed."""
    # By name, so that polars is not imported for a frame that is not its own.
    kind = f"{type(frame).__module__.partition('.')[0]}.{type(frame).__name__}"
    if isinstance(frame, (pd.DataFrame, pa.Table, pa.RecordBatch)) or kind == "polars.DataFrame":
        return frame
    if kind == "polars.LazyFrame":
        return frame.collect()
    if isinstance(frame, (pa.RecordBatchReader, Iterator)):
        hint = "Give a table: reader.read_all()"
        raise PlanError(f"a {kind} can be read only once, and a plan may run twice", hint=hint)
    raise PlanError(f"a {kind} cannot be read", hint="Give a pandas or polars DataFrame, or a pyarrow Table")
