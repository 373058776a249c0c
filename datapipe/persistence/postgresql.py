"""PostgreSQL: binary COPY, encoded from Arrow by pgpq, carried by psycopg, in one transaction."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pgpq
import psycopg
import pyarrow as pa
from pgpq.encoders import StringEncoderBuilder
from pgpq.schema import Jsonb

from datapipe.data.connections import shared
from datapipe.data.names import quote, quoted
from datapipe.data.pgerrors import translate
from datapipe.data.stream import Workspace
from datapipe.data.types import INTERVAL, postgresql_type, tag
from datapipe.persistence.load import Wire
from datapipe.persistence.tables import Column, Layout, Table
from datapipe.plan import DatabaseUrl

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
_LAYOUT = """
SELECT a.attname, format_type(COALESCE(NULLIF(t.typbasetype, 0), a.atttypid),
                              CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END),
       a.attnotnull, a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '', t.typtype = 'e'
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s::oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
ORDER BY a.attnum"""
_UNIQUE = """
SELECT array_agg(a.attname::text) FROM pg_index i
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
WHERE i.indrelid = %s::oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
GROUP BY i.indexrelid"""


@dataclass(frozen=True)
class PostgresqlSession:
    """One transaction on PostgreSQL."""

    raw: psycopg.Connection[Any]

    def layout(self, table: Table) -> Layout | None:
        row = self.raw.execute("SELECT to_regclass(%s)::oid", (table.sql,)).fetchone()
        if row is None or row[0] is None:
            return None
        columns = tuple(
            Column(name, "text" if is_enum else type_, not required, optional)
            for name, type_, required, optional, is_enum in self.raw.execute(_LAYOUT, (row[0],)).fetchall()
        )
        unique = self.raw.execute(_UNIQUE, (row[0],)).fetchall()
        return Layout(columns, tuple(frozenset(names) for (names,) in unique))

    def column_type(self, field: pa.Field) -> str:
        return postgresql_type(field)

    def wire(self, field: pa.Field, column: Column) -> Wire:
        return _wire(field, column.type)

    def create_schema(self, name: str) -> str | None:
        found = self.raw.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (name,)).fetchone()
        return None if found else f"CREATE SCHEMA {quote(name)}"

    def execute(self, sql: str) -> int:
        return self.raw.execute(sql.encode()).rowcount

    def scalar(self, sql: str) -> Any:
        row = self.raw.execute(sql.encode()).fetchone()
        return row[0] if row else None

    def copy(
        self, table: Table, columns: Sequence[Column], schema: pa.Schema, batches: Iterator[pa.RecordBatch]
    ) -> int:
        rows = 0
        encoder = _encoder(schema, columns)
        text = f"COPY {table.sql} ({quoted(schema.names)}) FROM STDIN (FORMAT binary)"
        with self.raw.cursor() as cursor, cursor.copy(text.encode()) as copy:
            copy.write(encoder.write_header())
            for batch in batches:
                copy.write(encoder.write_batch(_encodable(batch)))
                rows += batch.num_rows
            copy.write(encoder.finish())
        return rows


@contextmanager
def postgresql_session(url: DatabaseUrl, work: Workspace) -> Iterator[PostgresqlSession]:
    """A transaction that commits when the block ends well and rolls back when it does not."""
    with shared().connect(url) as conn:
        raw: psycopg.Connection[Any] = conn.connection.driver_connection  # type: ignore[assignment]  # by our URL
        with work.cancel.hook(lambda: raw.cancel_safe(timeout=1)):
            try:
                raw.rollback()  # a pooled connection may come with a transaction begun
                with raw.transaction():
                    raw.execute("SET LOCAL TimeZone = 'UTC'")
                    yield PostgresqlSession(raw)
                    work.cancel.check()
            except psycopg.Error as error:
                work.cancel.check()
                raise translate(error) from None


def _wire(field: pa.Field, declared: str) -> Wire:
    """How a field is sent to a column of type ``declared``: binary where the widths match, else as text."""
    match = _TYPE.match(declared)
    target = _arrow(match, field) if match else None
    if field.type == INTERVAL or target is None:
        return Wire(pa.string(), cast=declared)
    if pa.types.is_string(field.type) and (target == pa.uuid() or pa.types.is_list(target)):
        return Wire(pa.string(), cast=declared)
    if tag(field) == "numeric" and declared == "numeric":
        return Wire(pa.string(), cast=declared)
    return Wire(target)


def _arrow(match: re.Match[str], field: pa.Field) -> pa.DataType | None:
    name, precision, scale = match["name"], match["p"], match["s"]
    if name == "numeric":
        found = _numeric(precision, scale, field)
    elif name in {"timestamp", "timestamptz"}:
        unit = _UNITS.get(int(precision) if precision else None)
        zone = "UTC" if name == "timestamptz" or match["zone"] == " with time zone" else None
        found = pa.timestamp(unit, zone) if unit else None
    elif name == "time" and (precision or match["zone"] == " with time zone"):
        found = None
    else:
        found = _WIRE.get(name)
    if match["array"]:
        return pa.list_(found) if found is not None and name not in {"numeric", "json", "jsonb", "uuid"} else None
    return found


def _numeric(precision: str | None, scale: str | None, field: pa.Field) -> pa.DataType | None:
    if precision:
        return pa.decimal128(int(precision), int(scale or 0)) if int(precision) <= 38 and int(scale or 0) >= 0 else None
    if pa.types.is_decimal128(field.type):
        return field.type
    return pa.decimal128(20, 0) if pa.types.is_integer(field.type) else None


def _encoder(schema: pa.Schema, columns: Sequence[Column]) -> pgpq.ArrowToPostgresBinaryEncoder:
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


def _encodable(batch: pa.RecordBatch) -> pa.RecordBatch:
    if not any(isinstance(column.type, pa.BaseExtensionType) for column in batch.columns):
        return batch
    columns = [c.storage if isinstance(c.type, pa.BaseExtensionType) else c for c in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
