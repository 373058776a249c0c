"""SQLite, read only: types from the declarations where there are any, else from one look at every value.

In SQLite a type belongs to the value, not to the column, so every value is held against its column's type.
"""

from __future__ import annotations

import datetime as dt
import re
import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlalchemy.pool import SingletonThreadPool, StaticPool

from datapipe.data.asking import Ask, Asked, Choose, begins_at_once, everything, narrowed
from datapipe.data.casting import check_names
from datapipe.data.connections import shared, to_url
from datapipe.data.stream import Stream, Workspace, resized
from datapipe.data.types import sqlite_field
from datapipe.errors import DataError, DatapipeError, FatalError, PlanError, TransientError, did_you_mean
from datapipe.ingestion.bounds import bound_sql
from datapipe.ingestion.rows import Field, batches_of
from datapipe.ingestion.sqlitevalues import to_array
from datapipe.plan import DatabaseUrl
from datapipe.plan.sqltext import named_parameters, rewrite

_VIEW = '"_datapipe_columns"'
_AT_ONCE = 64  # rows, at which a fetch takes a third less of the processor's time than at some thousand
_OBSERVED: dict[frozenset[str], pa.DataType] = {
    frozenset(): pa.null(),
    frozenset({"integer"}): pa.int64(),
    frozenset({"real"}): pa.float64(),
    frozenset({"integer", "real"}): pa.float64(),
    frozenset({"text"}): pa.string(),
    frozenset({"blob"}): pa.binary(),
}


@contextmanager
def read_sqlite(
    query: str, parameters: Mapping[str, Any], url: DatabaseUrl, work: Workspace, choose: Choose = everything
) -> Iterator[Stream]:
    """Rows of one query, from one snapshot.

    A result column that is a table's column has its declared type; any other, such as an expression, gets its
    type from the storage classes of all its values, by one pass over the query.

    Raises
    ------
    PlanError
        If the file is missing, or the query does not parse or names something that does not exist.
    DataError
        If a value is not of its column's type.

    Examples
    --------
    >>> with read_sqlite("SELECT 1 AS a", {}, DatabaseUrl.parse("sqlite://"), Workspace()) as stream:
    ...     stream.schema.field("a").type, next(stream.batches).to_pylist()
    (DataType(int64), [{'a': 1}])
    """
    used = {name: _bound(name, parameters[name]) for name in named_parameters(query)}
    raw: sqlite3.Connection | None = None
    with ExitStack() as stack:
        try:
            raw = stack.enter_context(_connection(url))
            stack.enter_context(work.cancel.hook(raw.interrupt))
            fields, are_declared = _fields(raw, query, used)
            cursor = raw.execute(query, used)
            names = [item[0] for item in cursor.description]
            check_names(names, what="the query")
            schema = whole = pa.schema([field.with_name(name) for field, name in zip(fields, names, strict=True)])
            ask = Ask()
            # What SQLite calls the columns, it tells when it has the first row.
            if are_declared and begins_at_once(query):
                ask = choose(whole).granted(whole, bounds=lambda each: bound_sql(each, "sqlite") is not None)
            if ask != Ask():
                cursor.close()
                bounds = [str(bound_sql(each, "sqlite")) for each in ask.bounds]
                query = narrowed(query, ask, names, listed=True, bounds=bounds)
                cursor = raw.execute(query, used)
                schema = pa.schema([whole.field(name) for name in ask.names(whole)])
        except sqlite3.Error as error:
            raise _translated(error, url, work, _tables(raw)) from None
        stack.callback(cursor.close)
        batches = resized(_fetched(cursor, query, used, schema, url, work), size=work.batch_bytes)
        yield Stream(schema, batches, asked=Asked(whole, ask, query))


