"""One door to every kind of source."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from datapipe.data.asking import Choose, everything
from datapipe.data.casting import check_names
from datapipe.data.connections import resolve, shared
from datapipe.data.names import quote
from datapipe.data.stream import Encoded, Stream, Workspace, limited
from datapipe.errors import DataError, DatapipeError, PlanError
from datapipe.ingestion.increments import Increment
from datapipe.ingestion.newfiles import NewFiles
from datapipe.ingestion.ranges import Cutting, Range, Ranges, cutting_of, find_column
from datapipe.plan import DatabaseUrl, FileSource, FrameSource, QuerySource, Source, TableSource, incremental_of
from datapipe.plan.sqltext import check_one_query, check_parameters

if TYPE_CHECKING:
    from datapipe.ingestion.postgresql import Query

STEP = "ingestion"
T = TypeVar("T")
_POSTGRESQL_ONLY = "only PostgreSQL shows one state to several connections"


@contextmanager
def open_source(
    source: Source,
    work: Workspace,
    choose: Choose = everything,
    *,
    part: Range | None = None,
    encoded: bool = False,
    increment: Increment | NewFiles | None = None,
) -> Iterator[Stream]:
    """The rows of a source: its schema on entering, its batches on demand, nothing left open.

    Parameters
    ----------
    source : QuerySource | TableSource | FileSource | FrameSource
    work : Workspace
        Its ``limit`` bounds the rows, its ``cancel`` token stops them.
    choose : callable, optional
        Says what is needed, once the columns of the source are known and before a row is read. The stream then
        may have fewer columns and rows, and says so.
    part : Range, optional
        The only one of its ranges that is read; see :func:`cut_source`.
    encoded : bool
        Whether the rows may also be wanted as the source's server encodes them, where it can be asked for that.
    increment : Increment or NewFiles, optional
        What is read of an incremental source; by a cursor, all its columns are. Without it none of its loads count.

    Raises
    ------
    PlanError
        If the source names something that does not exist.
    DataError
        If two columns have one name, or a value has no exact counterpart.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from datapipe.plan import FrameSource
    >>> with open_source(FrameSource(frame=pa.table({"a": [1, 2, 3]})), Workspace(limit=2)) as stream:
    ...     stream.schema.names, sum(batch.num_rows for batch in stream.batches)
    (['a'], 2)
    """
    with ExitStack() as stack:
        with _named():
            how = incremental_of(source)
            increment = increment or (Increment(how) if how else None)
            if isinstance(increment, NewFiles):
                stream = stack.enter_context(increment.opened(work, choose))
            elif increment is not None:
                stream = increment.of(stack.enter_context(_reader(source, work, increment.choose, part, encoded=False)))
            else:
                reader = _reader(source, work, choose, part, encoded=encoded and work.limit is None)
                stream = stack.enter_context(reader)
            check_names(stream.schema.names, what=source.label)
            if not stream.schema.names:
                raise DataError(f"{source.label} has no columns", hint="Give it at least one")
        raw = stream.encoded and Encoded(stream.encoded.types, _checked(stream.encoded.blocks, work))
        batches = _checked(limited(stream.batches, work.limit), work)
        yield dataclasses.replace(stream, batches=batches, encoded=raw)


@contextmanager
def cut_source(source: Source, work: Workspace) -> Iterator[Ranges | str]:
    """The ranges of a source, in a snapshot that lasts as long as this block; or why it is read as one.

    Raises
    ------
    PlanError
        If it cannot be cut by the column that it names.
    """
    with ExitStack() as stack:
        with _named():
            found, cutting = _cut(source, work), cutting_of(source)
            if isinstance(found, str) or cutting is None:
                ranges: Ranges | str = str(found)
            else:
                from datapipe.ingestion.pgranges import snapshot_of  # loads ADBC

                ranges = stack.enter_context(snapshot_of(found, cutting, work))
        yield ranges


def read_as_one(source: Source, work: Workspace) -> str | None:
    """Why a source is not read in partitions; None if it is. Nothing is read.

    Raises
    ------
    PlanError
        If it cannot be cut by the column that it names.
    """
    with _named():
        found = _cut(source, work)
    return found if isinstance(found, str) else None


def _cut(source: Source, work: Workspace) -> Query | str:
    """The description of a query that can be cut, or why it cannot."""
    cutting = cutting_of(source)
    if cutting is None or not isinstance(source, (QuerySource, TableSource)):
        return "it names no column to cut by"
    url = resolve(source.source_db_url, source.source, default="SOURCE_DB_URL", step=STEP)
    if url.driver != "postgresql":
        return _POSTGRESQL_ONLY
    from datapipe.ingestion.postgresql import described  # loads ADBC

    parameters = source.parameters if isinstance(source, QuerySource) else {}
    query = str(source_sql(source))
    check_parameters(query, parameters, step=STEP)
    found = described(query, parameters, url, work, cutting)
    return f"{found.differs} may give other rows on another connection" if found.differs else found


def content_hash(source: FrameSource) -> str:
    """SHA-256 over a frame's columns and rows."""
    from datapipe.ingestion import frames  # loads pandas

    with _named():
        return frames.content_hash(source)


