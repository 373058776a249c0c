"""PostgreSQL: binary COPY, encoded from Arrow by pgpq, carried by psycopg, in one transaction."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

import psycopg
import pyarrow as pa

from datapipe.data.connections import shared
from datapipe.data.names import quote, quoted
from datapipe.data.pgbackend import IDENTITY, psycopg_of, session_name, watched_backend
from datapipe.data.pgerrors import translate
from datapipe.data.stream import Workspace
from datapipe.data.types import INTERVAL, postgresql_type, tag
from datapipe.data.watch import Watch
from datapipe.errors import DataError, PlanError, TransientError
from datapipe.persistence import pgalter, statements
from datapipe.persistence.patience import WAIT, patiently
from datapipe.persistence.pgbinary import COPY, PostgresqlBinary, unbounded
from datapipe.persistence.session import ROW_NUMBER, CommitLost, Wire, Words
from datapipe.persistence.tables import Column, Ddl, Layout, Table
from datapipe.plan import DatabaseUrl
from datapipe.schemas import SchemaChange
from datapipe.schemas.kinds import Kind, kind_of

if TYPE_CHECKING:
    import pgpq

_TYPE = re.compile(
    r"(?P<name>[a-z ]+?)(?:\((?P<p>\d+)(?:,(?P<s>-?\d+))?\))?(?P<zone> with(?:out)? time zone)?(?P<array>\[\])?\Z"
)
_WIRE: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double precision": pa.float64(),
    "text": pa.string(),
    "character varying": pa.string(),
    "varchar": pa.string(),
    "character": pa.string(),
    "char": pa.string(),
    "name": pa.string(),
    "json": pa.string(),
    "jsonb": pa.string(),
    "bytea": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "uuid": pa.uuid(),
}
_UNITS = {None: "us", 0: "s", 3: "ms", 6: "us"}
_NAME_BYTES = 63
# A row for each column; one that says nothing, if there is no column; none, if there is no table.
_LAYOUT = """
SELECT c.oid, a.attname, format_type(COALESCE(NULLIF(t.typbasetype, 0), a.atttypid),
                              CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END),
       a.attnotnull, a.atthasdef OR a.attidentity <> '', a.attgenerated <> '' OR a.attidentity = 'a', t.typtype = 'e',
       t.typtype = 'd' OR t.typname IN ('bpchar', 'char', 'name')
FROM pg_class c
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_type t ON t.oid = a.atttypid
WHERE c.oid = to_regclass(%s)
ORDER BY a.attnum"""
_UNIQUE = """
SELECT array_agg(a.attname::text) FROM pg_index i
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey[0:i.indnkeyatts - 1])
WHERE i.indrelid = %s::oid AND i.indisunique AND i.indisvalid AND i.indimmediate
  AND i.indpred IS NULL AND i.indexprs IS NULL
GROUP BY i.indexrelid"""
_NOW = """to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
# to_regclass() remembers that there was no such table, even after a wait for the transaction that created it.
_EXISTS = """
SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = ? AND n.nspname = ANY({schemas})"""
_PLACE = """
SELECT COALESCE((SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.oid = to_regclass(%s)), current_schema())"""
# Text is in UTF-8, and means the same whatever the server or the role has set. Whether a client is still there is
# looked at while its statement runs, so that its locks go with it.
_SETTINGS = {
    "client_encoding": "UTF8",
    "TimeZone": "UTC",
    "IntervalStyle": "postgres",
    "lc_monetary": "C",
    "array_nulls": "on",
}
_SESSION = ", ".join([f"SELECT {IDENTITY}", *(f"set_config('{n}', '{v}', true)" for n, v in _SETTINGS.items())])
_SESSION_14 = f"{_SESSION}, set_config('client_connection_check_interval', '500', true)"
_HOLDER = """
SELECT a.pid, a.application_name, to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.classid::bigint = %s AND l.objid::bigint = %s"""
_FIRST_REFUSED = """
DO {tag} DECLARE row_ bigint := 0; text_ text;
BEGIN
  FOR text_ IN SELECT s.{column} FROM {table} AS s ORDER BY s.ctid LOOP
    row_ := row_ + 1;
    PERFORM CAST(text_ AS {cast});
  END LOOP;
EXCEPTION WHEN data_exception OR syntax_error THEN PERFORM set_config('datapipe.row', row_::text, true);
END {tag}"""
_CHANGED = "CAST({column} AS {cast}) IS DISTINCT FROM CAST({column} AS {wide})"
_FIRST_CHANGED = """
SELECT row_ FROM (SELECT row_number() OVER (ORDER BY ctid) AS row_, * FROM {table}) AS s
WHERE {changed} ORDER BY row_ LIMIT 1"""