@contextmanager
def _connection(url: DatabaseUrl) -> Iterator[sqlite3.Connection]:
    """A connection in a transaction: our own, which cannot write, or one of an engine lent to us."""
    if url.engine is not None:
        with shared().connect(url) as lent:
            raw: sqlite3.Connection = lent.connection.driver_connection  # type: ignore[assignment]  # by its driver
            if isinstance(url.engine.pool, StaticPool):
                # Its one connection is the target's too: a copy of its own keeps the two apart.
                with closing(sqlite3.connect(":memory:", check_same_thread=False)) as copy:
                    raw.backup(copy)
                    yield copy
                return
            if not raw.in_transaction:
                raw.execute("BEGIN")
            try:
                yield raw
            finally:
                lent.rollback()
        return
    path = to_url(url).database or ":memory:"
    if path != ":memory:" and not Path(path).is_file():
        raise PlanError(
            f"there is no SQLite file {path!r}",
            hint="Check the path in the URL: sqlite:///relative or ////absolute",
        )
    target = path if path == ":memory:" else f"{Path(path).absolute().as_uri()}?mode=ro"
    own = sqlite3.connect(target, uri=True, isolation_level=None, check_same_thread=False)
    try:
        own.execute("BEGIN")
        yield own
    finally:
        own.close()


def _fields(raw: sqlite3.Connection, query: str, used: Mapping[str, Any]) -> tuple[list[Field], bool]:
    """The result's fields, before the first row, and whether all are declared. Their names are SQLite's own for now."""
    raw.execute(f"CREATE TEMP VIEW {_VIEW} AS {rewrite(query, lambda _: 'NULL')}")
    columns = [(row[1], row[2]) for row in raw.execute(f"PRAGMA temp.table_info({_VIEW})")]
    raw.execute(f"DROP VIEW temp.{_VIEW}")
    # BLOB is also what newer versions call a column that was declared without a type.
    declared = [None if type_.upper() == "BLOB" else sqlite_field(name, type_) for name, type_ in columns]
    if all(declared):
        return [field for field in declared if field is not None], True
    seen = _observed(raw, query, used, len(columns))
    for index, (field, (name, _), classes) in enumerate(zip(declared, columns, seen, strict=True)):
        if field is None and classes not in _OBSERVED:
            raise _mixed(name, _first_rows(raw, query, used, index, len(columns)))
    return [
        field or _observed_field(name, classes, type_)
        for field, (name, type_), classes in zip(declared, columns, seen, strict=True)
    ], False


def _observed(raw: sqlite3.Connection, query: str, used: Mapping[str, Any], count: int) -> list[frozenset[str]]:
    """The storage classes in each column of the whole result."""
    names = [f"c{index}" for index in range(count)]
    items = ", ".join(f"group_concat(DISTINCT typeof({name}))" for name in names)
    found = raw.execute(f"WITH q({', '.join(names)}) AS (\n{query}\n) SELECT {items} FROM q", used)
    return [frozenset((classes or "").split(",")) - {"null", ""} for classes in found.fetchone()]


def _observed_field(name: str, classes: frozenset[str], declared: str) -> Field:
    if not classes and declared:
        return pa.field(name, pa.binary() if declared.upper() == "BLOB" else pa.string())
    return pa.field(name, _OBSERVED[classes])


def _first_rows(
    raw: sqlite3.Connection, query: str, used: Mapping[str, Any], index: int, count: int
) -> list[tuple[str, int]]:
    """The storage classes in one column, each with the first row that has it."""
    names = ", ".join(f"c{number}" for number in range(count))
    kinds = f"SELECT typeof(c{index}) AS kind, row_number() OVER () AS row_ FROM q"
    return raw.execute(
        f"WITH q({names}) AS (\n{query}\n) SELECT kind, min(row_) FROM ({kinds}) WHERE kind <> 'null'"
        " GROUP BY kind ORDER BY 2",
        used,
    ).fetchall()


def _mixed(name: str, first_rows: list[tuple[str, int]]) -> DataError:
    shown = ", ".join(f"{kind} in row {row}" for kind, row in first_rows)
    return DataError(
        f"column {name!r} holds values of several kinds: {shown}",
        column=name,
        row=first_rows[1][1],
        hint=f'Choose one in the query: CAST("{name}" AS TEXT)',
    )


def _fetched(
    cursor: sqlite3.Cursor,
    query: str,
    used: Mapping[str, Any],
    schema: pa.Schema,
    url: DatabaseUrl,
    work: Workspace,
) -> Iterator[pa.RecordBatch]:
    try:
        yield from batches_of(cursor.fetchmany, schema, to_array, work, at_once=_AT_ONCE)
    except sqlite3.Error as error:
        found = _translated(error, url, work)
        if found.column is not None:
            found.row = _rows_before_failure(cursor.connection, query, used) + 1
            found.message = f"column {found.column!r}, row {found.row}: the text is not UTF-8"
        raise found from None
    finally:
        # The lock goes with the last row: a target in the same file could not commit under it.
        with suppress(sqlite3.ProgrammingError):  # the connection is closed, or another thread's
            cursor.close()
            cursor.connection.rollback()


