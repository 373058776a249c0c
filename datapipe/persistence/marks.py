"""The column that says since when a row is no longer at the source."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pyarrow as pa

from datapipe.data.names import find_name
from datapipe.data.types import TIMESTAMPTZ
from datapipe.errors import PlanError, SchemaError
from datapipe.persistence.fitting import Fit
from datapipe.persistence.session import Session
from datapipe.persistence.tables import Column, Layout, Table
from datapipe.plan import TableTarget
from datapipe.schemas import SchemaChange

_FIELD = pa.field("deleted_at", TIMESTAMPTZ)


def with_mark(schema: pa.Schema, target: TableTarget) -> pa.Schema:
    """The columns that the table needs for rows of a schema.

    Raises
    ------
    PlanError
        If the rows have a column of the mark's name.
    """
    if target.deletes != "mark":
        return schema
    taken = find_name(_FIELD.name, schema.names)
    if taken is not None:
        hint = "Rename it in a step, or use deletes='remove'"
        raise PlanError(f"the rows have a column {taken!r}, which deletes='mark' sets itself", column=taken, hint=hint)
    return schema.append(_FIELD)


def mark_name(layout: Layout) -> str | None:
    """What a table that is there calls the column, if it has one."""
    return find_name(_FIELD.name, [column.name for column in layout.columns])


def marked(session: Session, found: Fit, table: Table, target: TableTarget, created: Callable[[], bool]) -> Fit:
    """A table that is there, with the column if rows are marked; it is added where ``schema_mode`` allows it.

    Raises
    ------
    SchemaError
        If it does not, with the statement; or if the column takes no NULL, or is no time.
    """
    if target.deletes != "mark":
        return found
    name = mark_name(found.layout)
    column = next((column for column in found.layout.columns if column.name == name), None)
    if column is not None:
        if column.nullable and session.kind(column).family in {"timestamp", "timestamptz"}:
            return found
        problem = f"column {column.name!r} of {table} is {column.spec}, and deletes='mark' sets a time or NULL"
        raise SchemaError(problem, column=column.name, hint="Alter it to a nullable timestamp, or rename it")
    type_ = session.column_type(_FIELD)
    change = SchemaChange("added", _FIELD.name, None, type_)
    mode = target.schema_mode or ("evolve" if created() else "strict")
    if mode != "evolve":
        shown = "; ".join(ddl.sql for ddl in session.alter(table, (change,))).replace('"', session.words.mark)
        problem = f"table {table} lacks {_FIELD.name!r}, which deletes='mark' sets (schema_mode {mode})"
        error = SchemaError(problem, column=_FIELD.name, hint=f"Add it: {shown}; or use schema_mode='evolve'")
        error.changes = (dataclasses.replace(change, effect="the table lacks it", breaking=True),)
        raise error
    layout = dataclasses.replace(found.layout, columns=(*found.layout.columns, Column(_FIELD.name, type_)))
    return dataclasses.replace(found, layout=layout, changes=(*found.changes, change))
