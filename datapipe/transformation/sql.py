"""SQL over streams: one private, locked-down DuckDB per step, streaming in and out."""

from __future__ import annotations

import dataclasses
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import duckdb
import pyarrow as pa

from datapipe.data.casting import cast_batch, cast_column, check_names
from datapipe.data.duckerrors import FirstError
from datapipe.data.names import quote
from datapipe.data.stream import MIB, Stream, Workspace, resized
from datapipe.data.types import EXACT_NUMERIC, normal_field, tag, tagged
from datapipe.errors import DataError
from datapipe.plan.sqltext import check_one_query, check_parameters, rewrite
from datapipe.transformation.analysis import Analysis, analyse, streams, tags_of

# What DuckDB has and Arrow or the sinks have not, and the form it leaves in.
_LEAVES: dict[str, tuple[str, str | None]] = {
    "HUGEINT": ("CAST({0} AS BIGINT)", None),
    "UHUGEINT": ("CAST({0} AS BIGINT)", None),
    "UUID": ("unhex(replace(CAST({0} AS VARCHAR), '-', ''))", "uuid"),
    "JSON": ("CAST({0} AS VARCHAR)", "json"),
    "BIT": ("CAST({0} AS VARCHAR)", "bit varying"),
    "TIME WITH TIME ZONE": ("CAST({0} AS VARCHAR)", "time with time zone"),
    "BIGNUM": ("CAST({0} AS VARCHAR)", "numeric"),
}
_MOST_ROWS = 16_384


@contextmanager
def run_sql(sql: str, parameters: Mapping[str, Any], inputs: Mapping[str, Stream], work: Workspace) -> Iterator[Stream]:
    """One SELECT over all rows of the inputs.

    Parameters
    ----------
    sql : str
        The inputs are its tables; the step's own is ``input_data``. Parameters are ``:name``.
    inputs : mapping of str to Stream

    Raises
    ------
    PlanError
        If the text is not one SELECT over the inputs, or names what does not exist.
    DataError
        If a value cannot be computed or carried exactly.
    """
    check_parameters(sql, parameters, step="")
    text = rewrite(check_one_query(sql, step=""), lambda name: f"${name}")
    first = FirstError()
    with ExitStack() as stack:
        inputs = {name: _closing(stream, stack) for name, stream in inputs.items()}
        con = stack.enter_context(_locked(work))
        try:
            schemas = {name: stream.schema for name, stream in inputs.items()}
            analysis = analyse(con, text, schemas)
            rows = _MOST_ROWS
            for name, stream in inputs.items():
                head = next(stream.batches, None)
                rows = min(rows, _rows_of(head, work.batch_bytes))
                whole = dataclasses.replace(stream, batches=_after(head, stream.batches))
                _register(con, name, whole, analysis, first, work)
            stack.enter_context(work.cancel.hook(con.interrupt))
            fields, query = _output(con, text, parameters, analysis, schemas)
            _choose_threads(con, query, parameters, analysis)
            reader = con.sql(query, params=dict(parameters)).to_arrow_reader(rows)
        except (duckdb.Error, OSError, RuntimeError) as error:
            raise first.explain(error, work.cancel) from None
        stack.callback(reader.close)
        schema = pa.schema([_named(field, arrow) for field, arrow in zip(fields, reader.schema, strict=True)])
        batches = _pulled(reader, schema, first, work, inputs)
        yield Stream(schema, resized(batches, size=work.batch_bytes))


def _closing(stream: Stream, stack: ExitStack) -> Stream:
    """The stream, closed with the step: DuckDB lets go of an input only when it is collected."""
    stack.callback(_close, stream)
    return stream


def _close(stream: Stream) -> None:
    close = getattr(stream.batches, "close", None)
    if close is not None:
        with suppress(ValueError):  # one of DuckDB's threads is in it, and will see the run's end
            close()


