"""What a target table looks like, and whether the data fit it. Pure: no connection here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from datapipe.data.names import find_name, quote, quoted
from datapipe.data.types import describe
from datapipe.errors import PlanError, SchemaError, did_you_mean
from datapipe.plan import TableTarget, WriteStrategy
from datapipe.schemas import ColumnSpec

_NO_TYPE = re.compile(r"\s+(?:(?:not\s+)?null|default|character set|collate)\b.*", re.I | re.S)  # MySQL's further words


@dataclass(frozen=True)
class Table:
    """A table's place: its schema, if one is named, and its name, both taken literally."""

    name: str
    schema: str | None = None

    @property
    def sql(self) -> str:
        """The quoted name."""
        return f"{quote(self.schema)}.{quote(self.name)}" if self.schema else quote(self.name)

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
    compared: str = "{}"  # what a value is compared as when it is a key, where that is not the value itself
    generated: bool = False  # the database alone fills it in

    @property
    def spec(self) -> ColumnSpec:
        """The column as schemas have it.

        Examples
        --------
        >>> str(Column("at", "timestamp(6) null").spec)
        'at timestamp(6)'
        """
        return ColumnSpec(self.name, _NO_TYPE.sub("", self.type), self.nullable)


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


def match_columns(layout: Layout, schema: pa.Schema, table: Table) -> tuple[Column, ...]:
    """The target's column for each column of the data.

    Raises
    ------
    SchemaError
        With the whole difference, if the target lacks a column or needs one that the data lack; or if the data
        have a column that the database fills in itself.
    """
    names = [column.name for column in layout.columns]
    found = {field.name: find_name(field.name, names) for field in schema}
    missing = [field for field in schema if found[field.name] is None]
    given = set(found.values())
    needed = [c for c in layout.columns if c.name not in given and not c.nullable and not c.optional]
    if missing or needed:
        lines = [f"the target lacks {field.name} ({describe(field)})" for field in missing]
        lines += [f"the target needs {column.name} ({column.type} NOT NULL), which the data lack" for column in needed]
        hint = f"Leave columns out or add them in a .sql() step, or alter the table {table}"
        raise SchemaError(f"table {table} and the data differ: " + "; ".join(lines), hint=hint)
    if len(given) < len(found):
        raise SchemaError(f"two columns of the data go into one column of {table}", hint="Rename one of them")
    by_name = {column.name: column for column in layout.columns}
    columns = tuple(by_name[str(found[field.name])] for field in schema)
    for name, column in zip(schema.names, columns, strict=True):
        if column.generated:
            raise SchemaError(
                f"column {name!r} of {table} is generated always: the database fills it in itself",
                column=name,
                hint="Leave it out in a .sql() step: SELECT * EXCLUDE (…), or alter the table",
            )
    return columns


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