@dataclass(frozen=True)
class PostgresqlSession:
    """One transaction on PostgreSQL."""

    bulk: ClassVar[str] = COPY
    words: ClassVar[Words] = Words(now=_NOW, unrepeated=True)
    raw: psycopg.Connection[Any]
    watch: Watch

    @property
    def binary(self) -> PostgresqlBinary:
        return PostgresqlBinary(self.raw, self.watch)

    def _run(self, sql: str, values: Sequence[Any] | None = None) -> psycopg.Cursor[Any]:
        with self.watch.waiting():
            return self.raw.execute(sql.encode(), values)

    def lock(self, name: str, owner: str) -> str | None:
        number = hashlib.sha256(name.encode()).digest()[:8]
        # The name in pg_stat_activity is what tells the others whom they wait for.
        taken = "SELECT pg_try_advisory_xact_lock(%s), set_config('application_name', %s, true)"
        row = self._run(taken, (int.from_bytes(number, signed=True), session_name(owner))).fetchone()
        if row is None or row[0]:
            return None
        halves = int.from_bytes(number[:4]), int.from_bytes(number[4:])
        holder = self._run(_HOLDER, halves).fetchone()
        return _holder(*holder) if holder else "another run"

    def turn(self, place: str) -> str:
        return f"target {place}"

    def place(self, table: Table) -> str:
        row = self._run(_PLACE, (table.sql,)).fetchone()
        schema = row[0] if row else None
        return f"{table.schema or schema}.{table.name}"

    def begin(self) -> None:
        """The driver has begun it with the first statement."""

    def define(self, statements: Sequence[str]) -> None:  # as the protocol calls it
        for ddl in statements:
            try:
                if ddl.startswith("ALTER TABLE"):
                    patiently(functools.partial(self._altered, ddl))
                else:
                    self.execute(ddl)
            except (psycopg.ProgrammingError, psycopg.NotSupportedError) as error:
                raise translate(error) from None

    def _altered(self, ddl: str) -> bool:
        before = self.scalar("SELECT current_setting('lock_timeout')")
        limit = "SELECT set_config('lock_timeout', %s, true)"
        try:
            with self.watch.waiting(), self.raw.transaction():  # a savepoint
                self._run(limit, (f"{WAIT}s",))
                self.execute(ddl)
                self._run(limit, (before,))
        except psycopg.errors.LockNotAvailable:
            return False
        return True

    def commit(self) -> None:
        try:
            with self.watch.waiting():
                self.raw.commit()
        except TransientError:
            raise CommitLost from None
        except psycopg.OperationalError:
            if self.raw.closed:
                raise CommitLost from None
            raise

    def exists(self, table: Table) -> bool:
        if table.schema:
            return bool(self.query(_EXISTS.format(schemas="ARRAY[?::name]"), table.name, table.schema))
        return bool(self.query(_EXISTS.format(schemas="current_schemas(false)"), table.name))

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        cursor = self._run(sql.replace("?", "%s"), values)
        return cursor.fetchall() if cursor.description else []

    def merge(
        self, table: Table, columns: Sequence[Column], casts: Sequence[str | None], source: str, keys: Sequence[str]
    ) -> tuple[str, ...]:
        return statements.insert_from(table, columns, casts, source, keys)

    def layout(self, table: Table, *, keyed: bool) -> Layout | None:
        for name in filter(None, (table.schema, table.name)):
            check_length(name, "name")
        found = self._run(_LAYOUT, (table.sql,)).fetchall()
        if not found:
            return None
        columns = tuple(
            Column(name, type_, not required, optional, pa.string() if is_enum else None, generated=gen, fixed=fixed)
            for _, name, type_, required, optional, gen, is_enum, fixed in found
            if name is not None
        )
        unique = self._run(_UNIQUE, (found[0][0],)).fetchall() if keyed else []
        return Layout(columns, tuple(frozenset(names) for (names,) in unique))

    def column_type(self, field: pa.Field, *, key: bool = False) -> str:  # noqa: ARG002  # every type can be one
        check_length(field.name, "column name")
        return postgresql_type(field)

    def kind(self, column: Column) -> Kind:
        return kind_of(column.type)

    def alter(self, table: Table, changes: Sequence[SchemaChange]) -> tuple[Ddl, ...]:
        pgalter.check_views(table, changes, self._run(pgalter.VIEWS, (table.sql,)).fetchall())
        return pgalter.alter(table, changes)

    def wire(self, field: pa.Field, column: Column) -> Wire:
        return wire(field, column)

    def create_schema(self, name: str) -> str | None:
        found = self._run("SELECT 1 FROM pg_namespace WHERE nspname = %s", (name,)).fetchone()
        return None if found else f"CREATE SCHEMA {quote(name)}"

    def execute(self, sql: str) -> int:
        return self._run(sql).rowcount

    def attempt(self, statements: Sequence[str]) -> int:
        try:
            with self.watch.waiting(), self.raw.transaction():  # a savepoint
                return sum(map(self.execute, statements))
        except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.CardinalityViolation) as error:
            raise translate(error) from None

    def numbered(self, table: Table) -> str:
        return f"(SELECT *, row_number() OVER (ORDER BY ctid) AS {ROW_NUMBER} FROM {table.sql})"

    def scalar(self, sql: str) -> Any:
        row = self._run(sql).fetchone()
        return row[0] if row else None

    def refused(self, table: Table, column: str, cast: str) -> int | None:
        parts = {"table": table.sql, "column": quote(column), "cast": cast, "wide": unbounded(cast)}
        try:
            with self.watch.waiting(), self.raw.transaction():  # a savepoint
                if parts["wide"] == cast:
                    self.execute("SELECT count(CAST({column} AS {cast})) FROM {table}".format(**parts))
                    return None
                changed = _CHANGED.format(**parts)
                if self.scalar(f"SELECT 1 FROM {table.sql} WHERE {changed} LIMIT 1") is None:
                    return None
                return int(self.scalar(_FIRST_CHANGED.format(table=table.sql, changed=changed)))
        except (psycopg.DataError, psycopg.errors.SyntaxError):
            self.execute(_FIRST_REFUSED.format(**parts, tag=f"$_{uuid4().hex}$"))
            return int(self.scalar("SELECT current_setting('datapipe.row')"))

    def copy(
        self, table: Table, columns: Sequence[Column], schema: pa.Schema, batches: Iterator[pa.RecordBatch]
    ) -> int:
        encoder = _encoder(schema, columns)
        text = self.bulk.format(table=table.sql, columns=quoted(schema.names))
        with self.watch.waiting(), self.raw.cursor() as cursor:
            with cursor.copy(text.encode()) as copy:
                copy.write(encoder.write_header())
                done = 0
                for batch in self.watch.pausing(batches):
                    copy.write(_encoded(encoder, _encodable(batch), done + 1))
                    done += batch.num_rows
                copy.write(encoder.finish())
            return cursor.rowcount