def _after(head: pa.RecordBatch | None, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    if head is not None:
        yield head
    yield from rest


def _rows_of(batch: pa.RecordBatch | None, size: int) -> int:
    """How many rows like those of ``batch`` make ``size`` bytes: DuckDB counts its output in rows."""
    if batch is None or not batch.num_rows:
        return _MOST_ROWS
    rows: int = size * batch.num_rows // max(1, batch.nbytes)
    return max(1, min(_MOST_ROWS, rows))


@contextmanager
def _locked(work: Workspace) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of its own that reaches no file, no network and no variable of this program."""
    spill = work.scratch / f"sql-{uuid.uuid4().hex[:8]}"
    spill.mkdir(mode=0o700)
    con = duckdb.connect(":memory:")
    # Every thread has buffers of its own, beyond the limit.
    threads = 1 if work.memory < 128 * MIB else min(4, os.cpu_count() or 1)
    try:
        for setting in (
            f"threads={threads}",
            f"memory_limit='{max(work.memory // 2, 32 * MIB) // MIB}MiB'",
            f"temp_directory='{str(spill).replace(chr(39), chr(39) * 2)}'",
            f"streaming_buffer_size='{work.batch_bytes // 1024}KiB'",
            "GLOBAL TimeZone='UTC'",
            "enable_progress_bar=false",
            "autoinstall_known_extensions=false",
            "autoload_known_extensions=false",
            "allow_community_extensions=false",
            "allow_persistent_secrets=false",
            "GLOBAL python_enable_replacements=false",
            "enable_external_access=false",  # after temp_directory, which it freezes
        ):
            con.execute(f"SET {setting}").complete()
        yield con
    finally:
        con.close()


def _register(
    con: duckdb.DuckDBPyConnection,
    name: str,
    stream: Stream,
    analysis: Analysis,
    first: FirstError,
    work: Workspace,
) -> None:
    """Make an input a table: a view over its stream, or a temporary table if it is read more than once."""
    exact = [
        field.name
        for field in stream.schema
        if tag(field) == "numeric" and (analysis.computed is None or field.name.lower() in analysis.computed)
    ]
    schema = pa.schema(
        [pa.field(f.name, EXACT_NUMERIC) if f.name in exact else pa.field(f.name, f.type) for f in stream.schema]
    )
    batches = first.guard(_exact(stream.batches, schema, exact))
    raw = f"_{name}_stream"
    con.register(raw, pa.RecordBatchReader.from_batches(schema, batches))
    json_columns = [quote(f.name) for f in stream.schema if tag(f) in {"json", "jsonb"}]
    replace = f" REPLACE ({', '.join(f'CAST({c} AS JSON) AS {c}' for c in json_columns)})" if json_columns else ""
    kind = "TEMPORARY TABLE" if analysis.scans[name] > 1 else "TEMPORARY VIEW"
    with work.cancel.hook(con.interrupt):
        con.execute(f"CREATE {kind} {quote(name)} AS SELECT *{replace} FROM {quote(raw)}").complete()


def _exact(batches: Iterator[pa.RecordBatch], schema: pa.Schema, exact: list[str]) -> Iterator[pa.RecordBatch]:
    """The batches with the numerics a query computes on as exact decimals."""
    first_row = 1
    for batch in batches:
        columns = [
            _to_exact(values, name, first_row) if name in exact else values
            for values, name in zip(batch.columns, schema.names, strict=True)
        ]
        first_row += batch.num_rows
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _to_exact(values: pa.Array, name: str, first_row: int) -> pa.Array:
    try:
        return cast_column(values, EXACT_NUMERIC, column=name, first_row=first_row)
    except DataError as error:
        error.hint = f"State its precision in the source query: CAST({quote(name)} AS numeric(p, s))"
        raise


def _output(
    con: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: Mapping[str, Any],
    analysis: Analysis,
    schemas: Mapping[str, pa.Schema],
) -> tuple[list[pa.Field], str]:
    """The output's fields, and the query with every column in a form that leaves DuckDB exactly."""
    relation = con.sql(sql, params=dict(parameters))
    names, types = list(relation.columns), [str(type_) for type_ in relation.types]
    del relation
    check_names(names, what="the result")
    fields, items = [], []
    for index, (name, type_) in enumerate(zip(names, types, strict=True)):
        column = f"c{index}"
        form, kept = _LEAVES.get(type_, ("CAST({0} AS VARCHAR)" if type_.startswith("ENUM") else "{0}", None))
        items.append(f"{form.format(column)} AS {column}")
        source = analysis.outputs.get(name)
        inherited = tags_of(schemas, source) if source and type_ in {"VARCHAR", "JSON"} else None
        if inherited or kept not in (None, "uuid"):
            fields.append(tagged(name, inherited or str(kept)))
        else:
            fields.append(pa.field(name, pa.uuid() if kept == "uuid" else pa.null()))
    if all(item.startswith("c") for item in items):
        return fields, sql
    inner = ", ".join(f"c{index}" for index in range(len(names)))
    return fields, f"SELECT {', '.join(items)} FROM (\n{sql}\n) AS q({inner})"


def _named(field: pa.Field, arrow: pa.Field) -> pa.Field:
    """The output's field: its own type where one was restored, else what DuckDB says."""
    if tag(field) or field.type == pa.uuid():
        return field
    return normal_field(pa.field(field.name, arrow.type))


def _choose_threads(
    con: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, Any], analysis: Analysis
) -> None:
    """One thread where the query works row by row: the stages beside it need the others."""
    rows = con.execute(f"EXPLAIN (FORMAT json) {sql}", dict(parameters)).fetchall()
    plan = json.loads(rows[0][1])
    if sum(analysis.scans.values()) <= 1 and all(streams(node) for node in plan):
        con.execute("SET threads=1").complete()
    con.execute("SET lock_configuration=true").complete()


def _pulled(
    reader: pa.RecordBatchReader,
    schema: pa.Schema,
    first: FirstError,
    work: Workspace,
    inputs: Mapping[str, Stream],
) -> Iterator[pa.RecordBatch]:
    done = 1
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            reader.close()
            for stream in inputs.values():  # one that was not read to its end may hold a lock
                _close(stream)
            return
        except (duckdb.Error, OSError, RuntimeError, pa.ArrowException) as error:
            raise first.explain(error, work.cancel) from None
        yield cast_batch(batch, schema, first_row=done)
        done += batch.num_rows
