"""What becomes of a table when the data that come differ from it: a pure function of both.

``evolve`` alters the table as far as no value is lost, ``strict`` leaves it as it is, ``discard`` leaves out of the
load what the table has no column for. What a mode does not allow is refused before anything is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from datapipe.data.names import find_name
from datapipe.errors import SchemaError, did_you_mean
from datapipe.plan import SchemaMode
from datapipe.schemas.changes import SchemaChange
from datapipe.schemas.kinds import Kind, holds, joined

# Between two of these, the type has become another one; for any other type the server decides, value by value.
_CLASSES = {
    **dict.fromkeys(("integer", "decimal", "float"), "number"),
    **dict.fromkeys(("date", "timestamp"), "date"),
    **{family: family for family in ("text", "boolean", "time", "timestamptz", "binary")},
}
_WIDENED = {"integer", "decimal", "float", "text"}


@dataclass(frozen=True)
class Held:
    """A column that a table has.

    Parameters
    ----------
    name : str
    type : str
        In the database's words.
    kind : Kind
        What it can hold.
    nullable : bool
    filled : bool
        Whether the database gives it a value where the data have none.
    fixed : bool
        Whether its type stays what it is: a key the database cannot retype, a domain.
    """

    name: str
    type: str
    kind: Kind
    nullable: bool = True
    filled: bool = False
    fixed: bool = False


@dataclass(frozen=True)
class Given:
    """A column that the data have.

    Parameters
    ----------
    name : str
    type : str
        The one that a new column would get.
    kind : Kind, optional
        What its values need; None where that is not known.
    """

    name: str
    type: str
    kind: Kind | None = None


@dataclass(frozen=True)
class Evolution:
    """What is done before the rows are written.

    Parameters
    ----------
    changes : tuple of SchemaChange
        To the table, in this order.
    columns : tuple of (str or None)
        For each column of the data, the table's, under its name after the changes; None if it is left out.
    """

    changes: tuple[SchemaChange, ...]
    columns: tuple[str | None, ...]


Wider = Callable[[Held, Kind], tuple[str, Kind] | None]


def evolution(
    table: Sequence[Held],
    data: Sequence[Given],
    mode: SchemaMode,
    *,
    title: str,
    wider: Wider,
    rename: Mapping[str, str] | None = None,
) -> Evolution:
    """Decide what happens where a table and the data differ.

    Parameters
    ----------
    mode : {"evolve", "strict", "discard"}
    title : str
        The table's name, for people.
    wider : callable
        A column and a kind to the type that holds such values there, with what it holds; None if there is none.
    rename : mapping of str to str, optional
        Old names of the table's columns to new ones.

    Raises
    ------
    SchemaError
        With the whole difference, if the mode does not allow it.

    Examples
    --------
    >>> from datapipe.schemas.kinds import kind_of
    >>> found = evolution(
    ...     [Held("id", "integer", kind_of("integer"))],
    ...     [Given("id", "bigint", kind_of("bigint")), Given("name", "text", kind_of("text"))],
    ...     "evolve",
    ...     title="users",
    ...     wider=lambda column, kind: ("bigint", kind),
    ... )
    >>> [str(change) for change in found.changes], found.columns
    (['widened id: integer -> bigint', 'added name: text'], ('id', 'name'))
    """
    table, renames = _renamed(table, data, rename or {}, title)
    by_name = {column.name: column for column in table}
    matches = [find_name(column.name, list(by_name)) for column in data]
    _check_twice(matches, title)
    asked, mode = mode, "strict" if mode == "discard" and not any(matches) else mode  # nothing would be left to write
    found = [*_needed(table, matches)]
    for given, match in zip(data, matches, strict=True):
        found += _typed(by_name[match], given, wider, mode) if match else _unknown(given, list(by_name), mode)
    missing = [column.name for column in table if column.name not in matches and not column.filled]
    added = [given.name for given, match in zip(data, matches, strict=True) if match is None]
    if any(change.breaking for change in found):
        raise _difference(title, found, asked, missing, added)
    adds = {change.column for change in found if change.change == "added"}
    names = tuple(m or (g.name if g.name in adds else None) for g, m in zip(data, matches, strict=True))
    return Evolution((*renames, *sorted(found, key=lambda change: change.change == "added")), names)


def _renamed(
    table: Sequence[Held], data: Sequence[Given], rename: Mapping[str, str], title: str
) -> tuple[tuple[Held, ...], tuple[SchemaChange, ...]]:
    """The table after the renames that are still to be made, and these."""
    columns, changes = {column.name: column for column in table}, []
    for old, new in rename.items():
        if any(given.name == old for given in data):
            hint = f"Rename it in a .sql() step too, or leave rename={{{old!r}: …}} out"
            raise SchemaError(f"rename: the data still have {old!r}", column=old, hint=hint)
        there, taken = find_name(old, list(columns)), find_name(new, list(columns))
        if taken is not None and there in {None, taken} and (new in columns or there is None):
            continue  # an earlier run has renamed it
        if there is None:
            hint = did_you_mean(old, columns, what="columns")
            raise SchemaError(f"rename: table {title} has neither {old!r} nor {new!r}", column=old, hint=hint)
        if taken not in {None, there}:
            hint = "Drop one of them, or leave rename out"
            raise SchemaError(f"rename: table {title} has both {there!r} and {taken!r}", column=old, hint=hint)
        changes.append(SchemaChange("renamed", there, there, new))
        columns = {new if name == there else name: column for name, column in columns.items()}
    return tuple(replace(column, name=name) for name, column in columns.items()), tuple(changes)


def _check_twice(matches: Sequence[str | None], title: str) -> None:
    if any(count > 1 for name, count in Counter(matches).items() if name is not None):
        raise SchemaError(f"two columns of the data go into one column of {title}", hint="Rename one of them")


def _needed(table: Sequence[Held], matches: Sequence[str | None]) -> list[SchemaChange]:
    """What the table needs and the data lack."""
    needed = [c for c in table if c.name not in matches and not c.nullable and not c.filled]
    effect = "the table needs it"
    return [SchemaChange("removed", c.name, f"{c.type} NOT NULL", None, effect, breaking=True) for c in needed]


def _unknown(given: Given, names: Sequence[str], mode: SchemaMode) -> list[SchemaChange]:
    """What becomes of a column that the table lacks."""
    near = [name for name in names if name.casefold() == given.name.casefold()]
    effect = f"the table has {' and '.join(near)}" if near else "the table lacks it" if mode == "strict" else ""
    if mode == "discard" and not near:
        return []
    return [SchemaChange("added", given.name, None, given.type, effect, breaking=bool(effect))]


def _typed(held: Held, given: Given, wider: Wider, mode: SchemaMode) -> list[SchemaChange]:
    """What becomes of a column that is in both; if nothing, each value is carried exactly or refused."""
    if mode != "evolve" or given.kind is None or holds(held.kind, given.kind):
        return []
    before, after = _CLASSES.get(held.kind.family), _CLASSES.get(given.kind.family)
    if before is None or after is None:
        return []
    if before != after:
        return [SchemaChange("retyped", held.name, held.type, given.type, "another class of types", breaking=True)]
    both = joined(held.kind, given.kind)
    found = wider(held, both) if both and both.family in _WIDENED and not held.fixed else None
    if found is None or holds(held.kind, found[1]) or not (holds(found[1], held.kind) and holds(found[1], given.kind)):
        return []
    return [SchemaChange("widened", held.name, held.type, found[0])]


def _difference(
    title: str, found: Sequence[SchemaChange], mode: SchemaMode, missing: Sequence[str], added: Sequence[str]
) -> SchemaError:
    """The error for what a mode does not allow, with everything that differs, the breaking changes first."""
    refused = [change for change in found if change.breaking]
    lines = [*refused, *(replace(change, effect="allowed") for change in found if not change.breaking)]
    column = refused[0].column if len(refused) == 1 else None
    message = f"table {title} and the data differ (schema_mode {mode}):" + "".join(f"\n  {line}" for line in lines)
    error = SchemaError(message, column=column, hint=_cure(refused, mode, missing, added))
    error.changes = tuple(lines)
    return error


def _cure(refused: Sequence[SchemaChange], mode: SchemaMode, missing: Sequence[str], added: Sequence[str]) -> str:
    kinds = {change.change for change in refused}
    cures = []
    if "retyped" in kinds:
        cures.append("Cast the column in a .sql() step, or write it under another name")
    if "removed" in kinds:
        cures.append("Give the column that is missing in a .sql() step, or a default in the table")
    if "added" in kinds and mode == "strict":
        cures.append("Leave the new column out in a .sql() step, or use schema_mode='evolve', which adds it")
    elif "added" in kinds:
        cures.append("Rename the new column in a .sql() step")
    if missing and added:
        pair = {missing[0]: added[0]} if len(missing) == len(added) == 1 else {"old": "new"}
        cures.append(f"If a column has got a new name, say so: rename={pair}")
    return ". ".join(cures)