def _opening(version: int) -> bytes:
    """The statement that begins a transaction; its settings, the name among them, go with it."""
    text = _SESSION_14 if version >= 140_000 else _SESSION
    return f"{text}, set_config('application_name', '{session_name()}', true)".encode()


@contextmanager
def postgresql_session(url: DatabaseUrl, work: Workspace) -> Iterator[PostgresqlSession]:
    """A session on a pooled connection."""
    with shared().connect(url, work.cancel) as conn:
        raw = psycopg_of(conn, url)
        autocommit = raw.autocommit
        with watched_backend(raw, work.cancel) as (watch, backend):
            try:
                with watch.waiting():
                    raw.rollback()  # a pooled connection may come with a transaction begun
                    raw.autocommit = False
                    row = raw.execute(_opening(raw.info.server_version)).fetchone()
                backend.identify(*row[:2])  # type: ignore[index]  # there is a row
                yield PostgresqlSession(raw, watch)
            except psycopg.Error as error:
                work.cancel.check()
                raise translate(error) from None
            finally:
                with contextlib.suppress(psycopg.Error, TransientError):
                    with watch.waiting():
                        raw.rollback()
                    raw.autocommit = autocommit


def _holder(pid: int | None, application: str | None, since: str | None) -> str:
    """Who holds a lock, for people; another user's session does not tell its name."""
    ours, _, names = (application or "").partition(" ")
    who = f"run {names.split()[0]}" if ours == "datapipe" and names else f"a session (process {pid})"
    return f"{who} since {since} UTC" if since else who


def check_length(name: str, what: str) -> None:
    """Refuse a name that PostgreSQL would cut without an error.

    Raises
    ------
    PlanError
        If it has more than 63 bytes.
    """
    if len(name.encode()) > _NAME_BYTES:
        hint = "PostgreSQL would cut it; shorten it"
        raise PlanError(f"the {what} {name!r} has more than {_NAME_BYTES} bytes", hint=hint)


