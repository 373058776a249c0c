"""DuckDB: a private connection per source, streaming into Arrow; database files are only read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from datapipe.data import duck
from datapipe.data.asking import Asked, Choose, everything, is_table, narrowed
from datapipe.data.connections import to_url
from datapipe.data.duckerrors import translate
from datapipe.data.names import quote, text_literal
from datapipe.data.stream import MIB, Stream, Workspace, resized
from datapipe.errors import DatapipeError, PlanError, TransientError
from datapipe.ingestion.bounds import bound_sql
from datapipe.plan import DatabaseUrl
from datapipe.plan.sqltext import named_parameters, rewrite

Translate = Callable[[Exception], DatapipeError]

_ROWS = 2048
_THREADS = 2


@contextmanager
def read_duckdb(
    query: str, parameters: Mapping[str, Any], url: DatabaseUrl, work: Workspace, choose: Choose = everything
) -> Iterator[Stream]:
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
    used = {name: parameters[name] for name in named_parameters(query)}
    with ExitStack() as stack:
        con = stack.enter_context(private(work))
        try:
            _attach(con, to_url(url).database)
        except duckdb.Error as error:
            raise _unopened(str(error), url) from None
        asked = None
        if choose is not everything:  # which costs another look at the query
            whole = described(con, _text(query), used)
            ask = choose(whole).granted(whole, lambda _: _is_stored(con, query), lambda _: True)
            query = narrowed(query, ask, whole.names, bounds=[str(bound_sql(each, "duckdb")) for each in ask.bounds])
            asked = Asked(whole, ask, query)
        stream = stack.enter_context(streamed(con, _text(query), used, work))
        yield Stream(stream.schema, resized(stream.batches, size=work.batch_bytes), asked=asked)


def _text(query: str) -> str:
    return rewrite(query, lambda name: f"${name}")


def _is_stored(con: duckdb.DuckDBPyConnection, query: str) -> bool:
    """Whether a query is the whole of a table: with another, a condition might be looked at before its own."""
    if not is_table(query):
        return False
    plan = con.execute(f"EXPLAIN (FORMAT json) {query}").fetchall()[0][1]
    return [node["name"].strip() for node in json.loads(plan)] == ["SEQ_SCAN"]


def _attach(con: duckdb.DuckDBPyConnection, path: str | None) -> None:
    if path and path != ":memory:":
        # Else under the name DuckDB gives it, which views may mention; "memory" is taken.
        alias = " AS memory_db" if Path(path).stem.lower() == "memory" else ""
        con.execute(f"ATTACH {text_literal(path)}{alias} (READ_ONLY)").complete()
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
    """A connection for reading: a quarter of the run's memory, and two threads, for the stages beside it need some."""
    with duck.private(work, memory=max(work.memory // 4, 128 * MIB), threads=_THREADS) as con:
        yield con


def described(
    con: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, Any], explain: Translate = translate
) -> pa.Schema:
    """The columns of a query, in types that all stages know."""
    try:
        columns = duck.columns_of(con, sql, parameters, what="the query")
        query = duck.leaving(sql, [type_ for _, type_ in columns])
        arrow = con.sql(query, params=dict(parameters)).limit(0).to_arrow_table().schema
    except duckdb.Error as error:
        raise explain(error) from None
    return pa.schema([duck.field_of(*item, field) for item, field in zip(columns, arrow, strict=True)])


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
            columns = duck.columns_of(con, sql, parameters, what="the query")
            query = duck.leaving(sql, [type_ for _, type_ in columns])
            reader = con.sql(query, params=dict(parameters)).to_arrow_reader(_ROWS)
        except (duckdb.Error, RuntimeError) as error:
            work.cancel.check()
            raise explain(error) from None
        stack.callback(reader.close)
        schema = pa.schema([duck.field_of(*item, arrow) for item, arrow in zip(columns, reader.schema, strict=True)])
        yield Stream(schema, duck.measured(_pulled(reader, schema, work, explain), con, work))


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
        yield duck.left(batch, schema, first_row=first_row)
        first_row += batch.num_rows
