"""What a plan's output means for the table it goes to, whose own names and types rule. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from datapipe.data.names import find_name
from datapipe.schemas.changes import SchemaChange, SchemaDiff, diff
from datapipe.schemas.columns import ColumnSpec
from datapipe.schemas.kinds import holds, kind_of

_EFFECTS = {
    "widened": "the data may hold what the target cannot",
    "narrowed": "the data may hold what the target cannot",
    "retyped": "each value must be converted exactly",
}


def landed(target: Sequence[ColumnSpec], data: Sequence[ColumnSpec]) -> tuple[ColumnSpec, ...]:
    """The data's columns as they are once they are in the target.

    A column that the target has goes by the target's name, is of its type where that holds every value, and may be
    NULL where the target allows it: the load looks at each value.

    Examples
    --------
    >>> target = [ColumnSpec("Id", "bigint", nullable=False), ColumnSpec("name", "varchar(5)")]
    >>> [str(column) for column in landed(target, [ColumnSpec("id", "int"), ColumnSpec("name", "text")])]
    ['Id bigint NOT NULL', 'name text']
    """
    known = {column.name: column for column in target}
    found = []
    for column in data:
        match = known.get(find_name(column.name, list(known)) or "")
        if match is None:
            found.append(column)
            continue
        type_ = match.type if holds(kind_of(match.type), kind_of(column.type)) else column.type
        found.append(ColumnSpec(match.name, type_, match.nullable))
    return tuple(found)


def diff_target(
    target: Sequence[ColumnSpec],
    data: Sequence[ColumnSpec],
    *,
    needed: Collection[str] = (),
    refused: bool = False,
    titles: tuple[str, str] = ("target", "plan"),
) -> SchemaDiff:
    """What stands between a plan's output and its target.

    Parameters
    ----------
    needed : collection of str
        The target's columns that every load must fill: neither NULL nor a default is possible.
    refused : bool
        Whether the load would not begin: what the target lacks is breaking then.

    Examples
    --------
    >>> print(diff_target([ColumnSpec("id", "bigint")], [ColumnSpec("id", "int"), ColumnSpec("day", "date")]))
    added day: date (the load adds it to the target)
    """
    found = diff(target, landed(target, data), titles=titles)
    created = None if target else "the load creates it"
    told = [
        dataclasses.replace(
            change,
            effect=created or _effect(change, needed, refused=refused),
            breaking=_breaks(change, needed, refused=refused),
        )
        for change in found
    ]
    return dataclasses.replace(found, changes=tuple(told)).judged(lambda change: change.breaking)


def _breaks(change: SchemaChange, needed: Collection[str], *, refused: bool) -> bool:
    if change.change == "removed":
        return change.column in needed
    return change.change == "retyped" or (refused and change.change == "added")


def _effect(change: SchemaChange, needed: Collection[str], *, refused: bool) -> str:
    if change.change == "added":
        return "the target lacks it, and the load is refused" if refused else "the load adds it to the target"
    if change.change == "removed":
        return "the target needs it" if change.column in needed else "the target keeps it, without new values"
    return _EFFECTS[change.change]
