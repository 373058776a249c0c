"""Rows as JSON texts and back, exactly: numbers and text as they are, whatever JSON lacks as text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from datapipe.data.casting import cast_column
from datapipe.data.duck import left
from datapipe.data.names import quote
from datapipe.data.types import duckdb_type, tag
from datapipe.errors import SchemaError


def to_json(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Array:
    """Each row as a JSON object.

    Parameters
    ----------
    schema : pyarrow.Schema
        The batch's, with the tags of its fields.

    Examples
    --------
    >>> to_json(pa.record_batch({"id": [1], "name": [None]}), pa.schema([("id", pa.int64()), ("name", pa.string())]))
    <pyarrow.lib.StringArray object at ...>
    [
      "{"id":1,"name":null}"
    ]
    """
    if not batch.num_rows:
        return pa.array([], pa.string())
    pairs = ", ".join(f"{_text(field.name)}, {_written(field)}" for field in schema)
    with _duck() as con:
        con.register("rows", pa.Table.from_batches([_plain(batch)]))
        made = con.sql(f"SELECT CAST(json_object({pairs}) AS VARCHAR) AS j FROM rows").to_arrow_table()
        return made.column("j").combine_chunks().cast(pa.string())


def from_json(texts: pa.Array, schema: pa.Schema) -> pa.RecordBatch:
    """The rows that :func:`to_json` wrote."""
    with _duck() as con:
        con.register("rows", pa.table({"j": texts}))
        items = ", ".join(f"{_read(field)} AS {quote(field.name)}" for field in schema)
        made = con.sql(f"SELECT {items} FROM rows").to_arrow_table().combine_chunks()
        batches = made.to_batches()
        found = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=made.schema)
        return left(found, schema, first_row=1)


@contextmanager
def _duck() -> Iterator[duckdb.DuckDBPyConnection]:
    con = duckdb.connect(":memory:")
    try:
        for setting in ("threads=1", "GLOBAL TimeZone='UTC'", "GLOBAL python_enable_replacements=false"):
            con.execute(f"SET {setting}").complete()
        yield con
    finally:
        con.close()


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """With UUIDs as text, as people know them."""
    columns = [cast_column(c, pa.string(), column="") if c.type == pa.uuid() else c for c in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _written(field: pa.Field) -> str:
    column, type_ = quote(field.name), field.type
    if pa.types.is_binary(type_):
        return f"hex({column})"
    if pa.types.is_floating(type_):  # JSON has no NaN
        return f"CASE WHEN isfinite({column}) THEN to_json({column}) ELSE to_json(CAST({column} AS VARCHAR)) END"
    if any(is_such(type_) for is_such in (pa.types.is_integer, pa.types.is_boolean, pa.types.is_string)):
        return column
    if pa.types.is_nested(type_):
        return f"to_json({column})"
    return f"CAST({column} AS VARCHAR)"


def _read(field: pa.Field) -> str:
    type_, text = field.type, f"json_extract_string(j, {_text('$.' + _path(field.name))})"
    if pa.types.is_binary(type_):
        return f"unhex({text})"
    if tag(field) or pa.types.is_string(type_) or type_ == pa.uuid():
        return text
    try:
        declared = duckdb_type(field)
    except SchemaError:
        return text
    if pa.types.is_nested(type_):
        return f"CAST(json_extract(j, {_text('$.' + _path(field.name))}) AS {declared})"
    return f"CAST({text} AS {declared})"


def _path(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
