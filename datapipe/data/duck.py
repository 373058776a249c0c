"""DuckDB as every stage uses it: a private connection, and columns in forms that leave it exactly."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import duckdb
import pyarrow as pa

from datapipe.data import compute as pc
from datapipe.data.casting import cast_batch, check_names
from datapipe.data.names import quote
from datapipe.data.stream import MIB, Workspace, spill_directory
from datapipe.data.types import normal_field, tagged
from datapipe.errors import DataError

# What Arrow lacks: the form in which DuckDB hands it over, and what that form stands for (a type, or a tag).
_LEAVES: dict[str, tuple[str, pa.DataType | str]] = {
    "HUGEINT": ("{}", pa.int64()),
    "UHUGEINT": ("{}", pa.int64()),
    "UUID": ("unhex(replace(CAST({} AS VARCHAR), '-', ''))", pa.uuid()),
    "JSON": ("CAST({} AS VARCHAR)", "json"),
    "BIT": ("CAST({} AS VARCHAR)", "bit varying"),
    "BIGNUM": ("CAST({} AS VARCHAR)", "numeric"),
    "TIME WITH TIME ZONE": ("CAST({} AS VARCHAR)", "time with time zone"),
}


_LEAST = 64 * MIB  # below it, DuckDB cannot merge what a sort of ten times as much has spilled


def limit_of(work: Workspace) -> int:
    """The bytes that a step's DuckDB may have: most of the step's share, for it takes some beyond its limit."""
    return max(_LEAST, work.memory * 3 // 4 - 8 * MIB)


def threads_of(work: Workspace) -> int:
    """As many as there are cores, four at most; one where memory is scarce, since each has buffers."""
    return 1 if work.memory < 128 * MIB else min(4, os.cpu_count() or 1)


@contextmanager
def made_ahead(count: int) -> Iterator[Callable[[], duckdb.DuckDBPyConnection]]:
    """What gives new databases; so many of them are made from now on, in threads, while a source is asked.

    To make one takes longer than a small query does. Those that nobody has taken are closed at the end.

    Examples
    --------
    >>> with made_ahead(1) as connect:
    ...     connect().sql("SELECT 1").fetchall(), connect().sql("SELECT 2").fetchall()
    ([(1,)], [(2,)])
    """
    with ThreadPoolExecutor(count, "datapipe duckdb") as threads:
        made = deque(threads.submit(duckdb.connect, ":memory:") for _ in range(count))

        def connect() -> duckdb.DuckDBPyConnection:
            try:
                return made.popleft().result()
            except IndexError:
                return duckdb.connect(":memory:")

        try:
            yield connect
        finally:
            for left in made:
                with suppress(duckdb.Error):
                    left.result().close()


@contextmanager
def private(
    work: Workspace, *, memory: int | None = None, threads: int | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of its own: bounded memory, UTC, no extensions, no variable of this program.

    Parameters
    ----------
    memory : int, optional
        Bytes, if not those of :func:`limit_of`; what does not fit is spilled below the run's scratch directory.
    threads : int, optional
        If not those of :func:`threads_of`.
    """
    count = threads or threads_of(work)
    with spill_directory(work) as spill:
        con = work.connect() if work.connect is not None else duckdb.connect(":memory:")
        try:
            settings = (
                f"threads={count}",
                f"memory_limit='{(memory or limit_of(work)) // MIB}MiB'",
                f"temp_directory='{str(spill).replace(chr(39), chr(39) * 2)}'",
                f"streaming_buffer_size='{work.batch_bytes // 1024}KiB'",
                "GLOBAL TimeZone='UTC'",
                "enable_progress_bar=false",
                "autoinstall_known_extensions=false",
                "autoload_known_extensions=false",
                "allow_community_extensions=false",
                "allow_persistent_secrets=false",
                "GLOBAL python_enable_replacements=false",
                "enable_profiling='no_output'",
                "tracked_metrics=['system.peak*']",  # no operator is timed for it
            )
            con.execute("; ".join(f"SET {setting}" for setting in settings)).complete()
            yield con
        finally:
            con.close()


