"""Rows of a database as pandas frames: all at once, or so many at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlalchemy.engine import Engine

from datapipe.data.stream import Stream, Workspace, resized, scratch_directory
from datapipe.errors import PlanError
from datapipe.ingestion.readers import STEP, open_source
from datapipe.plan import DatabaseUrl, QuerySource, Source, TableSource, build
from datapipe.plan.names import is_query, is_statement
from datapipe.settings import settings

if TYPE_CHECKING:
    import pandas as pd


class BatchIngestor:
    """Reads one database into pandas frames, with exact types.

    Parameters
    ----------
    database_url : str or sqlalchemy.Engine
        A database URL such as ``postgresql://user@host/db``, or an engine, which is borrowed.
    batch_size : int, optional
        Rows of a frame given by :meth:`stream` (default: BATCH_SIZE, 10000).

    Raises
    ------
    PlanError
        If the URL is wrong or ``batch_size`` is not positive.

    Examples
    --------
    >>> BatchIngestor("sqlite://").ingest("SELECT :n AS a", {"n": 1}).to_dict("records")
    [{'a': 1}]
    """

    def __init__(self, database_url: str | Engine, batch_size: int | None = None) -> None:
        if isinstance(database_url, Engine):
            self._url = DatabaseUrl(database_url.url.render_as_string(hide_password=True), engine=database_url)
        else:
            self._url = DatabaseUrl.parse(database_url)
        self.batch_size = _positive(settings().batch_size if batch_size is None else batch_size)

    def ingest(self, query: str, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Every row of a query or a table.

        Parameters
        ----------
        query : str
            One SELECT with ``:name`` parameters, or a table's name.
        params : mapping, optional
            Their values.

        Raises
        ------
        PlanError
            If the query is not one, or names something that does not exist.
        DataError
            If a value has no exact counterpart.
        """
        with self._open(query, params) as stream:
            return _frame(list(stream.batches), stream.schema)

    def stream(
        self, query: str, params: Mapping[str, Any] | None = None, batch_size: int | None = None
    ) -> Iterator[pd.DataFrame]:
        """The same rows, ``batch_size`` at a time; the last frame may be shorter.

        Examples
        --------
        >>> [len(frame) for frame in BatchIngestor("sqlite://").stream("VALUES (1), (2), (3)", batch_size=2)]
        [2, 1]
        """
        rows = _positive(self.batch_size if batch_size is None else batch_size)
        return self._stream(query, params, rows)

    def _stream(self, query: str, params: Mapping[str, Any] | None, rows: int) -> Iterator[pd.DataFrame]:
        with self._open(query, params) as stream:
            for batch in resized(stream.batches, rows=rows):
                yield _frame([batch], stream.schema)

    @contextmanager
    def _open(self, query: str, params: Mapping[str, Any] | None) -> Iterator[Stream]:
        source = self._source(query, params)
        with scratch_directory() as scratch, open_source(source, Workspace(scratch=scratch)) as stream:
            yield stream

    def _source(self, query: str, params: Mapping[str, Any] | None) -> Source:
        if is_query(query) or is_statement(query):
            values = {"query": query, "parameters": dict(params or {}), "source_db_url": self._url}
            return build(QuerySource, values, step=STEP)
        if params:
            raise PlanError(
                "a table takes no parameters",
                step=STEP,
                hint="Give a query that uses them: SELECT … WHERE a > :a",
            )
        return build(TableSource, {"table": query, "source_db_url": self._url}, step=STEP)


def _positive(rows: int) -> int:
    if rows < 1:
        raise PlanError(f"batch_size is {rows}", step=STEP, hint="Give 1 or more")
    return rows


def _frame(batches: list[pa.RecordBatch], schema: pa.Schema) -> pd.DataFrame:
    from datapipe.data.frames import to_pandas  # loads pandas

    return to_pandas(pa.Table.from_batches(batches, schema))