def source_sql(source: Source) -> str | None:
    """The SQL that reads a source; None for files and frames.

    Examples
    --------
    >>> source_sql(TableSource(table="crm.odd name", schema=None))
    'SELECT * FROM "crm.odd name"'
    """
    if isinstance(source, QuerySource):
        return check_one_query(source.query, step=STEP)
    if isinstance(source, TableSource):
        schema = f"{quote(source.schema_)}." if source.schema_ else ""
        return f"SELECT * FROM {schema}{quote(source.table)}"
    return None


def _reader(
    source: Source, work: Workspace, choose: Choose, part: Range | None, *, encoded: bool
) -> AbstractContextManager[Stream]:
    """The reader for a kind of source; only the libraries it needs are loaded."""
    if isinstance(source, FrameSource):
        from datapipe.ingestion.frames import read_frame  # loads pandas

        return read_frame(source, work)
    if isinstance(source, FileSource):
        from datapipe.ingestion.files import read_files  # loads DuckDB

        return read_files(source, work, choose)
    return _database_reader(source, work, choose, part, encoded=encoded)


def _database_reader(
    source: QuerySource | TableSource, work: Workspace, choose: Choose, part: Range | None, *, encoded: bool
) -> AbstractContextManager[Stream]:
    url = resolve(source.source_db_url, source.source, default="SOURCE_DB_URL", step=STEP)
    parameters = source.parameters if isinstance(source, QuerySource) else {}
    query = str(source_sql(source))
    check_parameters(query, parameters, step=STEP)
    if source.zero_dates != "error" and url.driver != "mysql":
        raise PlanError("zero_dates is for MySQL and MariaDB", step=STEP, hint="Leave it out")
    if url.driver == "postgresql":
        from datapipe.ingestion.postgresql import read_postgresql  # loads ADBC

        cut = part or cutting_of(source)
        return read_postgresql(query, parameters, url, work, choose, cut=cut, encoded=encoded)
    return _as_one(_other_reader(source, query, parameters, url, work, choose), cutting_of(source), work)


def _other_reader(
    source: QuerySource | TableSource,
    query: str,
    parameters: Mapping[str, Any],
    url: DatabaseUrl,
    work: Workspace,
    choose: Choose,
) -> AbstractContextManager[Stream]:
    if url.driver == "sqlite":
        from datapipe.ingestion.sqlite import read_sqlite  # one reader is enough

        return read_sqlite(query, parameters, url, work, choose)
    if url.driver == "duckdb" and url.engine is None:
        from datapipe.ingestion.duckdb import read_duckdb  # loads DuckDB

        return read_duckdb(query, parameters, url, work, choose)
    if url.driver == "mysql" and shared().engine(url).driver == "pymysql":
        from datapipe.ingestion.mysql import read_mysql  # loads PyMySQL

        # A table's name is quoted by source_sql; a query's are quoted as its author's server has it.
        quotes = isinstance(source, TableSource)
        return read_mysql(query, parameters, url, work, choose, ansi_quotes=quotes, zero_dates=source.zero_dates)
    from datapipe.ingestion.alchemy import read_alchemy, read_reflected  # one reader is enough

    if isinstance(source, TableSource):
        return read_reflected(source.table, source.schema_, url, work)
    return read_alchemy(query, parameters, url, work)


@contextmanager
def _as_one(reader: AbstractContextManager[Stream], cutting: Cutting | None, work: Workspace) -> Iterator[Stream]:
    """A source that several connections would see in different states is not cut."""
    with reader as stream:
        if cutting is not None:
            find_column(cutting, stream.schema)
            work.tell(f"the source was read as one: {_POSTGRESQL_ONLY}")
        yield stream


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except DatapipeError as error:
        raise error.at(STEP) from error.__cause__


def _checked(batches: Iterator[T], work: Workspace) -> Iterator[T]:
    with _named():
        for batch in batches:
            work.cancel.check()
            yield batch
