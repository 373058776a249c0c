"""Parquet files: row group by row group, in the types the files declare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from datapipe.data.asking import Asked, Choose, everything
from datapipe.data.casting import cast_batch, check_names
from datapipe.data.stream import Stream, Workspace, resized
from datapipe.data.types import normal_field
from datapipe.errors import DataError, SchemaError

_BUFFERS, _LEAST_BUFFER = 16 << 20, 16 << 10  # bytes for all columns, and for one


@contextmanager
def read_parquet(files: Sequence[Path], work: Workspace, choose: Choose = everything) -> Iterator[Stream]:
    """The rows of Parquet files of one schema, file by file.

    Raises
    ------
    DataError
        If a file is damaged or is not Parquet, or its columns differ from those of the first.
    """
    with ExitStack() as stack:
        opened = [(file, stack.enter_context(_open(file))) for file in files]
        first, head = opened[0]
        check_names(head.schema_arrow.names, what=str(first))
        schema = _normal(head.schema_arrow)
        for file, other in opened[1:]:
            _check_same(schema, _normal(other.schema_arrow), first, file)
        total = sum(parquet.metadata.num_rows for _, parquet in opened)
        ask = choose(schema).granted(schema)
        read = pa.schema([schema.field(name) for name in ask.names(schema)])
        yield Stream(
            read, resized(_batches(opened, read, work), size=work.batch_bytes), total, asked=Asked(schema, ask)
        )


@contextmanager
def _open(file: Path) -> Iterator[pq.ParquetFile]:
    try:
        footer = pq.read_metadata(file)
        # Each column has a buffer of its own.
        size = max(_LEAST_BUFFER, min(1 << 20, _BUFFERS // max(1, footer.num_columns)))
        opened = pq.ParquetFile(file, metadata=footer, memory_map=False, pre_buffer=False, buffer_size=size)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{file} is not a Parquet file", hint="Name its format: format='csv'") from error
    with opened:
        yield opened


def _normal(schema: pa.Schema) -> pa.Schema:
    return pa.schema([normal_field(field) for field in schema])


def _check_same(schema: pa.Schema, other: pa.Schema, first: Path, file: Path) -> None:
    if other.equals(schema):
        return
    for known, found in zip(schema, other, strict=False):
        if known.name != found.name:
            raise SchemaError(
                f"{file} has column {found.name!r} where {first} has {known.name!r}",
                column=found.name,
                hint=_ONE,
            )
        if known != found:
            raise SchemaError(
                f"column {known.name!r} is {found.type} in {file} and {known.type} in {first}",
                column=known.name,
                hint=_ONE,
            )
    raise SchemaError(f"{file} has {len(other)} columns and {first} has {len(schema)}", hint=_ONE)


_ONE = "Files read together have the same columns; read them apart otherwise"


def _batches(
    opened: Sequence[tuple[Path, pq.ParquetFile]], schema: pa.Schema, work: Workspace
) -> Iterator[pa.RecordBatch]:
    first_row = 1
    for file, parquet in opened:
        size = _size(parquet) * len(schema) // len(parquet.schema_arrow)
        rows = max(1, min(1 << 16, work.batch_bytes * parquet.metadata.num_rows // max(1, size)))
        batches = parquet.iter_batches(batch_size=rows, columns=schema.names, use_threads=False)
        while True:
            work.cancel.check()
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{file} is damaged", hint="Write it again") from error
            if batch is None:
                break
            # A name with a dot may have brought a field of another column along.
            yield cast_batch(batch.select(schema.names), schema, first_row=first_row)
            first_row += batch.num_rows


def _size(parquet: pq.ParquetFile) -> int:
    return sum(parquet.metadata.row_group(i).total_byte_size for i in range(parquet.metadata.num_row_groups))
