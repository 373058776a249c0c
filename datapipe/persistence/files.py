"""Parquet, CSV and JSON files: written under a temporary name, renamed when whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from datapipe.data import compute as pc
from datapipe.data.casting import cast_column, check_names
from datapipe.data.duckerrors import FirstError
from datapipe.data.names import text_literal
from datapipe.data.stream import MIB, Stream, Workspace
from datapipe.errors import DataError, FatalError, PlanError, SchemaError
from datapipe.persistence.load import Loaded
from datapipe.persistence.standing import file_subject
from datapipe.plan import FileTarget, WriteStrategy
from datapipe.schemas import columns_of

_MOST_ROWS = 4 << 20  # of a row group
_PLAIN_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
Writer = Callable[[Path, pa.Schema, Iterator[pa.RecordBatch], Workspace], None]


def write_files(target: FileTarget, stream: Stream, work: Workspace) -> Loaded:
    """Write a stream to one file; with APPEND, to the run's own file in a directory.

    A run that is done again replaces its file, so files need no ledger for that.

    Raises
    ------
    PlanError
        If the path cannot be such a target.
    SchemaError, DataError
        If the format has no exact form for a column or a value.
    FatalError
        If the disk refuses.
    """
    check_names(stream.schema.names, what="the data")
    path = _path(target, work.run_id)
    writer = _writer(target.path)
    created, fresh = not path.exists(), not path.parent.exists()
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    link = work.scratch / temporary.name
    first, rows = FirstError(), 0

    def counted() -> Iterator[pa.RecordBatch]:
        nonlocal rows
        for batch in first.guard(stream.batches):
            rows += batch.num_rows
            yield batch

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):  # where there are no links, cleanup does not find the file
            link.symlink_to(temporary.absolute())
        writer(temporary, stream.schema, counted(), work)
        work.cancel.check()
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        if first.error is not None:
            raise first.error from None  # the source's own, not the disk's
        reason = error.strerror or str(error)
        raise FatalError(f"cannot write {target.path!r}: {reason}", hint="Check the path and the disk") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
            link.unlink(missing_ok=True)
            if fresh and not path.exists():
                path.parent.rmdir()
    return Loaded(rows, created=created, columns=columns_of(stream.schema), subject=file_subject(target))


def describe_files(target: FileTarget) -> tuple[str, ...]:
    """What the write does, for people."""
    _writer(target.path)
    verb = "add a part to the directory" if target.strategy is WriteStrategy.APPEND else "write, then rename to"
    return (f"{verb} {target.path}",)


def _path(target: FileTarget, run_id: str) -> Path:
    path = Path(target.path).expanduser()
    if target.strategy is WriteStrategy.REPLACE:
        if path.is_dir():
            raise PlanError(f"{target.path!r} is a directory", hint="Name a file, or use strategy='append'")
        return path
    if path.is_file():
        raise PlanError(f"{target.path!r} is a file", hint="append adds a file to a directory; name one")
    return path / f"part-{_plain_id(run_id)}{path.suffix or '.parquet'}"


def _plain_id(run_id: str) -> str:
    """A run's id as it may be in a file's name; that of no other run.

    Examples
    --------
    >>> _plain_id("load-2013.05_01"), len(_plain_id("../etc/passwd"))
    ('load-2013.05_01', 64)
    """
    return run_id if _PLAIN_ID.fullmatch(run_id) else hashlib.sha256(run_id.encode()).hexdigest()


def _writer(path: str) -> Writer:
    ending = Path(path).suffix.lower()
    writers: dict[str, Writer] = {
        ".parquet": _parquet,
        ".csv": _csv,
        ".json": _json_array,
        ".jsonl": _json_lines,
        "": _parquet,
    }
    if ending not in writers:
        raise PlanError(f"no format is known for {ending!r}", hint="Use .parquet, .csv, .json or .jsonl")
    return writers[ending]


def _parquet(path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch], work: Workspace) -> None:
    for field in schema:
        if pa.types.is_interval(field.type):
            hint = "Cast it to VARCHAR in a .sql() step"
            raise SchemaError(f"column {field.name!r}: Parquet has no intervals", column=field.name, hint=hint)
    from pyarrow.parquet import ParquetWriter  # the other formats do without

    with ParquetWriter(path, schema, compression="zstd") as writer:
        for group in _row_groups(batches, max(work.batch_bytes, min(64 * MIB, work.memory // 8))):
            writer.write_table(pa.Table.from_batches(group, schema), row_group_size=_MOST_ROWS)


def _row_groups(batches: Iterator[pa.RecordBatch], size: int) -> Iterator[list[pa.RecordBatch]]:
    """The batches in groups of about ``size`` bytes: what the file says of each group is kept until its end."""
    group: list[pa.RecordBatch] = []
    held = 0
    for batch in batches:
        group.append(batch)
        held += batch.nbytes
        if held >= size:
            yield group
            group, held = [], 0
    if group:
        yield group


def _csv(path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch], _: Workspace) -> None:
    plain = pa.schema([_plain(field) for field in schema])
    # Every value quoted, so that an empty text and NULL stay two things.
    from pyarrow.csv import CSVWriter, WriteOptions

    options = WriteOptions(quoting_style="all_valid")
    with CSVWriter(path, plain, write_options=options) as writer:
        for batch in batches:
            writer.write_batch(_as_plain(batch, plain))


def _plain(field: pa.Field) -> pa.Field:
    if pa.types.is_binary(field.type) or pa.types.is_nested(field.type):
        raise _inexact(field, "CSV", "to_base64, to_json")
    if field.type == pa.uuid() or pa.types.is_interval(field.type):
        return pa.field(field.name, pa.string())
    return field


def _inexact(field: pa.Field, format_: str, functions: str) -> SchemaError:
    return SchemaError(
        f"column {field.name!r} of type {field.type} has no exact form in {format_}",
        column=field.name,
        hint=f"Encode it in a .sql() step ({functions}), or write Parquet",
    )


def _as_plain(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        cast_column(values, field.type, column=field.name) for values, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _json_array(path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch], work: Workspace) -> None:
    _json(path, schema, batches, work, array=True)


def _json_lines(path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch], work: Workspace) -> None:
    _json(path, schema, batches, work, array=False)


def _json(path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch], work: Workspace, *, array: bool) -> None:
    import duckdb  # the other formats do without

    from datapipe.data.duck import private

    for field in schema:
        if _has_bytes(field.type):
            raise _inexact(field, "JSON", "to_base64")
    first = FirstError()
    with private(work) as con, work.cancel.hook(con.interrupt):
        try:
            con.register("batches", pa.RecordBatchReader.from_batches(schema, first.guard(_finite(batches))))
            form = f"FORMAT json, ARRAY {str(array).lower()}"
            con.execute(f"COPY (SELECT * FROM batches) TO {text_literal(str(path))} ({form})").complete()
        except (duckdb.Error, OSError, RuntimeError) as error:
            raise first.explain(error, work.cancel) from None


def _has_bytes(type_: pa.DataType) -> bool:
    inner = [type_.field(index).type for index in range(type_.num_fields)]
    return pa.types.is_binary(type_) or any(map(_has_bytes, inner))


def _finite(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same batches; a number JSON cannot write is refused."""
    row = 1
    for batch in batches:
        for name, values in zip(batch.schema.names, batch.columns, strict=True):
            place = _infinite(values)
            if place is not None:
                at = row + place
                message = f"column {name!r}, row {at}: JSON cannot write NaN or infinity"
                raise DataError(message, column=name, row=at, hint="Make it NULL in SQL, or write Parquet")
        row += batch.num_rows
        yield batch


def _infinite(values: pa.Array) -> int | None:
    """The place of the first value that is NaN or infinity, or has one in it."""
    t = pa.types
    if t.is_floating(values.type):
        wrong = pc.invert(pc.is_finite(values))
        return wrong.index(True).as_py() if pc.any(wrong).as_py() else None
    if t.is_list(values.type):
        inner = _infinite(values.flatten())
        return None if inner is None else pc.list_parent_indices(values)[inner].as_py()
    if t.is_struct(values.type):
        places = [place for part in values.flatten() if (place := _infinite(part)) is not None]
        return min(places, default=None)
    return None