def wire(field: pa.Field, column: Column) -> Wire:
    """How a field is sent to a column: binary where the widths match, else as text that the server casts."""
    declared = column.type
    if declared == "money":  # by way of a number: the server rounds what becomes money without a word
        return Wire(pa.string(), cast="numeric(19,2)", direct=False)
    known = "interval" if field.type == INTERVAL else tag(field)
    sure = declared == known and known in {"interval", "numeric"}  # a step may have changed any other text
    if column.arrow is not None or declared == "json":  # an enum, or what has no equality
        return Wire(pa.string(), cast=declared, sure=sure)
    match = _TYPE.match(declared)
    target = _arrow(match, field) if match else None
    if target is None or (pa.types.is_string(field.type) and _parsed(target)):
        return Wire(pa.string(), cast=declared, direct=False, sure=sure)
    limit = match["p"] if match and match["name"] == "character varying" else None
    return Wire(target, longest=int(limit) if limit else None)


def _parsed(target: pa.DataType) -> bool:
    """Whether text becomes this type by the server's rules rather than by Arrow's."""
    return target in (pa.uuid(), pa.time64("us")) or pa.types.is_list(target)


def _arrow(match: re.Match[str], field: pa.Field) -> pa.DataType | None:
    """The Arrow type whose binary form is the column's own; None if there is none."""
    if not match["array"]:
        return _scalar(match, field)
    found = _scalar(match, field.type.value_field if pa.types.is_list(field.type) else field)
    # The elements carry their type's number, and for these types it would be another one.
    renamed = found == pa.uuid() or getattr(found, "tz", None) or (found == pa.string() and match["name"] != "text")
    return None if found is None or renamed else pa.list_(found)


def _scalar(match: re.Match[str], field: pa.Field) -> pa.DataType | None:
    name, precision = match["name"], match["p"]
    if name == "numeric":
        return _numeric(precision, match["s"], field)
    if name in {"timestamp", "timestamptz"}:
        unit = _UNITS.get(int(precision) if precision else None)
        zone = "UTC" if name == "timestamptz" or match["zone"] == " with time zone" else None
        return pa.timestamp(unit, zone) if unit else None
    if name == "time" and (precision or match["zone"] == " with time zone"):
        return None
    return _WIRE.get(name)


def _numeric(precision: str | None, scale: str | None, field: pa.Field) -> pa.DataType | None:
    if precision:
        digits, places = int(precision), int(scale or 0)
        return pa.decimal128(digits, places) if digits <= 38 and 0 <= places <= digits else None
    if pa.types.is_decimal128(field.type):
        return field.type
    return pa.decimal128(20, 0) if pa.types.is_integer(field.type) else None


def _encoder(schema: pa.Schema, columns: Sequence[Column]) -> pgpq.ArrowToPostgresBinaryEncoder:
    import pgpq  # rows that come as PostgreSQL encodes them do without
    from pgpq.encoders import StringEncoderBuilder
    from pgpq.schema import Jsonb

    flat = pa.schema([pa.field(f.name, pa.binary(16) if f.type == pa.uuid() else f.type) for f in schema])
    encoders = {
        field.name: StringEncoderBuilder.new_with_output(field, Jsonb())
        for field, column in zip(flat, columns, strict=True)
        if column.type == "jsonb" and pa.types.is_string(field.type)
    }
    if not encoders:
        return pgpq.ArrowToPostgresBinaryEncoder(flat)
    inferred = {f.name: pgpq.ArrowToPostgresBinaryEncoder.infer_encoder(f) for f in flat if f.name not in encoders}
    return pgpq.ArrowToPostgresBinaryEncoder.new_with_encoders(flat, inferred | encoders)


def _encoded(encoder: pgpq.ArrowToPostgresBinaryEncoder, batch: pa.RecordBatch, first_row: int) -> bytes:
    try:
        encoded: bytes = encoder.write_batch(batch)
    except ValueError:
        raise _beyond(batch, first_row) from None
    return encoded


def _beyond(batch: pa.RecordBatch, first_row: int) -> DataError:
    """The error for the first time that has no binary form: none of PostgreSQL's is so far away."""
    import pgpq

    for field, values in zip(batch.schema, batch.columns, strict=True):
        for row in range(batch.num_rows):
            one = pa.RecordBatch.from_arrays([values.slice(row, 1)], schema=pa.schema([field]))
            encoder = pgpq.ArrowToPostgresBinaryEncoder(one.schema)
            encoder.write_header()
            try:
                encoder.write_batch(one)
            except ValueError:
                at = first_row + row
                message = f"column {field.name!r}, row {at}: PostgreSQL has no such value"
                return DataError(message, column=field.name, row=at, hint="Make it NULL in a .sql() step")
    return DataError("a value cannot be sent to PostgreSQL", hint="Cast it to text in a .sql() step")


def _encodable(batch: pa.RecordBatch) -> pa.RecordBatch:
    if not any(isinstance(column.type, pa.BaseExtensionType) for column in batch.columns):
        return batch
    columns = [c.storage if isinstance(c.type, pa.BaseExtensionType) else c for c in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
