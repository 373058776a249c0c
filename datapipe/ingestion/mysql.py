"""MySQL and MariaDB: rows as the server's own text, read unbuffered from one snapshot, each type in an exact form."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pymysql
from pymysql.constants import FIELD_TYPE, FLAG
from pymysql.cursors import SSCursor

from datapipe.data import compute as pc
from datapipe.data.asking import Ask, Asked, Choose, Condition, begins_at_once, everything, narrowed
from datapipe.data.casting import cast_column, check_names
from datapipe.data.mysql import JSON_COLUMNS, answered, break_off, is_mariadb, mysql_connection
from datapipe.data.mysqlerrors import translate
from datapipe.data.names import quote
from datapipe.data.stream import Stream, Workspace, resized
from datapipe.data.types import TIMESTAMP, TIMESTAMPTZ, tagged
from datapipe.data.watch import Watch
from datapipe.errors import DataError, PlanError
from datapipe.ingestion.alchemy import for_driver
from datapipe.ingestion.bounds import bound_sql
from datapipe.ingestion.mysqlrows import columns_of
from datapipe.ingestion.rows import Array, Field
from datapipe.ingestion.texts import parse
from datapipe.plan import DatabaseUrl
from datapipe.plan.sqltext import outer_words
from datapipe.settings import settings

_SESSION = (
    "SET NAMES utf8mb4",
    "SET SESSION time_zone = '+00:00', net_write_timeout = 86400",  # a slow target is no reason to give up
    f"SET SESSION group_concat_max_len = {2**32 - 1}",  # GROUP_CONCAT cuts what is longer, with no more than a warning
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
)
_ANSI_QUOTES = "SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')"
_DECLARED = """
SELECT column_name, column_type FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"""
_BYTES = 63  # the number of the character set that is none
_WHOLE: dict[int, tuple[pa.DataType, pa.DataType]] = {
    FIELD_TYPE.TINY: (pa.int8(), pa.uint8()),
    FIELD_TYPE.SHORT: (pa.int16(), pa.uint16()),
    FIELD_TYPE.INT24: (pa.int32(), pa.int32()),
    FIELD_TYPE.LONG: (pa.int32(), pa.uint32()),
    FIELD_TYPE.LONGLONG: (pa.int64(), pa.uint64()),
    FIELD_TYPE.YEAR: (pa.int16(), pa.int16()),
}
_MOMENTS = {
    FIELD_TYPE.DATE: pa.date32(),
    FIELD_TYPE.NEWDATE: pa.date32(),
    FIELD_TYPE.DATETIME: TIMESTAMP,
    FIELD_TYPE.TIMESTAMP: TIMESTAMPTZ,
}
_NO_DATE = "-00"  # a month or a day
_SIZED = re.compile(r"(?:var)?char\(\d+\)\Z")

Decode = Callable[[Array, int], Array]


@dataclass(frozen=True)
class Column:
    """How one result column is asked for, if not as it is, and decoded from the server's text."""

    field: Field
    decode: Decode = lambda values, _: values
    expression: str = "{}"
    text: bool = True  # whether the values are text, rather than bytes


@dataclass
class ZeroDates:
    """What to do with MySQL's dates that are none, and how many there were."""

    as_null: bool
    found: dict[str, int] = field(default_factory=dict)


