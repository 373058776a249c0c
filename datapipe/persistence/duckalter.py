"""How DuckDB alters a table: in the load's transaction, where nothing depends on what is altered."""

from __future__ import annotations

from collections.abc import Sequence

from datapipe.data.names import quote
from datapipe.errors import SchemaError
from datapipe.persistence.tables import Ddl, Table
from datapipe.schemas import SchemaChange


def alter(table: Table, changes: Sequence[SchemaChange]) -> tuple[Ddl, ...]:
    """A statement for each change.

    Examples
    --------
    >>> [ddl.sql for ddl in alter(Table("t"), [SchemaChange("added", "n", after="INTEGER")])]
    ['ALTER TABLE "t" ADD COLUMN "n" INTEGER']
    """
    return tuple(_statement(table, change) for change in changes)


def _statement(table: Table, change: SchemaChange) -> Ddl:
    start, name = f"ALTER TABLE {table.sql}", quote(change.column)
    if change.change == "added":
        return Ddl(f"{start} ADD COLUMN {name} {change.after}", "no rewrite")
    if change.change == "renamed":
        return Ddl(f"{start} RENAME COLUMN {name} TO {quote(str(change.after))}", "no rewrite")
    return Ddl(f"{start} ALTER COLUMN {name} TYPE {change.after}", "rewrites the column")


def check_dependents(table: Table, changes: Sequence[SchemaChange], dependents: Sequence[str]) -> None:
    """Refuse to rename a column of a table that has indexes or is referenced: DuckDB does not.

    Raises
    ------
    SchemaError
        Naming what depends on the table.
    """
    renamed = [change for change in changes if change.change == "renamed"]
    if renamed and dependents:
        raise SchemaError(
            f"table {table}: DuckDB renames no column while these depend on the table: {', '.join(dependents)}",
            column=renamed[0].column,
            hint="Drop them and create them again after the load",
        )
