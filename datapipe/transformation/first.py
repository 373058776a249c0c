"""The first step of a plan, if it is SQL: bound as soon as its source is described, so that it tells what it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import duckdb
import pyarrow as pa

from datapipe.data.asking import Ask
from datapipe.data.stream import Stream, Workspace
from datapipe.errors import DatapipeError
from datapipe.plan import ConfigStep, SqlStep
from datapipe.transformation.bound import Bound, bind
from datapipe.transformation.compiler import compile_config
from datapipe.transformation.sql import run_bound, sql_engine

_INPUT = "input_data"


class FirstStep:
    """An SQL or declarative step in two parts: what it asks of its source, and its run over what that gives."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        step: SqlStep | ConfigStep,
        tables: Mapping[str, Stream],
        work: Workspace,
    ) -> None:
        self._con, self._step, self._tables, self._work = con, step, tables, work
        self._bound: Bound | None = None

    def choose(self, schema: pa.Schema) -> Ask:
        """What the step needs of a source with these columns; all, if it is wrong: its run says how."""
        try:
            self._bound = self._bind(schema)
        except DatapipeError:
            return Ask()
        return self._bound.asks(_INPUT)

    def run(self, stream: Stream) -> AbstractContextManager[Stream]:
        """The rows it makes of its source's.

        Raises
        ------
        PlanError
            If the query is wrong, or names what does not exist.
        DataError
            If a value cannot be computed or carried exactly.
        """
        bound = self._bound or self._bind(stream.schema)
        return run_bound(self._con, bound, {_INPUT: stream, **self._tables}, self._work)

    def _bind(self, schema: pa.Schema) -> Bound:
        inputs = {_INPUT: schema, **{name: table.schema for name, table in self._tables.items()}}
        if isinstance(self._step, SqlStep):
            return bind(self._con, self._step.config.sql_query, self._step.config.parameters, inputs, self._work)
        return bind(self._con, compile_config(self._step.config, schema.names), {}, inputs, self._work)


@contextmanager
def first_step(step: SqlStep | ConfigStep, tables: Mapping[str, Stream], work: Workspace) -> Iterator[FirstStep]:
    """A step before its source is opened.

    Parameters
    ----------
    tables : mapping of str to Stream
        Its further tables.

    Examples
    --------
    >>> from datapipe.plan import parse
    >>> step = parse({"ingestion": {"table": "t"}, "transformation": {"type": "config", "config": {"select": ["a"]}}})
    >>> with first_step(step.transformation[0], {}, Workspace()) as first:
    ...     first.choose(pa.schema({"a": pa.int64(), "b": pa.string()})).columns
    ('a',)
    """
    with sql_engine(work) as con:
        yield FirstStep(con, step, tables, work)