@contextmanager
def read_mysql(
    query: str,
    parameters: Mapping[str, Any],
    url: DatabaseUrl,
    work: Workspace,
    choose: Choose = everything,
    *,
    ansi_quotes: bool = False,
    zero_dates: str = "error",
) -> Iterator[Stream]:
    """Rows of one query, streamed from one snapshot.

    Parameters
    ----------
    ansi_quotes : bool
        Whether ``"`` quotes names in the query; if not, it does what the server's ``sql_mode`` says.
    zero_dates : {"error", "null"}
        What 0000-00-00 and 2024-00-15 become.

    Raises
    ------
    PlanError
        If the query does not parse or names something that does not exist.
    DataError
        If a value has no exact counterpart, such as a zero date or a time of more than a day.
    """
    zero = ZeroDates(zero_dates == "null")
    session = (_ANSI_QUOTES, *_SESSION) if ansi_quotes else _SESSION
    with ExitStack() as stack:
        opened = stack.enter_context(ExitStack())
        raw, watch = opened.enter_context(mysql_connection(url, work, session))
        with answered(raw, settings().network_timeout) as other, work.cancel.hook(lambda: break_off(other)):
            sql = render(raw, query, parameters)
            cursor = _executed(raw, watch, f"{sql} LIMIT 0" if ansi_quotes else sql)
            columns = _described(cursor, other, zero)
        whole, ask = pa.schema([column.field for column in columns]), Ask()
        # What the columns are, the server tells when it has the first row.
        if all(found.db for found in cursor._result.fields) and begins_at_once(query):
            decides = lambda each: _decides(each, whole.field(each.column).type)  # noqa: E731  # it is used once
            ask = choose(whole).granted(whole, decides, lambda _: True)
            quoted = quote if ansi_quotes else _backquoted
            bounds = [str(bound_sql(each, "mysql", quoted)) for each in ask.bounds]
            query = narrowed(query, ask, whole.names, quoted=quoted, listed=True, bounds=bounds)
            sql = render(raw, query, parameters)
            columns = [column for column in columns if column.field.name in ask.names(whole)]
        is_another = ask != Ask() or any(column.expression != "{}" for column in columns)
        if is_another and not ansi_quotes:  # the rows of the first query are on their way
            opened.close()
            raw, watch = stack.enter_context(mysql_connection(url, work, session))
        if ansi_quotes:
            with watch.waiting():
                cursor.close()
        if is_another or ansi_quotes:
            cursor = _executed(raw, watch, _wrapped(sql, columns))
        schema = pa.schema([column.field for column in columns])
        batches = resized(_batches(raw, watch, columns, schema, work), size=work.batch_bytes)
        yield Stream(schema, batches, asked=Asked(whole, ask, query))
        for name, count in zero.found.items():
            work.tell(f"column {name!r}: {count:,} zero date{'s' * (count > 1)} read as NULL")


def _backquoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _decides(condition: Condition, type_: pa.DataType) -> bool:
    """Whether the server compares a column as DuckDB compares what becomes of it."""
    if pa.types.is_boolean(type_) or type_ == pa.int16():  # a YEAR: 5 is 2005 to it
        return False
    is_moment = pa.types.is_date32(type_) or type_ == TIMESTAMP
    return not (is_moment and condition.operator == "IS NULL")  # which a zero date may be, and then may not


def _executed(raw: Any, watch: Watch, sql: str) -> Any:
    raw.decoders, raw.use_unicode = {}, False  # values as the server writes them
    cursor = raw.cursor(SSCursor)
    with watch.waiting():
        cursor.execute(sql)
    return cursor


def render(raw: Any, query: str, parameters: Mapping[str, Any]) -> str:
    """The query with its parameters as literals, as the driver writes them."""
    if not parameters:
        return query
    text, values = for_driver(query, parameters, "format")
    try:
        return text % tuple(_literal(raw, value) for value in values)
    except (pymysql.Error, TypeError) as error:
        raise PlanError(f"a parameter has no form in MySQL: {error}", hint="Give text or a number") from None


def _literal(raw: Any, value: Any) -> str:
    """A value as a literal of its own type: beside text, the server takes a decimal for a double."""
    if isinstance(value, tuple):
        return f"({', '.join(_literal(raw, item) for item in value)})"
    if isinstance(value, Decimal) and value.is_finite():
        return f"{value:f}"
    if isinstance(value, dt.datetime):
        naive = value.astimezone(dt.UTC).replace(tzinfo=None) if value.tzinfo else value  # the session is in UTC
        return f"TIMESTAMP'{naive.isoformat(sep=' ')}'"
    if isinstance(value, dt.date):
        return f"DATE'{value.isoformat()}'"
    if isinstance(value, dt.time) and value.tzinfo is None:
        return f"TIME'{value.isoformat()}'"
    if isinstance(value, Decimal | dt.time):
        raise TypeError("no NaN, no infinity and no time with a zone")
    return str(raw.escape(str(value) if isinstance(value, uuid.UUID) else value, raw.encoders))