def held(con: duckdb.DuckDBPyConnection) -> int:
    """The bytes that the last query of a private connection has held at most, as DuckDB counts them."""
    try:
        found = json.loads(con.get_profiling_information("json")).get("system", {})
    except (duckdb.Error, ValueError):  # what was too small to be looked at
        return 0
    return int(found.get("peak_buffer_memory", 0)) + int(found.get("peak_streaming_buffer_size", 0))


def measured(
    batches: Iterator[pa.RecordBatch], con: duckdb.DuckDBPyConnection, work: Workspace
) -> Iterator[pa.RecordBatch]:
    """The batches of a connection's query; at their end it is told what the query has held."""
    yield from batches
    most = held(con)
    work.holds(lambda: most)


def columns_of(
    con: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, Any], *, what: str
) -> list[tuple[str, str]]:
    """Name and DuckDB type of each column of a query, which is bound, not run.

    Raises
    ------
    DataError
        If two columns have one name.
    """
    relation = con.sql(sql, params=dict(parameters))
    found = [(name, str(type_)) for name, type_ in zip(relation.columns, relation.types, strict=True)]
    check_names([name for name, _ in found], what=what)
    return found


def leaving(sql: str, types: Sequence[str]) -> str:
    """The query, with every column in a form that leaves DuckDB exactly."""
    forms = [_LEAVES[type_][0] if type_ in _LEAVES else "{}" for type_ in types]
    if all(form == "{}" for form in forms):
        return sql
    columns = [f"c{index}" for index in range(len(types))]
    items = [form.format(column) for form, column in zip(forms, columns, strict=True)]
    return f"SELECT {', '.join(items)} FROM (\n{sql}\n) AS q({', '.join(columns)})"


def left(batch: pa.RecordBatch, schema: pa.Schema, *, first_row: int) -> pa.RecordBatch:
    """A batch that left DuckDB in ``schema``, column by column, by position: Arrow's names may repeat or be made up.

    Raises
    ------
    DataError
        If a value is not in the type of its field exactly, or is an infinite date or timestamp.
    """
    made = cast_batch(batch.rename_columns(schema.names), schema, first_row=first_row)
    for name, values in zip(schema.names, made.columns, strict=True):
        _check_finite(values, name, first_row)
    return made


def _check_finite(values: pa.Array, column: str, first_row: int) -> None:
    """Refuse DuckDB's infinities: the outermost numbers, which anyone else takes for a time."""
    is_list = pa.types.is_list(values.type)
    items = values.flatten() if is_list else values
    if not (pa.types.is_timestamp(items.type) or pa.types.is_date32(items.type)):
        return
    bits = items.type.bit_width
    numbers, infinite = items.view(pa.int64() if bits == 64 else pa.int32()), 2 ** (bits - 1) - 1
    ends = pc.min_max(numbers).as_py()  # a comparison with a number of Python's would load pandas
    if ends["max"] == infinite or ends["min"] == -infinite:
        index = pc.index(pc.equal(pc.abs(numbers), infinite), True).as_py()
        row = first_row + (pc.list_parent_indices(values)[index].as_py() if is_list else index)
        hint = f"Decide in the query, for example CASE WHEN isfinite({quote(column)}) THEN {quote(column)} END"
        message = f"column {column!r}, row {row}: the value is infinite"
        raise DataError(message, column=column, row=row, hint=hint)


def field_of(name: str, declared: str, arrow: pa.Field) -> pa.Field:
    """The field for a column of the DuckDB type ``declared``, which Arrow shows as ``arrow``."""
    stands_for = _LEAVES.get(declared, ("", arrow.type))[1]
    return tagged(name, stands_for) if isinstance(stands_for, str) else normal_field(pa.field(name, stands_for))
