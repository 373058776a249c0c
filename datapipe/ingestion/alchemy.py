"""Any other database, through SQLAlchemy: tables by reflection, queries by one look at every value."""

from __future__ import annotations

import contextlib
import datetime as dt
import pickle
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, BinaryIO

import pyarrow as pa
import sqlalchemy as sa

from datapipe.data.casting import check_names
from datapipe.data.connections import shared
from datapipe.data.stream import Stream, Workspace, resized
from datapipe.data.types import INTERVAL, TIMESTAMP, TIMESTAMPTZ, tag, tagged
from datapipe.errors import DataError, DatapipeError, PlanError, TransientError, did_you_mean
from datapipe.ingestion.rows import Array, Fetch, Field, batches_of, check_classes
from datapipe.ingestion.texts import parse
from datapipe.plan import DatabaseUrl
from datapipe.plan.names import qualified
from datapipe.plan.sqltext import named_parameters, rewrite

_ROWS = 2000
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_TYPES: dict[type, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
    dt.date: pa.date32(),
    dt.time: pa.time64("us"),
    dt.datetime: TIMESTAMP,
    dt.timedelta: INTERVAL,
    uuid.UUID: pa.uuid(),
}
_CLASSES: dict[pa.DataType, set[type]] = {type_: {class_} for class_, type_ in _TYPES.items()} | {
    pa.uint64(): {int},
    TIMESTAMPTZ: {dt.datetime},
    pa.null(): set(),
}
# What a value of the right class may still not be.
_FITS: dict[pa.DataType, Callable[[Any], bool]] = {
    pa.int64(): lambda value: -(2**63) <= value < 2**63,
    pa.uint64(): lambda value: 0 <= value < 2**64,
    TIMESTAMP: lambda value: value.tzinfo is None,
    TIMESTAMPTZ: lambda value: value.tzinfo is not None,
    pa.time64("us"): lambda value: value.tzinfo is None,
}


@contextlib.contextmanager
def read_alchemy(query: str, parameters: Mapping[str, Any], url: DatabaseUrl, work: Workspace) -> Iterator[Stream]:
    """Rows of one query by any SQLAlchemy dialect.

    Databases have no common way to ask for the types of a query's columns. So the rows are first written
    to the scratch directory, and each column has the type of the Python class of its values: nothing streams
    before the last row has arrived, and a column without a value has no type. Tables have no such limits.

    Raises
    ------
    PlanError
        If the query names something that does not exist, or does not parse.
    DataError
        If a column holds values of several classes, or of one that has no exact counterpart.
    """
    with tempfile.TemporaryFile(dir=work.scratch) as spool:
        with _result(
            lambda conn: conn.exec_driver_sql(*for_driver(query, parameters, conn.dialect.paramstyle)), url, work
        ) as result:
            names = list(result.keys())
            check_names(names, what="the query")
            classes = _spooled(_fetching(result, url, work), spool, len(names), work)
        schema = pa.schema([_observed(name, found) for name, found in zip(names, classes, strict=True)])
        spool.seek(0)
        yield Stream(schema, resized(_unspooled(spool, schema, work), size=work.batch_bytes))


@contextlib.contextmanager
def read_reflected(table: str, schema: str | None, url: DatabaseUrl, work: Workspace) -> Iterator[Stream]:
    """Rows of a table or view by any SQLAlchemy dialect, in the types its columns are declared with.

    Raises
    ------
    PlanError
        If there is no such table, or a column's type has no exact counterpart.
    """
    with shared().connect(url) as conn:
        try:
            reflected = sa.Table(table, sa.MetaData(), schema=schema, autoload_with=conn)
        except sa.exc.NoSuchTableError:
            known = sa.inspect(conn).get_table_names(schema)
            hint = did_you_mean(table, known, what="there are")
            raise PlanError(f"{url.label}: there is no table {qualified(table, schema)!r}", hint=hint) from None
        native = conn.dialect.supports_native_decimal
    fields = pa.schema([_declared(column, native=native) for column in reflected.columns])
    with _result(lambda conn: conn.execute(sa.select(reflected)), url, work) as result:
        batches = batches_of(_fetching(result, url, work), fields, _to_array, work)
        yield Stream(fields, resized(batches, size=work.batch_bytes))


def for_driver(query: str, parameters: Mapping[str, Any], style: str) -> tuple[str, Any]:
    """The query and its parameters in a driver's own style; ``sa.text`` would find some in strings too.

    Examples
    --------
    >>> for_driver("SELECT ':no' WHERE :b > :a AND :a > 1", {"a": 2, "b": 3}, "qmark")
    ("SELECT ':no' WHERE ? > ? AND ? > 1", (3, 2, 2))
    """
    values: list[Any] = []

    def mark(name: str) -> str:
        values.append(parameters[name])
        number = len(values)
        marks = {"qmark": "?", "format": "%s", "named": f":{name}", "pyformat": f"%({name})s"}
        return marks.get(style, f":{number}" if style == "numeric" else f"${number}")

    formatted = style in {"format", "pyformat"}
    text = rewrite(query, mark, lambda piece: piece.replace("%", "%%") if formatted else piece)
    if style in {"named", "pyformat"}:
        return text, {name: parameters[name] for name in named_parameters(query)}
    return text, tuple(values)


