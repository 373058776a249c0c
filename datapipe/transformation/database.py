"""SQL over a frame in a database of the user's choice, through a temporary table."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg
import pyarrow as pa
import sqlalchemy as sa

from datapipe.data.casting import cast_column, check_names
from datapipe.data.connections import shared
from datapipe.data.frames import from_frame
from datapipe.data.names import quote
from datapipe.data.pgerrors import translate
from datapipe.data.types import postgresql_type, sqlite_type
from datapipe.errors import DataError, PlanError
from datapipe.plan.sqltext import check_one_query, check_parameters, rewrite

_TYPES: dict[str, Callable[[pa.Field], str]] = {"postgresql": postgresql_type, "sqlite": sqlite_type}


def run_in_database(url: str | sa.Engine, table: pa.Table, sql: str, parameters: Mapping[str, Any]) -> pa.Table:
    """A query's rows, run where ``url`` leads, with ``table`` as the temporary table ``input_data``.

    Raises
    ------
    PlanError
        If the database is neither PostgreSQL nor SQLite, or refuses the query.
    DataError
        If it refuses a value.
    """
    check_parameters(sql, parameters)
    query = rewrite(check_one_query(sql), lambda name: f":{name}", lambda text: text.replace(":", r"\:"))
    with shared().connect(url) as conn:
        type_of = _TYPES.get(conn.dialect.name)
        if type_of is None:
            raise PlanError(f"SQL over a frame does not run in {conn.dialect.name}", hint="Leave database_url= out")
        try:
            _fill(conn, table, type_of)
            result = conn.execute(sa.text(query), dict(parameters))
            names = list(result.keys())
            check_names(names, what="the result")
            columns = list(zip(*result.fetchall(), strict=True)) or [() for _ in names]
        except sa.exc.IntegrityError as error:
            raise DataError(f"the database refuses a row: {type(error.orig).__name__}") from None
        except sa.exc.DBAPIError as error:
            if isinstance(error.orig, psycopg.Error):
                raise translate(error.orig) from None
            reason = str(error.orig).splitlines()[0]
            raise PlanError(f"the database refuses the query: {reason}") from None
        finally:
            # SQLite keeps a temporary table through a rollback, and the pool keeps the connection.
            with contextlib.suppress(sa.exc.SQLAlchemyError):  # a lost connection has lost it, too
                conn.rollback()
                conn.exec_driver_sql(
                    "DROP TABLE IF EXISTS pg_temp.input_data"
                    if conn.dialect.name == "postgresql"
                    else "DROP TABLE IF EXISTS temp.input_data"
                )
                conn.rollback()
    made = {
        name: _restored(_array(values, name), name, table.schema) for name, values in zip(names, columns, strict=True)
    }
    return from_frame(pa.table(made), table.schema)


def _array(values: Sequence[Any], name: str) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError, OverflowError):
        kind = next((type(value).__name__ for value in values if value is not None), "NULL")
        raise DataError(f"column {name!r} has values of type {kind}", column=name, hint="Cast it to text") from None


def _restored(values: pa.Array, name: str, schema: pa.Schema) -> pa.Array:
    """A column that went in and came back in a lesser type, such as a date as text, in its own type again."""
    index = schema.get_field_index(name)
    if index < 0:
        return values
    own = schema.field(index).type
    if not (pa.types.is_string(values.type) or pa.types.is_decimal(own) or pa.types.is_boolean(own)):
        return values
    try:
        return cast_column(values, own, column=name)
    except DataError:
        return values


def _fill(conn: sa.Connection, table: pa.Table, type_of: Callable[[pa.Field], str]) -> None:
    columns = ", ".join(f"{quote(field.name)} {type_of(field)}" for field in table.schema)
    if conn.dialect.paramstyle in {"format", "pyformat"}:
        columns = columns.replace("%", "%%")
    conn.exec_driver_sql(f"CREATE TEMPORARY TABLE input_data ({columns})")
    marks = ", ".join(f":c{index}" for index in range(table.num_columns))
    insert = sa.text(f"INSERT INTO input_data VALUES ({marks})")  # marks only
    for batch in table.to_batches(10_000):
        bindable = [_bindable(values, field.name) for values, field in zip(batch.columns, table.schema, strict=True)]
        rows = [{f"c{i}": value for i, value in enumerate(row)} for row in zip(*bindable, strict=True)]
        if rows:
            conn.execute(insert, rows)


def _bindable(values: pa.Array, name: str) -> list[Any]:
    """Python values every driver binds: numbers, text, bytes; the rest as text the server reads."""
    t = pa.types
    native = t.is_integer(values.type) or t.is_floating(values.type) or t.is_boolean(values.type)
    if native or t.is_string(values.type) or t.is_binary(values.type):
        found: list[Any] = values.to_pylist()
        return found
    if values.type == pa.uuid():
        return [None if value is None else str(value) for value in values.to_pylist()]
    texts: list[Any] = cast_column(values, pa.string(), column=name).to_pylist()
    return texts
