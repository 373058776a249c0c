"""What a plan's output means for the table it goes to, whose own names and types rule. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from datapipe.data.names import find_name
from datapipe.schemas.changes import SchemaChange, SchemaDiff, diff
from datapipe.schemas.columns import ColumnSpec
from datapipe.schemas.kinds import holds, kind_of

_BY_VALUE = "each value is carried exactly, or refused"


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
    planned: Sequence[SchemaChange] = (),
    left_out: Collection[str] = (),
    refused: Sequence[SchemaChange] = (),
    titles: tuple[str, str] = ("target", "plan"),
) -> SchemaDiff:
    """What a plan's output differs from its target in, and what the load does about it.

    Parameters
    ----------
    needed : collection of str
        The target's columns that every load must fill: neither NULL nor a default is possible.
    planned : sequence of SchemaChange
        What the load changes in the target.
    left_out : collection of str
        The data's columns that the load leaves out.
    refused : sequence of SchemaChange
        Why the load would not begin.

    Examples
    --------
    >>> print(diff_target([ColumnSpec("id", "bigint")], [ColumnSpec("id", "int"), ColumnSpec("day", "date")]))
    added day: date (the load adds it)
    """
    renames = {change.column: change for change in planned if change.change == "renamed"}
    known = [
        dataclasses.replace(column, name=str(renames[column.name].after)) if column.name in renames else column
        for column in target
    ]
    found = diff(known, landed(known, data), titles=titles)
    widened = {change.column: change for change in planned if change.change == "widened"}
    told = [change if target else dataclasses.replace(change, effect="the load creates it") for change in found]
    if target:
        names = {(change.change, change.column) for change in refused if change.breaking}
        told = [_told(change, needed, widened, left_out, names) for change in found]
    return dataclasses.replace(found, changes=(*renames.values(), *told)).judged(lambda change: change.breaking)


def _told(
    change: SchemaChange,
    needed: Collection[str],
    widened: Mapping[str, SchemaChange],
    left_out: Collection[str],
    refused: Collection[tuple[str, str]],
) -> SchemaChange:
    """A change with what comes of it."""
    is_refused = (change.change, change.column) in refused
    if change.change == "added":
        effect = "the load leaves it out" if change.column in left_out else "the load adds it"
        effect = "the target lacks it, and the load is refused" if is_refused else effect
        return dataclasses.replace(change, effect=effect, breaking=is_refused)
    if change.change == "removed":
        is_needed = change.column in needed
        effect = "the target needs it" if is_needed else "the target keeps it, without new values"
        return dataclasses.replace(change, effect=effect, breaking=is_needed)
    if change.column in widened:
        return dataclasses.replace(widened[change.column], effect="the load widens it")
    if change.change != "retyped":
        return dataclasses.replace(change, effect=_BY_VALUE)
    if is_refused:
        return dataclasses.replace(change, effect="another class of types, and the load is refused", breaking=True)
    is_text = kind_of(change.before or "").family == "text"
    effect = "each value becomes text" if is_text else f"the load fails at the first value that is no {change.before}"
    return dataclasses.replace(change, effect=effect, breaking=not is_text)
