"""What differs between two schemas: a pure function of both, and its text."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from datapipe.schemas.columns import ColumnSpec
from datapipe.schemas.kinds import holds, joined, kind_of

Change = Literal["added", "removed", "renamed", "widened", "narrowed", "retyped", "nullable", "required"]
Mode = Literal["backward", "forward", "full"]
MODES: tuple[Mode, ...] = ("backward", "forward", "full")
_BREAKS: dict[Change, tuple[Mode, ...]] = {
    "narrowed": ("backward",),
    "required": ("backward",),
    "widened": ("forward",),
    "nullable": ("forward",),
    "retyped": ("backward", "forward"),
    "renamed": ("backward", "forward"),
}


@dataclass(frozen=True)
class SchemaChange:
    """One difference.

    Parameters
    ----------
    change : str
        ``added``, ``removed``, ``renamed``, ``widened``, ``narrowed``, ``retyped`` (to another class of types),
        ``nullable`` (NULL has become possible), ``required`` (NULL is no longer possible).
    column : str
        Its name before; of an added one, its name.
    before, after : str, optional
        The types; of a renamed column, the names.
    effect : str
        What it does, for people.
    breaking : bool
        Whether it stands in the way of what was compared.
    """

    change: Change
    column: str
    before: str | None = None
    after: str | None = None
    effect: str = ""
    breaking: bool = False

    def __str__(self) -> str:
        values = " -> ".join(value for value in (self.before, self.after) if value)
        head = "renamed" if self.change == "renamed" else f"{self.change} {self.column}:"
        effect = f" ({self.effect})" if self.effect else ""
        return f"{'breaking: ' if self.breaking else ''}{head} {values}{effect}"

    def breaks(self, mode: Mode) -> bool:
        """Whether it breaks a promise: that the new schema reads old data (backward), the old one new data, or both."""
        if self.change in {"added", "removed"}:
            is_needed = (self.after or self.before or "").endswith(" NOT NULL")
            return is_needed and mode in {"full", "backward" if self.change == "added" else "forward"}
        broken = _BREAKS[self.change]
        return bool(broken) if mode == "full" else mode in broken


@dataclass(frozen=True)
class SchemaDiff:
    """Every difference between two schemas, the breaking ones first.

    Parameters
    ----------
    before, after : str
        What was compared, for people.
    changes : tuple of SchemaChange

    Examples
    --------
    >>> print(diff([ColumnSpec("id", "int")], [ColumnSpec("id", "bigint"), ColumnSpec("name", "text")]))
    widened id: int -> bigint
    added name: text
    """

    changes: tuple[SchemaChange, ...]
    before: str = "before"
    after: str = "after"

    @property
    def breaking(self) -> tuple[SchemaChange, ...]:
        """The changes that stand in the way."""
        return tuple(change for change in self.changes if change.breaking)

    def __iter__(self) -> Iterator[SchemaChange]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    def judged(self, judge: Callable[[SchemaChange], bool]) -> SchemaDiff:
        """The same differences, of which those are breaking that a function says are."""
        changes = [dataclasses.replace(change, breaking=judge(change)) for change in self.changes]
        return dataclasses.replace(self, changes=_breaking_first(changes))

    def to_dict(self) -> dict[str, Any]:
        """The differences as plain JSON values."""
        return {**dataclasses.asdict(self), "changes": [dataclasses.asdict(change) for change in self.changes]}

    def __str__(self) -> str:
        return "\n".join(map(str, self.changes)) or f"{self.before} and {self.after} have the same schema"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from datapipe.schemas.html import diff_html  # which needs this class

        return diff_html(self)


def diff(
    before: Sequence[ColumnSpec], after: Sequence[ColumnSpec], *, titles: tuple[str, str] = ("before", "after")
) -> SchemaDiff:
    """What has changed from one schema to another. A rename is never guessed: it is a removal and an addition.

    Parameters
    ----------
    titles : (str, str)
        What the two are, for people.
    """
    old, new = {c.name: c for c in before}, {c.name: c for c in after}
    found: list[SchemaChange] = []
    for column in before:
        match = new.get(column.name)
        if match is None:
            found.append(SchemaChange("removed", column.name, _declared(column)))
        else:
            found += _changed(column, match)
    found += [SchemaChange("added", c.name, after=_declared(c)) for c in after if c.name not in old]
    return SchemaDiff(_breaking_first(found), *titles)


def _breaking_first(changes: Sequence[SchemaChange]) -> tuple[SchemaChange, ...]:
    return tuple(sorted(changes, key=lambda change: not change.breaking))


def _declared(column: ColumnSpec) -> str:
    return column.type if column.nullable else f"{column.type} NOT NULL"


def _changed(before: ColumnSpec, after: ColumnSpec) -> Iterator[SchemaChange]:
    one, other = kind_of(before.type), kind_of(after.type)
    if one != other:
        widened, narrowed = holds(other, one), holds(one, other)
        partly = not widened and joined(one, other) is not None
        change: Change = "widened" if widened else "narrowed" if narrowed or partly else "retyped"
        yield SchemaChange(change, before.name, before.type, after.type, breaking=change == "retyped")
    if before.nullable != after.nullable:
        change = "nullable" if after.nullable else "required"
        yield SchemaChange(change, before.name, _declared(before), _declared(after), breaking=change == "required")
