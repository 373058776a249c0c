"""Parquet files: row group by row group, in the types the files declare."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from datapipe.data.asking import Asked, Choose, everything
from datapipe.data.casting import cast_batch, check_names
from datapipe.data.stream import Stream, Workspace, resized
from datapipe.data.types import normal_field
from datapipe.errors import DataError, FatalError, SchemaError

_BUFFERS, _LEAST_BUFFER = 16 << 20, 16 << 10  # bytes for all columns, and for one


@contextmanager
def read_parquet(files: Sequence[Path], work: Workspace, choose: Choose = everything) -> Iterator[Stream]:
    """The rows of Parquet files of one schema, file by file.

    Raises
    ------
    DataError
        If a file is damaged or is not Parquet, or its columns differ from those of the first.
    FatalError
        If a file cannot be opened.
    """
    first, *others = files
    total, head = _looked_at(first)
    check_names(head.names, what=str(first))
    optional = [field.nullable for field in head]
    for file in others:
        rows, other = _looked_at(file)
        _check_same(head, other, first, file)
        total, optional = total + rows, [some or field.nullable for some, field in zip(optional, other, strict=True)]
    # A column is required if it is so in each file.
    schema = pa.schema([field.with_nullable(may) for field, may in zip(head, optional, strict=True)])
    ask = choose(schema).granted(schema)
    read = pa.schema([schema.field(name) for name in ask.names(schema)])
    with ExitStack() as held:  # the file that is being read, which is closed if nobody reads it to its end
        batches = _batches(files, head, read, work, held)
        yield Stream(read, resized(batches, size=work.batch_bytes), total, asked=Asked(schema, ask))


def _looked_at(file: Path) -> tuple[int, pa.Schema]:
    """A file's rows and columns. It does not stay open: a folder may have more files than a process may open."""
    with _open(file) as parquet:
        return parquet.metadata.num_rows, _normal(parquet.schema_arrow)


@contextmanager
def _open(file: Path) -> Iterator[pq.ParquetFile]:
    with _named(file):
        footer = pq.read_metadata(file)
        # Each column has a buffer of its own.
        size = max(_LEAST_BUFFER, min(1 << 20, _BUFFERS // max(1, footer.num_columns)))
        opened = pq.ParquetFile(file, metadata=footer, memory_map=False, pre_buffer=False, buffer_size=size)
    with opened:
        yield opened


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """What keeps a file from being opened, in words."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            reason = os.strerror(error.errno)
            raise FatalError(f"{file} cannot be read: {reason}", hint="Check the file, and who may read it") from error
        raise DataError(f"{file} is not a Parquet file", hint="Name its format: format='csv'") from error


def _normal(schema: pa.Schema) -> pa.Schema:
    return pa.schema([normal_field(field) for field in schema])


def _check_same(schema: pa.Schema, other: pa.Schema, first: Path, file: Path) -> None:
    if [(f.name, f.type) for f in other] == [(f.name, f.type) for f in schema]:
        return
    for known, found in zip(schema, other, strict=False):
        if known.name != found.name:
            raise SchemaError(
                f"{file} has column {found.name!r} where {first} has {known.name!r}",
                column=found.name,
                hint=_ONE,
            )
        if known.type != found.type:
            raise SchemaError(
                f"column {known.name!r} is {found.type} in {file} and {known.type} in {first}",
                column=known.name,
                hint=_ONE,
            )
    raise SchemaError(f"{file} has {len(other)} columns and {first} has {len(schema)}", hint=_ONE)


_ONE = "Files read together have the same columns; read them apart otherwise"


def _batches(
    files: Sequence[Path], head: pa.Schema, schema: pa.Schema, work: Workspace, held: ExitStack
) -> Iterator[pa.RecordBatch]:
    first_row = 1
    for file in files:
        parquet = held.enter_context(_open(file))
        _check_same(head, _normal(parquet.schema_arrow), files[0], file)  # another may have taken its place
        for batch in _batches_of(file, parquet, schema.names, work):
            # A name with a dot may have brought a field of another column along.
            yield cast_batch(batch.select(schema.names), schema, first_row=first_row)
            first_row += batch.num_rows
        held.close()


def _batches_of(file: Path, parquet: pq.ParquetFile, names: list[str], work: Workspace) -> Iterator[pa.RecordBatch]:
    size = _size(parquet) * len(names) // len(parquet.schema_arrow)
    rows = max(1, min(1 << 16, work.batch_bytes * parquet.metadata.num_rows // max(1, size)))
    batches = parquet.iter_batches(batch_size=rows, columns=names, use_threads=False)
    while True:
        work.cancel.check()
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{file} is damaged", hint="Write it again") from error
        if batch is None:
            return
        yield batch


def _size(parquet: pq.ParquetFile) -> int:
    return sum(parquet.metadata.row_group(i).total_byte_size for i in range(parquet.metadata.num_row_groups))
