"""Rows as JSON texts and back, exactly: numbers and text as they are, whatever JSON lacks as text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import duckdb
import pyarrow as pa

from datapipe.data.casting import cast_column
from datapipe.data.duck import left
from datapipe.data.names import json_path, quote, text_literal
from datapipe.data.types import INTERVAL, duckdb_type, tag
from datapipe.errors import SchemaError


def to_json(batch: pa.RecordBatch, schema: pa.Schema, con: duckdb.DuckDBPyConnection | None = None) -> pa.Array:
    """Each row as a JSON object.

    Parameters
    ----------
    schema : pyarrow.Schema
        The batch's, with the tags of its fields.
    con : duckdb.DuckDBPyConnection, optional
        In UTC; one is opened, which takes a while, if left out.

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
    plain = _plain(batch)
    pairs = ", ".join(
        f"{text_literal(field.name)}, {_written(f'c{index}', given.type)}"
        for index, (field, given) in enumerate(zip(schema, plain.schema, strict=True))
    )
    with nullcontext(con) if con is not None else _duck() as duck:
        duck.register("rows", pa.Table.from_batches([plain]))
        made = duck.sql(f"SELECT CAST(json_object({pairs}) AS VARCHAR) AS j FROM rows").to_arrow_table()
        duck.unregister("rows")
        return made.column("j").combine_chunks().cast(pa.string())


def from_json(texts: pa.Array, schema: pa.Schema) -> pa.RecordBatch:
    """The rows that :func:`to_json` wrote."""
    with _duck() as con:
        con.register("rows", pa.table({"j": texts}))
        items = ", ".join(f"{_value(index, field)} AS c{index}" for index, field in enumerate(schema, 1))
        made = con.sql(f"SELECT {items} FROM (SELECT json_extract(j, '$.*') AS v FROM rows)").to_arrow_table()
        made = made.combine_chunks()
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
    """With UUIDs and intervals as text, as people know them, and without names, which DuckDB takes in any case."""
    columns = [
        cast_column(values, pa.string(), column=field.name) if field.type in (pa.uuid(), INTERVAL) else values
        for field, values in zip(batch.schema, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, names=[f"c{index}" for index in range(len(columns))])


def _written(value: str, type_: pa.DataType) -> str:
    """A value for json_object."""
    if pa.types.is_binary(type_):
        return f"hex({value})"
    if pa.types.is_floating(type_):  # JSON has no NaN
        # As text first: DuckDB writes a FLOAT as the DOUBLE next to it.
        text = f"CAST({value} AS VARCHAR)"
        return f"CASE WHEN isfinite({value}) THEN CAST({text} AS JSON) ELSE to_json({text}) END"
    if any(is_such(type_) for is_such in (pa.types.is_integer, pa.types.is_boolean, pa.types.is_string)):
        return value
    if pa.types.is_list(type_):
        return f"to_json(list_transform({value}, lambda x: to_json({_written('x', type_.value_type)})))"
    if pa.types.is_struct(type_):
        names = ((text_literal(f.name), f.type) for f in type_)
        pairs = (f"{name}, {_written(f'struct_extract({value}, {name})', inner)}" for name, inner in names)
        return f"CASE WHEN {value} IS NOT NULL THEN json_object({', '.join(pairs)}) END"
    return f"CAST({value} AS VARCHAR)"


def _value(index: int, field: pa.Field) -> str:
    """The value of the column with this number."""
    if tag(field) or field.type == pa.uuid():
        return f"json_extract_string(v[{index}], '$')"
    return _read(f"v[{index}]", field.type)


def _read(value: str, type_: pa.DataType) -> str:
    text = f"json_extract_string({value}, '$')"
    if pa.types.is_binary(type_):
        return f"unhex({text})"
    if pa.types.is_string(type_):
        return text
    if pa.types.is_list(type_):
        return f"list_transform(CAST({value} AS JSON[]), lambda x: {_read('x', type_.value_type)})"
    if pa.types.is_struct(type_):
        fields = (
            f"{quote(f.name)} := {_read(f'json_extract({value}, {text_literal(json_path(f.name))})', f.type)}"
            for f in type_
        )
        return f"CASE WHEN json_type({value}) = 'OBJECT' THEN struct_pack({', '.join(fields)}) END"
    try:
        return f"CAST({text} AS {duckdb_type(pa.field('', type_))})"
    except SchemaError:
        return text