def _described(cursor: Any, other: Any, zero: ZeroDates) -> list[Column]:
    """The columns of a result that has not been read yet."""
    fields = cursor._result.fields  # the description lacks flags and character sets
    check_names([found.name for found in fields], what="the query")
    tables = {_table(found) for found in fields if found.db and found.charsetnr != _BYTES}
    declared = _declared(tables, other) if tables else {}
    return [_column(found, *declared.get((*_table(found), found.org_name), ("", False)), zero=zero) for found in fields]


def _table(found: Any) -> tuple[str, str]:
    return _name(found.db), found.org_table


def _declared(tables: Set[tuple[str, str]], other: Any) -> dict[tuple[str, str, str], tuple[str, bool]]:
    """The declared types of the tables' columns, and which of them are JSON; over a second connection."""
    found: dict[tuple[str, str, str], tuple[str, bool]] = {}
    with other.cursor() as cursor:
        for place in tables:
            json = set()
            if is_mariadb(other):
                cursor.execute(JSON_COLUMNS, place)
                json = {_name(column) for (column,) in cursor.fetchall()}
            cursor.execute(_DECLARED, place)
            for column, type_ in cursor.fetchall():
                found[(*place, _name(column))] = _name(type_), _name(column) in json
    return found


def _name(text: str | bytes) -> str:
    return text.decode() if isinstance(text, bytes) else text


def _column(found: Any, declared: str, is_json: bool, *, zero: ZeroDates) -> Column:
    name, code, unsigned = found.name, found.type_code, bool(found.flags & FLAG.UNSIGNED)
    if code in _WHOLE:
        return _plain(pa.field(name, _WHOLE[code][unsigned]))
    if code in {FIELD_TYPE.NEWDECIMAL, FIELD_TYPE.DECIMAL}:
        return _decimal(name, found.length - (found.scale > 0) - (not unsigned), found.scale)
    if code == FIELD_TYPE.DOUBLE:
        return _plain(pa.field(name, pa.float64()))
    if code == FIELD_TYPE.FLOAT:  # as text it has 6 digits, as a double all of them
        return Column(pa.field(name, pa.float32()), _narrowed(name), "CAST({} AS DOUBLE)")
    if code in _MOMENTS:
        return Column(pa.field(name, _MOMENTS[code]), _moments(name, _MOMENTS[code], zero))
    if code == FIELD_TYPE.TIME:
        return Column(pa.field(name, pa.time64("us")), _times(name))
    if code == FIELD_TYPE.BIT:
        return _bits(name, found.length)
    if code == FIELD_TYPE.NULL:
        return Column(pa.field(name, pa.null()), lambda values, _: pa.nulls(len(values)))
    if code == FIELD_TYPE.GEOMETRY:
        hint = f"Read ST_AsText({name}) or ST_AsWKB({name})"
        raise PlanError(f"column {name!r} is a geometry, which has no exact counterpart here", hint=hint)
    return _text(name, found, declared, is_json)


def _narrowed(name: str) -> Decode:
    return lambda values, row: cast_column(values.cast(pa.float64()), pa.float32(), column=name, first_row=row)


def _text(name: str, found: Any, declared: str, is_json: bool) -> Column:
    if found.type_code == FIELD_TYPE.JSON or is_json:
        return Column(tagged(name, "json"))
    if found.charsetnr == _BYTES:
        return Column(pa.field(name, pa.binary()), text=False)
    if declared == "uuid":
        return Column(pa.field(name, pa.uuid()), lambda v, row: parse(v, pa.field(name, pa.uuid()), first_row=row))
    if declared in {"inet4", "inet6"}:
        return Column(tagged(name, "inet"))
    if _SIZED.match(declared) or declared.startswith(("enum(", "set(")):
        return Column(tagged(name, declared))
    return Column(pa.field(name, pa.string()))


