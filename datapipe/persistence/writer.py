"""Where a target's writer is chosen, and BatchWriter, which writes one frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from datapipe.data.connections import resolve, to_url
from datapipe.data.stream import Stream, Workspace, scratch_directory
from datapipe.errors import DatapipeError, PlanError
from datapipe.persistence.load import Loaded, Session, plan_load, run_load
from datapipe.plan import DatabaseUrl, FileTarget, TableTarget, Target, WriteStrategy, build

STEP = "persistence"
Open = Callable[[DatabaseUrl, Workspace], AbstractContextManager[Session]]


def write(target: Target, stream: Stream, work: Workspace) -> Loaded:
    """Write a stream to a target: everything, or nothing.

    Raises
    ------
    PlanError, SchemaError, DataError, TransientError, FatalError
        Naming the step; the target is then unchanged.
    """
    try:
        if isinstance(target, FileTarget):
            from datapipe.persistence.files import write_files  # loads Parquet and CSV

            return write_files(target, stream, work)
        with _session(target, work) as session:
            return run_load(session, plan_load(session, target, stream.schema), stream, work)
    except DatapipeError as error:
        raise error.at(STEP) from error.__cause__


def describe_write(target: Target, schema: pa.Schema, work: Workspace) -> tuple[str, ...]:
    """The statements a write of ``schema`` would run; nothing is changed."""
    try:
        if isinstance(target, FileTarget):
            from datapipe.persistence.files import describe_files  # loads Parquet and CSV

            return describe_files(target)
        with _session(target, work, create=False) as session:
            return plan_load(session, target, schema).statements()
    except DatapipeError as error:
        raise error.at(STEP) from error.__cause__


@contextmanager
def _session(target: TableTarget, work: Workspace, *, create: bool = True) -> Iterator[Session]:
    url = resolve(target.dest_db_url, target.destination, default="DEST_DB_URL", step=STEP)
    if url.driver in {"sqlite", "duckdb"} and url.engine is None:
        url = _in_file(url, create=create)
    with _opener(url)(url, work) as session:
        yield session


def _in_file(url: DatabaseUrl, *, create: bool) -> DatabaseUrl:
    """The URL itself; that of an empty database, if it is only to be looked at and the file is not there."""
    path = to_url(url).database
    if not path or path == ":memory:":
        hint = f"Name a file, such as {url.driver}:///data.db, or use .collect()"
        raise PlanError(f"a {url.driver} database in memory is gone when the run ends", hint=hint)
    looks_at_nothing = not create and not path.startswith("file:") and not Path(path).exists()
    return DatabaseUrl.parse(f"{url.driver}://") if looks_at_nothing else url


def _opener(url: DatabaseUrl) -> Open:
    # Each database's libraries are loaded only where it is used.
    if url.driver == "postgresql":
        from datapipe.persistence.postgresql import postgresql_session

        return postgresql_session
    if url.driver == "sqlite":
        from datapipe.persistence.sqlite import sqlite_session

        return sqlite_session
    if url.driver == "duckdb":
        from datapipe.persistence.duckdb import duckdb_session

        return duckdb_session
    raise PlanError(
        f"datapipe does not write to {url.driver or 'this database'}",
        hint="It writes to postgresql, sqlite and duckdb, and to .parquet, .csv and .json files",
    )


class BatchWriter:
    """Writes frames into tables of one database.

    Parameters
    ----------
    database_url : str or sqlalchemy.Engine

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> writer = BatchWriter(database_url=f"sqlite:///{tempfile.mkdtemp()}/crm.db")
    >>> writer.write(pd.DataFrame({"id": [1, 2]}), "users", strategy=WriteStrategy.REPLACE)
    2
    """

    def __init__(self, database_url: Any) -> None:
        self._target = database_url

    def write(
        self,
        data: Any,
        table_name: str,
        strategy: WriteStrategy | str = WriteStrategy.APPEND,
        upsert_keys: Sequence[str] = (),
        *,
        schema: str | None = None,
        latest: str | None = None,
    ) -> int:
        """Write a pandas or polars DataFrame or an Arrow table, in one transaction.

        Returns
        -------
        int
            The rows written: inserted or updated.

        Raises
        ------
        PlanError, SchemaError, DataError
            Naming what is wrong; the table is then unchanged.
        """
        from datapipe.data.frames import from_frame  # loads pandas

        url = self._target if isinstance(self._target, str) else DatabaseUrl(str(self._target.url), engine=self._target)
        form = {"table_name": table_name, "schema": schema, "strategy": strategy, "upsert_keys": list(upsert_keys)}
        target = build(TableTarget, {**form, "latest": latest, "dest_db_url": url}, step=STEP)
        table = from_frame(data, None)
        with scratch_directory() as scratch:
            stream = Stream(table.schema, iter(table.to_batches()), table.num_rows)
            return write(target, stream, Workspace(scratch=scratch)).rows