@contextlib.contextmanager
def _result(
    execute: Callable[[sa.Connection], sa.CursorResult[Any]], url: DatabaseUrl, work: Workspace
) -> Iterator[sa.CursorResult[Any]]:
    """The result of a statement, by a server-side cursor where the driver has one."""
    with shared().connect(url, work.cancel) as conn, work.cancel.hook(lambda: _interrupt(conn)):
        streaming = conn.execution_options(stream_results=True, max_row_buffer=_ROWS)
        try:
            result = execute(streaming)
        except sa.exc.SQLAlchemyError as error:
            work.cancel.check()
            raise _translated(error, url) from None
        with contextlib.closing(result):
            yield result


def _interrupt(conn: sa.Connection) -> None:
    """Stop the statement, if the driver can."""
    raw: Any = conn.connection.driver_connection
    stop = getattr(raw, "cancel", None) or getattr(raw, "interrupt", None)
    if stop is not None:
        stop()


def _fetching(result: sa.CursorResult[Any], url: DatabaseUrl, work: Workspace) -> Fetch:
    def fetch(count: int) -> Sequence[Any]:
        try:
            return result.fetchmany(count)
        except sa.exc.SQLAlchemyError as error:
            work.cancel.check()
            raise _translated(error, url) from None

    return fetch


def _spooled(fetch: Fetch, spool: BinaryIO, count: int, work: Workspace) -> list[set[Any]]:
    """Write every row to the spool; returns the classes seen in each column."""
    seen: list[set[Any]] = [set() for _ in range(count)]
    done = 0
    while work.limit is None or done < work.limit:
        work.cancel.check()
        rows = fetch(_ROWS if work.limit is None else min(_ROWS, work.limit - done))
        if not rows:
            break
        for classes, values in zip(seen, zip(*rows, strict=True), strict=True):
            classes |= set(map(type, values))
            if dt.datetime in classes:
                classes |= {"with a time zone" for value in values if getattr(value, "tzinfo", None)}
        pickle.dump([tuple(row) for row in rows], spool)
        done += len(rows)
    return seen


def _unspooled(spool: BinaryIO, schema: pa.Schema, work: Workspace) -> Iterator[pa.RecordBatch]:
    done = 0
    while True:
        work.cancel.check()
        try:
            rows = pickle.load(spool)  # noqa: S301  # our own file, unnamed and open since we wrote it
        except EOFError:
            return
        columns = zip(zip(*rows, strict=True), schema, strict=True)
        yield pa.RecordBatch.from_arrays(
            [_to_array(values, field, done + 1) for values, field in columns], schema=schema
        )
        done += len(rows)


def _observed(name: str, seen: set[Any]) -> Field:
    zoned, classes = (
        "with a time zone" in seen,
        {found for found in seen if isinstance(found, type)} - {type(None)},
    )
    if not classes:
        return pa.field(name, pa.null())
    if classes == {Decimal}:
        return tagged(name, "numeric")
    type_ = _TYPES.get(next(iter(classes))) if len(classes) == 1 else None
    if type_ is None:
        kinds = ", ".join(sorted(found.__name__ for found in classes))
        raise DataError(
            f"column {name!r} holds values of class {kinds}", column=name, hint="Cast it to text in the query"
        )
    return pa.field(name, TIMESTAMPTZ if zoned else type_)


def _declared(column: sa.Column[Any], *, native: bool) -> Field:
    """The field for a reflected column."""
    name, declared = column.name, column.type
    try:
        class_ = declared.python_type
    except NotImplementedError:
        class_ = object
    if class_ is Decimal and native:
        precision, scale = getattr(declared, "precision", None), getattr(declared, "scale", None)
        fits = precision is not None and precision <= 38
        return pa.field(name, pa.decimal128(precision, scale or 0)) if fits else tagged(name, "numeric")
    type_ = _TYPES.get(class_)
    if type_ is None:
        raise PlanError(
            f"column {name!r} is of type {declared!r}, which has no exact counterpart here",
            hint=f"Read a query that casts it to text: CAST({name} AS CHAR(100)) AS {name}",
        )
    if class_ is int and getattr(declared, "unsigned", False):
        type_ = pa.uint64()
    if class_ is dt.datetime and getattr(declared, "timezone", False):
        type_ = TIMESTAMPTZ
    return pa.field(name, type_)


def _to_array(values: Sequence[Any], field: Field, first_row: int) -> Array:
    """One column of rows, each value held against the column's type."""
    type_ = field.type
    if pa.types.is_decimal(type_) or tag(field) == "numeric":
        check_classes(values, {Decimal}, field, first_row)
        texts = [None if value is None else str(value) for value in values]
        return parse(pa.array(texts, pa.string()), field, first_row=first_row)
    check_classes(values, _CLASSES[type_], field, first_row)
    fits = _FITS.get(type_)
    for index, value in enumerate(values if fits else ()):
        if value is not None and fits is not None and not fits(value):
            raise _unfit(field, first_row + index)
    made: Array = pa.array(values, type_)
    return made


def _unfit(field: Field, row: int) -> DataError:
    return DataError(
        f"column {field.name!r}, row {row}: the value does not fit {field.type} exactly",
        column=field.name,
        row=row,
        hint="Cast it to text in the query",
    )


def _translated(error: sa.exc.SQLAlchemyError, url: DatabaseUrl) -> DatapipeError:
    """The driver's error in our terms, without data values."""
    cause = getattr(error, "orig", None)
    text = " ".join(str(cause if cause is not None else error).split())
    if isinstance(error, sa.exc.DataError):
        return DataError(f"{url.label}: {_QUOTED.sub('…', text)}", hint="Correct the value, or cast it in the query")
    if isinstance(error, sa.exc.OperationalError) and getattr(error, "connection_invalidated", False):
        return TransientError(f"{url.label}: {text}", hint="The connection was lost; try again")
    return PlanError(f"{url.label}: {text}", hint="Check the names in the query")