def _rows_before_failure(raw: sqlite3.Connection, query: str, used: Mapping[str, Any]) -> int:
    count = 0
    with suppress(sqlite3.Error):
        for _ in raw.execute(query, used):
            count += 1
    return count


def _tables(raw: sqlite3.Connection | None) -> list[str]:
    """The tables and views there are, for an error message."""
    try:
        rows = raw.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')") if raw else ()
        return [name for (name,) in rows]
    except sqlite3.Error:
        return []


def _bound(name: str, value: Any) -> Any:
    """A parameter as SQLite stores values of its kind."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise PlanError(f"parameter :{name} has more than 64 bits", hint="Give it as text")
    if value is None or isinstance(value, (int, float, str, bytes)):
        return value
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, dt.datetime):
        utc = value.astimezone(dt.UTC) if value.tzinfo else value
        return utc.isoformat(sep=" ", timespec="microseconds")
    if isinstance(value, (dt.date, dt.time, uuid.UUID)):
        return str(value)
    kind = type(value).__name__
    raise PlanError(f"parameter :{name} is a {kind}, which SQLite has not", hint="Give text or a number")


def _number(value: Decimal) -> int | float | str:
    """A decimal as the number SQLite would store, which is what it compares with; text where none is exact."""
    if not value.is_finite() or abs(value) >= 2**63:
        return str(value)
    numbers = (int(value), float(value))
    return next((number for number in numbers if Decimal(str(number)) == value), str(value))


# By the beginning of SQLite's error name: what it means to the caller, and what to do.
_MEANING: tuple[tuple[tuple[str, ...], type[DatapipeError], str], ...] = (
    (("SQLITE_BUSY", "SQLITE_LOCKED"), TransientError, "Another connection holds the database; try again"),
    (("SQLITE_INTERRUPT",), TransientError, "Somebody interrupted the connection; try again"),
    (("SQLITE_IOERR", "SQLITE_FULL", "SQLITE_NOMEM"), FatalError, "Check the disk and the memory"),
    (("SQLITE_CORRUPT",), FatalError, "Check the file: PRAGMA integrity_check"),
    (("SQLITE_NOTADB", "SQLITE_CANTOPEN"), PlanError, "Check that the path leads to a SQLite database"),
)
_OF_DATA = ("overflow", "malformed JSON", "string or blob too big")


def _translated(error: sqlite3.Error, url: DatabaseUrl, work: Workspace, tables: Sequence[str] = ()) -> DatapipeError:
    """SQLite's error in our terms, without data values."""
    work.cancel.check()
    text, code = f"{url.label}: {error}", getattr(error, "sqlite_errorname", "")
    undecodable = re.search(r"Could not decode to UTF-8 column '(.*?)' with text", text, re.S)
    missing = re.search(r"no such table: (?:main\.)?(.*)", text, re.S)
    if undecodable:
        name = undecodable.group(1)
        return DataError(f"column {name!r}: the text is not UTF-8", column=name, hint="Cast it to BLOB")
    for names, kind, hint in _MEANING:
        if code.startswith(names):
            return kind(text, hint=hint)
    if any(part in text for part in _OF_DATA):
        return DataError(text, hint="Correct the value, or cast it in the query")
    if "created in a thread" in text or (missing and _of_one_thread(url)):
        problem = "the engine gives each thread a database of its own"
        hint = "Create it with poolclass=StaticPool, connect_args={'check_same_thread': False}"
        return PlanError(f"{url.label}: {problem}", hint=hint)
    known = did_you_mean(missing.group(1), tables, what="there are") if missing else ""
    return PlanError(text, hint=known or "Check the names in the query; parameters are written :name")


def _of_one_thread(url: DatabaseUrl) -> bool:
    return url.engine is not None and isinstance(url.engine.pool, SingletonThreadPool)
