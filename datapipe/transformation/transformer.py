"""SQLTransformer: one query over one frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from datapipe.data.stream import Stream, Workspace, scratch_directory
from datapipe.errors import DatapipeError
from datapipe.transformation.sql import run_sql
from datapipe.transformation.versions import content_version

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine


class SQLTransformer:
    """Runs SQL over a frame, which is the table ``input_data``.

    Parameters
    ----------
    database_url : str or sqlalchemy.Engine, optional
        Run the query in this database, over a temporary table; in DuckDB if left out.

    Attributes
    ----------
    version : str
        The content hash of the last query, empty before the first.

    Examples
    --------
    >>> import pandas as pd
    >>> SQLTransformer().transform(pd.DataFrame({"a": [1, 2]}), "SELECT SUM(a) AS s FROM input_data")["s"].tolist()
    [3]
    """

    def __init__(self, database_url: str | Engine | None = None) -> None:
        self._database_url = database_url
        self.version = ""

    def transform(self, data: Any, sql_query: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """The query's result, as the kind of frame that was given.

        Parameters
        ----------
        data : pandas.DataFrame, polars.DataFrame or pyarrow.Table
        sql_query : str
            One SELECT. Parameters are ``:name``.

        Raises
        ------
        PlanError, DataError
        """
        from datapipe.data.frames import as_given, from_frame  # loads pandas

        given = dict(parameters or {})
        self.version = content_version({"sql_query": sql_query, "parameters": given})
        try:
            return as_given(self._run(from_frame(data, None), sql_query, given), data)
        except DatapipeError as error:
            raise error.at("sql") from None

    def _run(self, table: pa.Table, sql_query: str, parameters: Mapping[str, Any]) -> pa.Table:
        if self._database_url is not None:
            from datapipe.transformation.database import run_in_database  # loads SQLAlchemy

            return run_in_database(self._database_url, table, sql_query, parameters)
        with scratch_directory() as scratch:
            stream = Stream(table.schema, iter(table.to_batches()), table.num_rows)
            with run_sql(sql_query, parameters, {"input_data": stream}, Workspace(scratch=scratch)) as result:
                return pa.Table.from_batches(list(result.batches), schema=result.schema)
