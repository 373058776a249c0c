"""A query bound on the columns of its inputs, before there is a row of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from datapipe.data import duck
from datapipe.data.analysis import Analysis, Tree, analyse, streams
from datapipe.data.asking import Ask
from datapipe.data.casting import cast_column, check_cases
from datapipe.data.duckerrors import FirstError
from datapipe.data.names import quote
from datapipe.data.needs import narrowest, needs
from datapipe.data.stream import Stream, Workspace
from datapipe.data.types import EXACT_NUMERIC, tag
from datapipe.errors import DataError
from datapipe.plan.sqltext import check_one_query, check_parameters, rewrite
from datapipe.transformation.pointing import pointing


@dataclass(frozen=True)
class Bound:
    """What is known of a query once the columns of its inputs are.

    Parameters
    ----------
    sql, text : str
        The query as it was given, and with its parameters written ``$name``.
    inputs : mapping of str to pyarrow.Schema
        The tables it may read, with all their columns.
    columns : sequence of (str, str)
        Name and DuckDB type of each column of the result.
    plan : sequence of mapping
        DuckDB's optimised plan.
    """

    sql: str
    text: str
    parameters: Mapping[str, Any]
    inputs: Mapping[str, pa.Schema]
    analysis: Analysis
    columns: Sequence[tuple[str, str]]
    plan: Sequence[Tree]

    @property
    def row_wise(self) -> bool:
        """Whether it works row by row, over one input."""
        return sum(self.analysis.scans.values()) <= 1 and all(map(streams, self.plan))

    def asks(self, table: str) -> Ask:
        """What it needs of an input."""
        prefix = _prefix(table, self.inputs)
        return needs(self.plan, self.analysis, table, self.inputs[table], self.parameters, prefix=prefix)


def bind(
    con: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, pa.Schema],
    work: Workspace,
) -> Bound:
    """Bind one SELECT over tables with these columns; each is there as a view from then on, and empty.

    Raises
    ------
    PlanError
        If the text is not one SELECT over the inputs, or names what does not exist.
    DataError
        If two columns have one name.
    """
    check_parameters(sql, parameters)
    text = rewrite(check_one_query(sql), lambda name: f"${name}")
    with pointing(sql), work.cancel.hook(con.interrupt):
        try:
            for name, schema in inputs.items():
                check_cases(schema.names, what=f"the table {name}")
            analysis = analyse(con, text, inputs)
            for name, schema in inputs.items():
                prefix = _prefix(name, inputs)
                fields = _carried(schema, analysis)
                cheapest_first = [
                    fields[place].with_name(f"{prefix}{schema.names[place]}") for place in narrowest(schema)
                ]
                _put(con, name, pa.schema(cheapest_first), iter(()))
                view = _view(name, schema, prefix=prefix)
                con.execute(f"CREATE OR REPLACE TEMPORARY VIEW {quote(name)} AS {view}").complete()
            columns = duck.columns_of(con, text, parameters, what="the result")
            plan = con.execute(f"EXPLAIN (FORMAT json) {text}", dict(parameters)).fetchall()[0][1]
        except (duckdb.Error, OSError, RuntimeError) as error:
            raise FirstError().explain(error, work.cancel) from None
    return Bound(sql, text, parameters, inputs, analysis, columns, json.loads(plan))


def fill(con: duckdb.DuckDBPyConnection, name: str, stream: Stream, bound: Bound, first: FirstError) -> None:
    """Give an input its rows: a view over its stream, or a temporary table if it is read more than once.

    Columns that were not read, since the query does not need them, are NULL.
    """
    schema = bound.inputs[name]
    missing: dict[str, str] = {}
    if len(stream.schema) < len(schema):
        types = zip(schema.names, con.view(name).types, strict=True)
        missing = {column: str(type_) for column, type_ in types if column not in stream.schema.names}
    fields = _carried(stream.schema, bound.analysis)
    exact = {field.name for field, given in zip(fields, stream.schema, strict=True) if field.type != given.type}
    carried = pa.schema(fields)
    _put(con, name, carried, first.guard(_exact(stream.batches, carried, exact)))
    if bound.analysis.scans[name] > 1:
        con.execute(f"DROP VIEW {quote(name)}").complete()
        con.execute(f"CREATE TEMPORARY TABLE {quote(name)} AS {_view(name, schema, missing)}").complete()
    elif missing or _prefix(name, bound.inputs):
        con.execute(f"CREATE OR REPLACE TEMPORARY VIEW {quote(name)} AS {_view(name, schema, missing)}").complete()


def _prefix(name: str, inputs: Mapping[str, pa.Schema]) -> str:
    """What tells the columns of several inputs apart in a plan, as long as they are empty."""
    return f"{name}." if len(inputs) > 1 else ""


def _carried(schema: pa.Schema, analysis: Analysis) -> list[pa.Field]:
    """The columns of an input as DuckDB gets them: numbers that it computes on are no text."""
    return [pa.field(field.name, EXACT_NUMERIC if _is_computed_on(field, analysis) else field.type) for field in schema]


def _put(con: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    """Batches as what the view of an input reads."""
    con.register(f"_{name}_stream", pa.RecordBatchReader.from_batches(schema, batches))


def _view(name: str, schema: pa.Schema, missing: Mapping[str, str] | None = None, prefix: str = "") -> str:
    items = []
    for field in schema:
        column, source = quote(field.name), quote(f"{prefix}{field.name}")
        if missing and field.name in missing:
            items.append(f"CAST(NULL AS {missing[field.name]}) AS {column}")
        elif tag(field) in {"json", "jsonb"}:
            items.append(f"CAST({source} AS JSON) AS {column}")
        else:
            items.append(f"{source} AS {column}" if prefix else column)
    return f"SELECT {', '.join(items)} FROM {quote(f'_{name}_stream')}"


def _is_computed_on(field: pa.Field, analysis: Analysis) -> bool:
    """Whether a query computes on a column whose numbers travel as text."""
    declared = tag(field) or ""
    is_number = declared.startswith(("numeric", "money")) and "[]" not in declared
    return is_number and (analysis.computed is None or field.name.lower() in analysis.computed)


def _exact(batches: Iterator[pa.RecordBatch], schema: pa.Schema, exact: set[str]) -> Iterator[pa.RecordBatch]:
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
