"""How a table that is there and the data come together: which columns go where, and what is altered before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import pyarrow as pa

from datapipe.data.types import describe
from datapipe.errors import SchemaError
from datapipe.persistence.tables import Column, Layout, Table
from datapipe.plan import SchemaMode, TableTarget
from datapipe.schemas.changes import SchemaChange
from datapipe.schemas.evolution import Evolution, Given, Held, evolution
from datapipe.schemas.kinds import Kind, holds, kind_of


class Types(Protocol):
    """What a database's types are."""

    def column_type(self, field: pa.Field, *, key: bool = False) -> str:
        """The type to create a column with."""

    def kind(self, column: Column) -> Kind:
        """What a column can hold."""


@dataclass(frozen=True)
class Fit:
    """A table that is there, as it is when the rows come, and the data's columns in it."""

    layout: Layout
    columns: tuple[Column | None, ...]  # for each column of the data; None if it is left out
    changes: tuple[SchemaChange, ...]


def fit(
    types: Types, layout: Layout, schema: pa.Schema, table: Table, target: TableTarget, created: Callable[[], bool]
) -> Fit:
    """Decide by the target's ``schema_mode`` how the data go into the table.

    Parameters
    ----------
    created : callable
        Whether datapipe has created the table; asked only where the answer matters.

    Raises
    ------
    SchemaError
        With the whole difference, if the mode does not allow it; or if the data have a column that the database
        fills in itself.
    """

    def decide(mode: SchemaMode) -> Evolution:
        held = [_held(types, column) for column in layout.columns]
        given = [_given(types, field) for field in schema]
        return evolution(held, given, mode, title=str(table), wider=wider, rename=target.rename)

    def wider(column: Held, kind: Kind) -> tuple[str, Kind] | None:
        try:
            type_ = types.column_type(kind.field(column.name))
        except SchemaError:
            return None
        return type_, types.kind(Column(column.name, type_))

    found = _decided(decide, target.schema_mode, created)
    after = _altered(types, layout, schema, found.changes)
    by_name = {column.name: column for column in after.columns}
    columns = tuple(None if name is None else by_name[name] for name in found.columns)
    _check_generated(schema, columns, table)
    return Fit(after, columns, found.changes)


def _decided(
    decide: Callable[[SchemaMode], Evolution], mode: SchemaMode | None, created: Callable[[], bool]
) -> Evolution:
    if mode is not None:
        return decide(mode)
    try:
        found = decide("evolve")
    except SchemaError:
        if created():
            raise
    else:
        if all(change.change == "renamed" for change in found.changes) or created():
            return found
    return decide("strict")


def _held(types: Types, column: Column) -> Held:
    filled, fixed = column.optional or column.generated, column.fixed or column.generated
    return Held(column.name, column.declared or column.type, types.kind(column), column.nullable, filled, fixed)


def _given(types: Types, field: pa.Field) -> Given:
    described = describe(field)
    try:
        own = types.column_type(field)
    except SchemaError:  # it has none; where there is a column for it, that one's type rules
        return Given(field.name, described)
    kind = types.kind(Column(field.name, own))
    neutral = kind_of(described)
    return Given(field.name, own, neutral if holds(kind, neutral) else kind)


def _altered(types: Types, layout: Layout, schema: pa.Schema, changes: Sequence[SchemaChange]) -> Layout:
    """The layout after the changes."""
    columns, unique = list(layout.columns), layout.unique
    for change in changes:
        if change.change == "added":
            columns.append(Column(change.column, types.column_type(schema.field(change.column))))
        elif change.change == "renamed":
            new = str(change.after)
            columns = [replace(c, name=new) if c.name == change.column else c for c in columns]
            unique = tuple(frozenset(new if n == change.column else n for n in names) for names in unique)
        else:
            columns = [_retyped(types, c, str(change.after)) if c.name == change.column else c for c in columns]
    return Layout(tuple(columns), unique)


def _retyped(types: Types, column: Column, type_: str) -> Column:
    arrow = column.arrow and types.kind(Column(column.name, type_)).field(column.name).type
    return replace(column, type=type_, declared=None, arrow=arrow)


def _check_generated(schema: pa.Schema, columns: Sequence[Column | None], table: Table) -> None:
    for name, column in zip(schema.names, columns, strict=True):
        if column is not None and column.generated:
            raise SchemaError(
                f"column {name!r} of {table} is generated always: the database fills it in itself",
                column=name,
                hint="Leave it out in a .sql() step: SELECT * EXCLUDE (…), or alter the table",
            )
