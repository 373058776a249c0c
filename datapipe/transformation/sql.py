"""SQL over streams: one private, locked-down DuckDB per step, streaming in and out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import duckdb
import pyarrow as pa

from datapipe.data import duck
from datapipe.data.analysis import Analysis, analyse, streams
from datapipe.data.casting import cast_column, check_cases
from datapipe.data.duckerrors import FirstError
from datapipe.data.names import quote
from datapipe.data.stream import Stream, Workspace, resized
from datapipe.data.types import EXACT_NUMERIC, tag, tagged
from datapipe.errors import DataError
from datapipe.plan.sqltext import check_one_query, check_parameters, rewrite
from datapipe.transformation.pointing import pointing

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
    check_parameters(sql, parameters)
    text = rewrite(check_one_query(sql), lambda name: f"${name}")
    first = FirstError()
    with ExitStack() as stack, pointing(sql):
        inputs = {name: _closing(stream, stack) for name, stream in inputs.items()}
        con = stack.enter_context(duck.private(work))
        con.execute("SET enable_external_access=false").complete()
        try:
            schemas = {name: stream.schema for name, stream in inputs.items()}
            for name, schema in schemas.items():
                check_cases(schema.names, what=f"the table {name}")
            analysis = analyse(con, text, schemas)
            rows = _MOST_ROWS
            for name, stream in inputs.items():
                head = next(stream.batches, None)
                rows = min(rows, _rows_of(head, work.batch_bytes))
                whole = dataclasses.replace(stream, batches=_after(head, stream.batches))
                _register(con, name, whole, analysis, first, work)
            stack.enter_context(work.cancel.hook(con.interrupt))
            columns = duck.columns_of(con, text, parameters, what="the result")
            query = duck.leaving(text, [type_ for _, type_ in columns])
            _choose_threads(con, query, parameters, analysis)
            reader = con.sql(query, params=dict(parameters)).to_arrow_reader(rows)
        except (duckdb.Error, OSError, RuntimeError) as error:
            raise first.explain(error, work.cancel) from None
        stack.callback(reader.close)
        schema = pa.schema(
            [_field(*column, arrow, analysis) for column, arrow in zip(columns, reader.schema, strict=True)]
        )
        batches = duck.measured(_pulled(reader, schema, first, work, inputs), con, work)
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
        if (tag(field) or "").startswith(("numeric", "money"))
        and "[]" not in str(tag(field))
        and (analysis.computed is None or field.name.lower() in analysis.computed)
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


def _field(name: str, type_: str, arrow: pa.Field, analysis: Analysis) -> pa.Field:
    """The field of an output column; an untouched input column keeps the type it stands for."""
    inherited = analysis.outputs.get(name) if type_ in {"VARCHAR", "JSON"} else None
    return tagged(name, inherited) if inherited else duck.field_of(name, type_, arrow)


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
        yield duck.left(batch, schema, first_row=done)
        done += batch.num_rows