def _plain(field_: Field) -> Column:
    """Numbers as the server writes them, which Arrow reads exactly."""
    return Column(field_, lambda values, _: values.cast(field_.type))


def _decimal(name: str, precision: int, scale: int) -> Column:
    if precision > 38:
        return Column(tagged(name, f"numeric({precision},{scale})"))
    return _plain(pa.field(name, pa.decimal128(max(precision, 1), scale)))


def _moments(name: str, type_: pa.DataType, zero: ZeroDates) -> Decode:
    def decode(values: Array, first_row: int) -> Array:
        none = pc.match_substring(values, _NO_DATE)
        count = pc.sum(none).as_py() or 0
        if count and not zero.as_null:
            row = first_row + none.index(True).as_py()
            hint = "Read it as NULL: zero_dates='null'"
            raise DataError(f"column {name!r}, row {row}: a zero date, which is none", column=name, row=row, hint=hint)
        if count:
            zero.found[name] = zero.found.get(name, 0) + count
            values = pc.if_else(none, pa.scalar(None, pa.string()), values)
        naive = TIMESTAMP if pa.types.is_timestamp(type_) else type_
        return cast_column(values, naive, column=name, first_row=first_row).cast(type_)

    return decode


def _times(name: str) -> Decode:
    def decode(values: Array, first_row: int) -> Array:
        outside = pc.fill_null(pc.invert(pc.match_substring_regex(values, r"^([01]\d|2[0-3]):")), False)
        if pc.any(outside).as_py():
            row = first_row + outside.index(True).as_py()
            hint = f"Read it as text or seconds: CAST({name} AS CHAR), TIME_TO_SEC({name})"
            message = f"column {name!r}, row {row}: the time is no time of a day"
            raise DataError(message, column=name, row=row, hint=hint)
        return parse(values, pa.field(name, pa.time64("us")), first_row=first_row)

    return decode


def _bits(name: str, length: int) -> Column:
    if length == 1:
        return Column(pa.field(name, pa.bool_()), lambda values, _: pc.equal(values, pa.scalar(b"\x01")), text=False)

    def decode(values: Array, _: int) -> Array:
        digits = [None if v is None else f"{int.from_bytes(v, 'big'):0{length}b}" for v in values.to_pylist()]
        return pa.array(digits, pa.string())

    return Column(tagged(name, f"bit({length})"), decode, text=False)


def _wrapped(sql: str, columns: Sequence[Column]) -> str:
    """The query with its columns as expressions; its order is kept, which a server drops without a limit."""
    if all(column.expression == "{}" for column in columns):
        return sql
    words = outer_words(sql)
    inner = f"{sql}\nLIMIT {2**64 - 1}" if "order" in words and not words & {"limit", "fetch"} else sql
    names = ", ".join(f"c{index}" for index in range(len(columns)))
    items = ", ".join(column.expression.format(f"c{index}") for index, column in enumerate(columns))
    return f"WITH q ({names}) AS (\n{inner}\n) SELECT {items} FROM q"


def _batches(
    raw: Any, watch: Watch, columns: Sequence[Column], schema: pa.Schema, work: Workspace
) -> Iterator[pa.RecordBatch]:
    done, blocks = 0, columns_of(raw, watch, work.batch_bytes)
    while work.limit is None or done < work.limit:
        work.cancel.check()
        try:
            block = next(blocks, None)
        except pymysql.Error as error:
            work.cancel.check()
            raise translate(error) from None
        if block is None:
            return
        arrays = []
        for column, values in zip(columns, block, strict=True):
            wanted = values if work.limit is None else values.slice(0, work.limit - done)
            arrays.append(column.decode(wanted.cast(pa.string()) if column.text else wanted, done + 1))
        batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
        yield batch
        done += batch.num_rows
