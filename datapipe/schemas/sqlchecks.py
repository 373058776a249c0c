"""Checks written in SQL: what they look at, and which of their columns the whole-table ones need."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

import duckdb
import pyarrow as pa

from datapipe.data.analysis import analyse, nodes, streams, tree_of
from datapipe.data.duckerrors import translate
from datapipe.data.names import quote
from datapipe.data.types import EXACT_NUMERIC, tag
from datapipe.errors import PlanError
from datapipe.plan.sqltext import check_one_query

ROW = "_datapipe_row"  # the column with a row's number
Scope = Literal["row", "rows", "table"]


def query_of(expressions: Sequence[str]) -> str:
    """The query for expressions over the input."""
    return f"SELECT {', '.join(f'({expression}{chr(10)})' for expression in expressions)} FROM input_data"


def scope_of(con: duckdb.DuckDBPyConnection, expression: str, schema: pa.Schema) -> Scope:
    """Whether an expression judges a row by itself, a row among all the others, or the table.

    Raises
    ------
    PlanError
        If it does not bind, or reads anything but the rows.

    Examples
    --------
    >>> con, schema = duckdb.connect(), pa.schema([("price", pa.float64())])
    >>> [scope_of(con, text, schema) for text in ("price > 0", "price > (SELECT 1)", "AVG(price) > 10")]
    ['row', 'rows', 'table']
    """
    text = query_of([expression])
    check_one_query(text)
    schema = pa.schema([pa.field(f.name, EXACT_NUMERIC) if tag(f) == "numeric" else f for f in schema])
    con.register("input_data", pa.RecordBatchReader.from_batches(schema, []))
    try:
        analyse(con, text, {"input_data": schema})
        if len(tree_of(con, text)["statements"][0]["node"].get("select_list", ())) != 1:
            raise PlanError("it is not one expression", hint="Write one comparison, with its brackets closed")
        type_ = str(con.sql(text).types[0])
        if type_ not in {"BOOLEAN", '"NULL"'}:
            raise PlanError(f"it gives {type_}, not yes or no", hint="Write a comparison, such as price >= 0")
        plan = json.loads(con.execute(f"EXPLAIN (FORMAT json) {text}").fetchall()[0][1])
        if all(streams(node) for node in plan):
            return "row"
        return "rows" if _binds(con, text.replace("SELECT ", f"SELECT {quote(schema.names[0])}, ", 1)) else "table"
    except duckdb.Error as error:
        raise translate(error) from None
    except PlanError as error:
        error.message = f"the check {expression!r}: {error.message}"
        raise
    finally:
        con.unregister("input_data")


def _binds(con: duckdb.DuckDBPyConnection, text: str) -> bool:
    try:
        con.execute(f"EXPLAIN {text}").fetchall()
    except duckdb.BinderException:
        return False
    return True


def columns_in(con: duckdb.DuckDBPyConnection, expression: str, names: Sequence[str]) -> set[str]:
    """The columns an expression may read; all of them, where it says so."""
    found = list(nodes(tree_of(con, query_of([expression]))))
    if any(node.get("class") == "STAR" for node in found):
        return set(names)
    read = {part.lower() for node in found if node.get("class") == "COLUMN_REF" for part in node["column_names"]}
    return {name for name in names if name.lower() in read}
