"""What a target table looks like, and whether the data fit it. Pure: no connection here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from datapipe.data.names import find_name, quote, quoted
from datapipe.errors import PlanError, SchemaError, did_you_mean
from datapipe.plan import TableTarget, WriteStrategy
from datapipe.schemas import ColumnSpec, SchemaChange

_NO_TYPE = re.compile(r"\s+(?:(?:not\s+)?null|default|character set|collate)\b.*", re.I | re.S)  # MySQL's further words


@dataclass(frozen=True)
class Table:
    """A table's place: its schema, if one is named, and its name, both taken literally."""

    name: str
    schema: str | None = None

    @property
    def prefix(self) -> str:
        """The quoted schema and a dot; nothing, if none is named."""
        return f"{quote(self.schema)}." if self.schema else ""

    @property
    def sql(self) -> str:
        """The quoted name."""
        return self.prefix + quote(self.name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


@dataclass(frozen=True)
class Column:
    """A column of a table as the database declares it."""

    name: str
    type: str
    nullable: bool = True
    optional: bool = False  # has a default, or is generated
    arrow: pa.DataType | None = None  # where the database tells it
    collation: str = ""  # of its texts, as CREATE TABLE has it after the type, where a temporary table needs it too
    compared: str = "{}"  # what a value is compared as when it is a key, where that is not the value itself
    generated: bool = False  # the database alone fills it in
    declared: str | None = None  # the type as the catalogue has it, where ``type`` says more
    fixed: bool = False  # whether its type cannot be changed

    @property
    def spec(self) -> ColumnSpec:
        """The column for people and for the registry.

        Examples
        --------
        >>> str(Column("at", "timestamp(6) null").spec)
        'at timestamp(6)'
        """
        return ColumnSpec(self.name, _NO_TYPE.sub("", self.declared or self.type), self.nullable)


@dataclass(frozen=True)
class Ddl:
    """A statement that creates or alters something."""

    sql: str
    cost: str = ""  # what it locks and rewrites, for people


@dataclass(frozen=True)
class Layout:
    """The columns of a table, and the column sets that are unique in it."""

    columns: tuple[Column, ...]
    unique: tuple[frozenset[str], ...] = field(default=())


def find_keys(target: TableTarget, names: Sequence[str]) -> tuple[str, ...]:
    """The data's columns that are the target's keys.

    Raises
    ------
    PlanError
        If a key, or the column of ``latest``, is not in the data.
    """
    wanted = [*target.upsert_keys, *([target.latest] if target.latest else [])]
    found = []
    for name in wanted:
        match = find_name(name, names)
        if match is None:
            what = "key" if name in target.upsert_keys else "latest"
            raise PlanError(
                f"{what} {name!r} is not a column of the data", hint=did_you_mean(name, names, what="columns")
            )
        found.append(match)
    return tuple(found[: len(target.upsert_keys)])


def check_unique(layout: Layout, keys: Sequence[str], table: Table, strategy: WriteStrategy, mark: str = '"') -> None:
    """Refuse keys without a unique index: no database could tell whether a key is there.

    Parameters
    ----------
    mark : str
        What quotes a name for the user.

    Raises
    ------
    PlanError
        With the statement that creates the index.
    """
    if keys and frozenset(keys) not in layout.unique:
        index = f"CREATE UNIQUE INDEX {quote('_'.join([table.name, *keys])[:40])} ON {table.sql} ({quoted(keys)})"
        raise PlanError(
            f"{strategy.value} by ({', '.join(keys)}) needs a unique index on these columns of {table}",
            hint=f"Create it: {index.replace(chr(34), mark)}",
        )


def check_views(table: Table, changes: Sequence[SchemaChange], views: Sequence[tuple[str, str]]) -> None:
    """Refuse to rename a column that a view names: views are kept as text, and would break.

    Parameters
    ----------
    views : sequence of (str, str)
        Each view and its text.

    Raises
    ------
    SchemaError
        Naming the views.
    """
    for change in changes:
        words = (table.name, change.column)
        used = [name for name, text in views if all(_has_word(text, word) for word in words)]
        if change.change == "renamed" and used:
            raise SchemaError(
                f"table {table}: views name the column {change.column!r}, and would break: {', '.join(used)}",
                column=change.column,
                hint="Drop the views and create them again after the load",
            )


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None
