"""How PostgreSQL alters a table: in the load's transaction, under a lock that keeps readers out until it ends."""

from __future__ import annotations

from collections.abc import Sequence

from datapipe.data.names import quote
from datapipe.errors import SchemaError
from datapipe.persistence.tables import Ddl, Table
from datapipe.schemas import SchemaChange
from datapipe.schemas.kinds import kind_of

VIEWS = """
SELECT a.attname::text, v.oid::regclass::text
FROM pg_depend d
JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
JOIN pg_class v ON v.oid = r.ev_class
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = to_regclass(%s) AND v.oid <> d.refobjid
GROUP BY 1, 2 ORDER BY 1, 2"""
_LOCK = "ACCESS EXCLUSIVE lock until the load commits"


def alter(table: Table, changes: Sequence[SchemaChange]) -> tuple[Ddl, ...]:
    """ALTER TABLE: a rename is a statement of its own; all others are one, which reads the table once at most.

    Examples
    --------
    >>> for ddl in alter(Table("t"), [SchemaChange("widened", "n", "integer", "bigint")]):
    ...     print(ddl.sql, "--", ddl.cost)
    ALTER TABLE "t" ALTER COLUMN "n" TYPE bigint -- ACCESS EXCLUSIVE lock until the load commits, rewrites the table and its indexes
    """  # noqa: E501  # as it is printed
    renames = [
        Ddl(f"ALTER TABLE {table.sql} RENAME COLUMN {quote(c.column)} TO {quote(str(c.after))}", f"{_LOCK}, no rewrite")
        for c in changes
        if c.change == "renamed"
    ]
    others = [change for change in changes if change.change != "renamed"]
    if not others:
        return tuple(renames)
    rewrites = any(change.change == "widened" and not _in_place(change) for change in others)
    cost = f"{_LOCK}, {'rewrites the table and its indexes' if rewrites else 'no rewrite'}"
    return (*renames, Ddl(f"ALTER TABLE {table.sql} {', '.join(map(_action, others))}", cost))


def _action(change: SchemaChange) -> str:
    if change.change == "added":
        return f"ADD COLUMN {quote(change.column)} {change.after}"
    return f"ALTER COLUMN {quote(change.column)} TYPE {change.after}"


def _in_place(change: SchemaChange) -> bool:
    """Whether the values stay as they are stored."""
    before, after = kind_of(str(change.before)), kind_of(str(change.after))
    if before.family == after.family == "decimal":
        return after.precision is None or before.scale == after.scale
    return before.family == after.family == "text"


def check_views(table: Table, changes: Sequence[SchemaChange], views: Sequence[tuple[str, str]]) -> None:
    """Refuse to retype columns that views use, which the server would refuse later.

    Parameters
    ----------
    views : sequence of (str, str)
        A column of the table and a view that uses it.

    Raises
    ------
    SchemaError
        Naming the views.
    """
    original = {str(change.after): change.column for change in changes if change.change == "renamed"}
    wide = {original.get(change.column, change.column): change for change in changes if change.change == "widened"}
    used = sorted({view for column, view in views if column in wide})
    if used:
        lines = "".join(f"\n  {change}" for column, change in wide.items() if any(column == name for name, _ in views))
        raise SchemaError(
            f"table {table}: PostgreSQL changes the type of no column that a view uses ({', '.join(used)}):{lines}",
            hint="Drop the views and create them again after the load; or use schema_mode='strict', "
            "which writes the values that fit the column as it is",
        )
