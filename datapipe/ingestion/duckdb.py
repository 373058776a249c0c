"""DuckDB: a private connection per source, streaming into Arrow; database files are only read."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from datapipe.data.casting import cast_batch, check_names
from datapipe.data.connections import to_url
from datapipe.data.duckerrors import translate
from datapipe.data.names import quote
from datapipe.data.stream import MIB, Stream, Workspace, resized
from datapipe.data.types import normal_field, tagged
from datapipe.errors import DatapipeError, PlanError, TransientError
from datapipe.ingestion.rows import Field
from datapipe.plan import DatabaseUrl
from datapipe.plan.sqltext import named_parameters, rewrite

Translate = Callable[[Exception], DatapipeError]

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
_ROWS = 2048
_THREADS = 2  # the stages beside it need the others


@contextmanager
def read_duckdb(query: str, parameters: Mapping[str, Any], url: DatabaseUrl, work: Workspace) -> Iterator[Stream]:
    """Rows of one query on a DuckDB file, which is opened for reading and reaches no other file.

    Raises
    ------
    PlanError
        If the file is missing or open for writing in this process, or the query does not bind.
    DataError
        If a value has no exact counterpart, such as a HUGEINT beyond 64 bits.

    Examples
    --------
    >>> with read_duckdb("SELECT 1 AS a", {}, DatabaseUrl.parse("duckdb:///:memory:"), Workspace()) as stream:
    ...     next(stream.batches).to_pylist()
    [{'a': 1}]
    """
    sql = rewrite(query, lambda name: f"${name}")
    used = {name: parameters[name] for name in named_parameters(query)}
    with ExitStack() as stack:
        con = stack.enter_context(private(work))
        try:
            _attach(con, to_url(url).database)
        except duckdb.Error as error:
            raise _unopened(str(error), url) from None
        stream = stack.enter_context(streamed(con, sql, used, work))
        yield Stream(stream.schema, resized(stream.batches, size=work.batch_bytes))


def _attach(con: duckdb.DuckDBPyConnection, path: str | None) -> None:
    if path and path != ":memory:":
        file = path.replace("'", "''")
        # Else under the name DuckDB gives it, which views may mention; "memory" is taken.
        alias = " AS memory_db" if Path(path).stem.lower() == "memory" else ""
        con.execute(f"ATTACH '{file}'{alias} (READ_ONLY)").complete()
        names = con.execute("SELECT database_name FROM duckdb_databases() WHERE path IS NOT NULL").fetchall()
        con.execute(f"USE {quote(names[0][0])}").complete()
    for setting in ("enable_external_access=false", "lock_configuration=true"):
        con.execute(f"SET {setting}").complete()


def _unopened(text: str, url: DatabaseUrl) -> DatapipeError:
    if "does not exist" in text:
        return PlanError(f"there is no DuckDB file {url.label!r}", hint="Check the path in the URL: duckdb:///relative")
    if "already attached" in text or "different configuration" in text:
        hint = "Close that connection, or give its result: datapipe.read(con.sql(…).to_arrow_table())"
        return PlanError(f"{url.label} is open in this process already", hint=hint)
    if "lock" in text:
        return TransientError(f"{url.label} is open for writing in another process", hint="Try again when it is closed")
    return PlanError(f"{url.label} cannot be opened as a DuckDB database", hint="Check that the path leads to one")


@contextmanager
def private(work: Workspace) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of its own: bounded memory, UTC, no extensions, no variable of this program."""
    with tempfile.TemporaryDirectory(prefix="read-", dir=work.scratch) as spill:
        con = duckdb.connect(":memory:")
        try:
            for setting in (
                f"threads={_THREADS}",
                f"memory_limit='{max(work.memory // 4, 128 * MIB) // MIB}MiB'",
                f"temp_directory='{spill.replace(chr(39), chr(39) * 2)}'",
                f"streaming_buffer_size='{work.batch_bytes // 1024}KiB'",
                "GLOBAL TimeZone='UTC'",
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


@contextmanager
def streamed(
    con: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: Mapping[str, Any],
    work: Workspace,
    explain: Translate = translate,
) -> Iterator[Stream]:
    """The rows of a query as they come, every column in a type that all stages know.

    Parameters
    ----------
    sql : str
        Its parameters are written ``$name``.
    explain : callable
        The datapipe error for one of DuckDB's.
    """
    with ExitStack() as stack:
        stack.enter_context(work.cancel.hook(con.interrupt))
        try:
            # Bound only, nothing is run.
            relation = con.sql(sql, params=dict(parameters))
            names, types = list(relation.columns), [str(type_) for type_ in relation.types]
            del relation
            check_names(names, what="the query")
            query = _leaving(sql, types)
            reader = con.sql(query, params=dict(parameters)).to_arrow_reader(_ROWS)
        except (duckdb.Error, RuntimeError) as error:
            work.cancel.check()
            raise explain(error) from None
        stack.callback(reader.close)
        schema = pa.schema([field_of(*item) for item in zip(names, types, reader.schema, strict=True)])
        yield Stream(schema, _pulled(reader, schema, work, explain))


def field_of(name: str, declared: str, arrow: Field) -> Field:
    """The field for a column of the DuckDB type ``declared``, which Arrow shows as ``arrow``."""
    stands_for = _LEAVES.get(declared, ("", arrow.type))[1]
    return tagged(name, stands_for) if isinstance(stands_for, str) else normal_field(pa.field(name, stands_for))


def _leaving(sql: str, types: list[str]) -> str:
    """The query, with every column in a form that leaves DuckDB exactly."""
    if not any(type_ in _LEAVES for type_ in types):
        return sql
    columns = [f"c{index}" for index in range(len(types))]
    forms = [_LEAVES[type_][0] if type_ in _LEAVES else "{}" for type_ in types]
    items = [form.format(column) for form, column in zip(forms, columns, strict=True)]
    return f"SELECT {', '.join(items)} FROM (\n{sql}\n) AS q({', '.join(columns)})"


def _pulled(
    reader: pa.RecordBatchReader, schema: pa.Schema, work: Workspace, explain: Translate
) -> Iterator[pa.RecordBatch]:
    first_row = 1
    while True:
        work.cancel.check()
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except (duckdb.Error, OSError, RuntimeError, pa.ArrowException) as error:
            work.cancel.check()
            raise explain(error) from None
        # Arrow's names may repeat or be made up; ours are by position.
        yield cast_batch(batch.rename_columns(schema.names), schema, first_row=first_row)
        first_row += batch.num_rows
