"""How MySQL and MariaDB alter a table: one statement, which commits by itself before the rows come."""

from __future__ import annotations

import re
from collections.abc import Sequence

from datapipe.data.names import quote
from datapipe.errors import SchemaError
from datapipe.persistence.tables import Ddl, Table
from datapipe.schemas import SchemaChange
from datapipe.schemas.kinds import Kind, kind_of

_TYPE = re.compile(r"\w+(?:\([\d,]+\))?(?: unsigned)?")
# Bytes where the name does not tell; a character may have four of them.
_LENGTHS = {"tinytext": 63, "text": 16_383, "mediumtext": 4_194_303}


def mysql_kind(declared: str) -> Kind:
    """What a column type holds.

    Examples
    --------
    >>> mysql_kind("timestamp(6) null").family, mysql_kind("text").length, mysql_kind("int(11)").high
    ('timestamptz', 16383, 2147483647)
    """
    word = declared.partition(" character set ")[0].partition(" collate ")[0].removesuffix(" null")
    name = re.split(r"\W", word, maxsplit=1)[0]
    if name in _LENGTHS:
        return Kind("text", length=_LENGTHS[name])
    if name == "timestamp":  # an instant
        return Kind("timestamptz")
    return kind_of(word)


def alter(table: Table, changes: Sequence[SchemaChange], definition: str) -> tuple[Ddl, ...]:
    """One ALTER TABLE, which does everything or nothing.

    Parameters
    ----------
    definition : str
        What SHOW CREATE TABLE says: a column that is widened keeps all that it has besides its type.

    Raises
    ------
    SchemaError
        If a column is not found there.
    """
    original = {str(change.after): change.column for change in changes if change.change == "renamed"}
    retyped = {c.column for c in changes if c.change == "widened"}
    actions = []
    for change in changes:
        name = quote(change.column)
        if change.change == "added":
            actions.append(f"ADD COLUMN {name} {change.after}")
        elif change.change == "widened":
            old = original.get(change.column, change.column)
            # CHANGE, because one statement cannot both RENAME and MODIFY a column.
            actions.append(f"CHANGE COLUMN {quote(old)} {name} {_redefined(definition, old, str(change.after))}")
        elif str(change.after) not in retyped:
            actions.append(f"RENAME COLUMN {name} TO {quote(str(change.after))}")
    copies = any(change.change == "widened" and not _in_place(change) for change in changes)
    cost = "copies the table, writers wait" if copies else "in place, the table is not copied"
    return (Ddl(f"ALTER TABLE {table.sql} {', '.join(actions)}", f"commits before the rows come; {cost}"),)


def _redefined(definition: str, column: str, type_: str) -> str:
    """A column's own definition with another type."""
    start = f"  {quote(column)} "
    for line in definition.splitlines():
        if line.startswith(start):
            rest = line[len(start) :].removesuffix(",")
            return type_ + _TYPE.sub("", rest, count=1)
    hint = "Alter the column yourself, or use schema_mode='strict'"
    raise SchemaError(f"column {column!r} is not in the table's definition", column=column, hint=hint)


def _in_place(change: SchemaChange) -> bool:
    before, after = kind_of(str(change.before)), kind_of(str(change.after))
    if not before.family == after.family == "text" or before.length is None or after.length is None:
        return False
    return (before.length < 64) == (after.length < 64)  # else the length takes another byte
