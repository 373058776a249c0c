"""DuckDB as every stage uses it: a private connection, and columns in forms that leave it exactly."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from datapipe.data.casting import check_names
from datapipe.data.stream import MIB, Workspace, spill_directory
from datapipe.data.types import normal_field, tagged

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


@contextmanager
def private(work: Workspace, *, memory: int, threads: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of its own: bounded memory, UTC, no extensions, no variable of this program.

    Parameters
    ----------
    memory : int
        Bytes; what does not fit is spilled below the run's scratch directory.
    threads : int, optional
        As many as there are cores, four at most, if left out; one where memory is scarce, since each has buffers.
    """
    count = threads or (1 if work.memory < 128 * MIB else min(4, os.cpu_count() or 1))
    with spill_directory(work) as spill:
        con = duckdb.connect(":memory:")
        try:
            for setting in (
                f"threads={count}",
                f"memory_limit='{memory // MIB}MiB'",
                f"temp_directory='{str(spill).replace(chr(39), chr(39) * 2)}'",
                f"streaming_buffer_size='{work.batch_bytes // 1024}KiB'",
                "GLOBAL TimeZone='UTC'",
                "enable_progress_bar=false",
                "autoinstall_known_extensions=false",
                "autoload_known_extensions=false",
                "allow_community_extensions=false",
                "allow_persistent_secrets=false",
                "GLOBAL python_enable_replacements=false",
            ):
                con.execute(f"SET {setting}").complete()
            yield con
        finally:
            con.close()


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


def field_of(name: str, declared: str, arrow: pa.Field) -> pa.Field:
    """The field for a column of the DuckDB type ``declared``, which Arrow shows as ``arrow``."""
    stands_for = _LEAVES.get(declared, ("", arrow.type))[1]
    return tagged(name, stands_for) if isinstance(stands_for, str) else normal_field(pa.field(name, stands_for))
