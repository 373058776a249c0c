"""PostgreSQL by COPY: the statement is described first, every type read in a form that is exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import pq
from psycopg.errors import error_from_result

from datapipe.data.casting import cast_column, check_names
from datapipe.data.connections import shared
from datapipe.data.pgbackend import IDENTITY, Road, results, watched_backend
from datapipe.data.pgerrors import translate
from datapipe.data.stream import Stream, Workspace, limited
from datapipe.data.types import INTERVAL, TIMESTAMP, TIMESTAMPTZ, tagged
from datapipe.errors import DataError
from datapipe.ingestion.pgcopy import copied
from datapipe.plan import DatabaseUrl
from datapipe.plan.sqltext import rewrite

_NATIVE: dict[int, pa.DataType] = {
    16: pa.bool_(),
    17: pa.binary(),
    18: pa.string(),
    19: pa.string(),
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    25: pa.string(),
    700: pa.float32(),
    701: pa.float64(),
    1082: pa.date32(),
    1083: pa.time64("us"),
    1114: TIMESTAMP,
    1184: TIMESTAMPTZ,
    1186: INTERVAL,
    2950: pa.uuid(),
}
# One-dimensional arrays of these; ADBC would flatten more dimensions without a word.
_ARRAYS: dict[int, tuple[pa.DataType, str]] = {
    1000: (pa.bool_(), "bool[]"),
    1005: (pa.int16(), "int2[]"),
    1007: (pa.int32(), "int4[]"),
    1009: (pa.string(), "text[]"),
    1015: (pa.string(), "varchar[]"),
    1016: (pa.int64(), "int8[]"),
    1021: (pa.float32(), "float4[]"),
    1022: (pa.float64(), "float8[]"),
    1115: (TIMESTAMP, "timestamp[]"),
    1182: (pa.date32(), "date[]"),
    1185: (TIMESTAMPTZ, "timestamptz[]"),
}
_ARRAY = (
    "CASE WHEN array_ndims({0}) > 1 OR array_lower({0}, 1) <> 1"
    " THEN ('an array of one dimension is needed' || left({0}::text, 0))::{1} ELSE {0} END"
)
_NUMERIC, _OID, _BPCHAR, _VARCHAR = 1700, 26, 1042, 1043
_FIRST_USER_OID = 16384
# PostgreSQL's infinities arrive as times before its first day (4713 BC).
_FIRST_TIMESTAMP, _FIRST_DATE, _MIDNIGHT = -210_866_803_200_000_000, -2_451_000, 86_400_000_000

Decode = Callable[[pa.Array, int], pa.Array]


@dataclass(frozen=True)
class Column:
    """How one result column is asked for and decoded."""

    field: pa.Field
    expression: str  # with {} for the column
    decode: Decode


@contextmanager
def read_postgresql(query: str, parameters: Mapping[str, Any], url: DatabaseUrl, work: Workspace) -> Iterator[Stream]:
    """Rows of one query, streamed as Arrow batches from one snapshot.

    Raises
    ------
    PlanError
        If the query does not parse or names something that does not exist.
    DataError
        If a value has no exact counterpart, such as an infinite timestamp.
    """
    with shared().connect(url, work.cancel) as conn:
        raw: psycopg.Connection[Any] = conn.connection.driver_connection  # type: ignore[assignment]  # by our URL
        try:
            with watched_backend(raw, work.cancel) as (watch, backend), watch.waiting():
                backend.identify(*raw.execute(f"SELECT {IDENTITY}".encode()).fetchone())  # type: ignore[misc]  # a row
                sql = render(raw, query, parameters)
                columns = _describe(raw, sql)
                raw.rollback()
                session = _session_of(raw) if url.engine is not None else []
        except psycopg.Error as error:
            work.cancel.check()
            raise translate(error) from None
        if raw.info.server_version >= 140_000:  # a query ends soon after a client that was killed
            session = [*session, "SET LOCAL client_connection_check_interval = 500"]
        road = Road.of(raw)
    # The rows come over a connection of their own: a target may need the pooled one.
    with copied(_select(sql, columns, work.limit), session, road, work) as batches:
        schema = pa.schema([column.field for column in columns])
        yield Stream(schema, limited(_decoded(batches, columns, schema), work.limit))


def render(raw: psycopg.Connection[Any], query: str, parameters: Mapping[str, Any]) -> str:
    """The query with its parameters as literals: COPY takes none."""
    if not parameters:
        return query
    template = rewrite(query, lambda name: f"%({name})s", lambda text: text.replace("%", "%%"))
    return psycopg.ClientCursor(raw).mogrify(template, {k: _listed(v) for k, v in parameters.items()})


def _listed(value: Any) -> Any:
    """A plan keeps lists as tuples, which psycopg would write as a row."""
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


def _describe(raw: psycopg.Connection[Any], sql: str) -> list[Column]:
    """The columns of a statement, from a description by the server; nothing is executed."""
    # A sub-query can only be a query, and cannot write.
    text = f"SELECT * FROM (\n{sql}\n) AS q".encode()
    connection = raw.pgconn
    connection.send_prepare(b"", text)
    _checked(raw)
    connection.send_describe_prepared(b"")
    result = _checked(raw)
    count = result.nfields
    names = [(result.fname(i) or b"").decode() for i in range(count)]
    check_names(names, what="the query")
    types = [(result.ftype(i), result.fmod(i)) for i in range(count)]
    other = {pair for pair in types if pair[0] not in _NATIVE and pair[0] not in _ARRAYS}
    declared: dict[tuple[int, int], str] = {}
    for oid, typmod in other:
        row = raw.execute("SELECT format_type(%s, %s)", (oid, typmod)).fetchone()
        declared[oid, typmod] = row[0] if row else "text"
    return [
        _column(name, oid, mod, declared.get((oid, mod), "")) for name, (oid, mod) in zip(names, types, strict=True)
    ]


def _checked(raw: psycopg.Connection[Any]) -> pq.abc.PGresult:
    result = results(raw.pgconn)[-1]
    if result.status != pq.ExecStatus.COMMAND_OK:
        raise error_from_result(result, encoding=raw.info.encoding)
    return result


def _column(name: str, oid: int, typmod: int, declared: str) -> Column:
    if oid in _NATIVE:
        return Column(pa.field(name, _NATIVE[oid]), "{}", _finite(name, _NATIVE[oid]))
    if oid in _ARRAYS:
        element, name_ = _ARRAYS[oid]
        return Column(pa.field(name, pa.list_(element)), _ARRAY.replace("{1}", name_), _as(name, pa.list_(element)))
    if oid == _NUMERIC and typmod >= 4:
        return _numeric(name, typmod, declared)
    if oid == _NUMERIC:
        return Column(tagged(name, "numeric"), "{}::text", _as(name, pa.string()))
    if oid == _OID:
        return Column(pa.field(name, pa.int64()), "{}::int8", _as(name, pa.int64()))
    if oid in {_BPCHAR, _VARCHAR}:
        short = declared.replace("character varying", "varchar").replace("character", "char")
        field = tagged(name, short) if "(" in short else pa.field(name, pa.string())
        return Column(field, "{}", _as(name, pa.string()))
    if oid < _FIRST_USER_OID:
        return Column(tagged(name, declared), "{}::text", _as(name, pa.string()))
    return Column(pa.field(name, pa.string()), "{}::text", _as(name, pa.string()))


def _numeric(name: str, typmod: int, declared: str) -> Column:
    precision = ((typmod - 4) >> 16) & 0xFFFF
    scale = (((typmod - 4) & 0x7FF) ^ 0x400) - 0x400
    if scale < 0:
        precision, scale = precision - scale, 0
    if precision > 38 or scale > precision:
        return Column(tagged(name, declared), "{}::text", _as(name, pa.string()))
    type_ = pa.decimal128(precision, scale)
    if precision > 18:
        return Column(pa.field(name, type_), "{}::text", _as(name, type_))
    # As a whole number of units it needs no text on the way, and is as exact.
    expression = "({} * " + str(10**scale) + ")::int8" if scale else "{}::int8"
    return Column(pa.field(name, type_), expression, lambda values, _: _from_units(values, type_))


def _from_units(values: pa.Array, type_: pa.DataType) -> pa.Array:
    wide = values.cast(pa.decimal128(19, 0))
    return pa.Array.from_buffers(type_, len(wide), wide.buffers(), wide.null_count, wide.offset)


def _as(name: str, type_: pa.DataType) -> Decode:
    def decode(values: pa.Array, first_row: int) -> pa.Array:
        return cast_column(values, type_, column=name, first_row=first_row)

    return decode


def _finite(name: str, type_: pa.DataType) -> Decode:
    """Refuse what PostgreSQL calls infinity and 24:00, which Arrow would show as some other time."""
    bounds = {
        TIMESTAMP: (pa.int64(), pc.less, _FIRST_TIMESTAMP),
        TIMESTAMPTZ: (pa.int64(), pc.less, _FIRST_TIMESTAMP),
        pa.date32(): (pa.int32(), pc.less, _FIRST_DATE),
        pa.time64("us"): (pa.int64(), pc.greater_equal, _MIDNIGHT),
    }
    if type_ not in bounds:
        return _as(name, type_)
    number, is_beyond, bound = bounds[type_]

    def decode(values: pa.Array, first_row: int) -> pa.Array:
        wrong = is_beyond(values.view(number), bound)
        if pc.any(wrong).as_py():
            row = first_row + pc.index(wrong, True).as_py()
            raise DataError(
                f"column {name!r}, row {row}: the value is infinite or 24:00, which no other type can hold",
                column=name,
                row=row,
                hint=f'Decide in the query, for example CASE WHEN isfinite("{name}") THEN "{name}" END',
            )
        return cast_column(values, type_, column=name, first_row=first_row)

    return decode


def _select(sql: str, columns: list[Column], limit: int | None) -> str:
    if limit is None and all(column.expression == "{}" for column in columns):
        return sql
    inner = ", ".join(f"c{i}" for i in range(len(columns)))
    items = ", ".join(
        column.expression.replace("{0}", f"c{i}").replace("{}", f"c{i}") for i, column in enumerate(columns)
    )
    # The names do not matter: columns are taken by position.
    tail = f" LIMIT {limit}" if limit is not None else ""
    return f"SELECT {items} FROM (\n{sql}\n) AS q({inner}){tail}"


def _session_of(raw: psycopg.Connection[Any]) -> list[str]:
    """What a lent engine has set on its sessions: search_path, role, row security and the like."""
    rows = raw.execute(
        "SELECT format('SELECT set_config(%L, %L, true)', name, setting) FROM pg_settings"
        " WHERE source = 'session' AND context IN ('user', 'superuser') AND name <> 'application_name'"
    ).fetchall()
    role = raw.execute("SELECT format('SET LOCAL ROLE %I', current_user) WHERE current_user <> session_user").fetchall()
    raw.rollback()
    return [text for (text,) in [*rows, *role]]


def _decoded(batches: Iterator[pa.RecordBatch], columns: list[Column], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    first_row = 1
    for batch in batches:
        arrays = [column.decode(values, first_row) for column, values in zip(columns, batch.columns, strict=True)]
        first_row += batch.num_rows
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
