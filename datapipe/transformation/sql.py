"""SQL over streams: one private, locked-down DuckDB per step, streaming in and out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import duckdb
import pyarrow as pa

from datapipe.data import duck
from datapipe.data.analysis import Analysis
from datapipe.data.duckerrors import FirstError
from datapipe.data.stream import Stream, Workspace, resized
from datapipe.data.types import tagged
from datapipe.transformation.bound import Bound, bind, fill
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
    with sql_engine(work) as con:
        bound = bind(con, sql, parameters, {name: stream.schema for name, stream in inputs.items()}, work)
        with run_bound(con, bound, inputs, work) as made:
            yield made


@contextmanager
def sql_engine(work: Workspace) -> Iterator[duckdb.DuckDBPyConnection]:
    """The DuckDB of one step, which reaches no file and no network."""
    with duck.private(work) as con:
        con.execute("SET enable_external_access=false").complete()
        yield con


@contextmanager
def run_bound(
    con: duckdb.DuckDBPyConnection, bound: Bound, inputs: Mapping[str, Stream], work: Workspace
) -> Iterator[Stream]:
    """The rows of a query that is bound; an input may lack the columns that the query does not need."""
    first = FirstError()
    with ExitStack() as stack, pointing(bound.sql):
        inputs = {name: _closing(stream, stack) for name, stream in inputs.items()}
        stack.callback(con.close)  # before its inputs
        try:
            rows = _MOST_ROWS
            for name, stream in inputs.items():
                head = next(stream.batches, None)
                rows = min(rows, _rows_of(head, work.batch_bytes))
                with work.cancel.hook(con.interrupt):
                    whole = dataclasses.replace(stream, batches=_after(head, stream.batches))
                    fill(con, name, whole, bound, first)
            stack.enter_context(work.cancel.hook(con.interrupt))
            if bound.row_wise:  # the stages beside it need the other threads
                con.execute("SET threads=1").complete()
            con.execute("SET lock_configuration=true").complete()
            query = duck.leaving(bound.text, [type_ for _, type_ in bound.columns])
            reader = con.sql(query, params=dict(bound.parameters)).to_arrow_reader(rows)
        except (duckdb.Error, OSError, RuntimeError) as error:
            raise first.explain(error, work.cancel) from None
        stack.callback(reader.close)
        schema = pa.schema(
            [_field(*column, arrow, bound.analysis) for column, arrow in zip(bound.columns, reader.schema, strict=True)]
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


def _field(name: str, type_: str, arrow: pa.Field, analysis: Analysis) -> pa.Field:
    """The field of an output column; an untouched input column keeps the type it stands for."""
    inherited = analysis.outputs.get(name) if type_ in {"VARCHAR", "JSON"} else None
    return tagged(name, inherited) if inherited else duck.field_of(name, type_, arrow)


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
