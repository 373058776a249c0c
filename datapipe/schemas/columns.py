"""A schema as people read it and a registry keeps it: names, types, and whether NULL is allowed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from datapipe.data.types import describe
from datapipe.schemas.kinds import kind_of


@dataclass(frozen=True)
class ColumnSpec:
    """One column of a schema.

    Parameters
    ----------
    name : str
    type : str
        In a database's words: ``bigint``, ``numeric(15,2)``, ``varchar(20)``.
    nullable : bool
    """

    name: str
    type: str
    nullable: bool = True

    def __str__(self) -> str:
        return f"{self.name} {self.type}{'' if self.nullable else ' NOT NULL'}"


def columns_of(schema: pa.Schema) -> tuple[ColumnSpec, ...]:
    """The columns of an Arrow schema.

    Examples
    --------
    >>> [str(column) for column in columns_of(pa.schema([pa.field("id", pa.int64(), nullable=False)]))]
    ['id bigint NOT NULL']
    """
    return tuple(ColumnSpec(field.name, describe(field), field.nullable) for field in schema)


def version_of(columns: Iterable[ColumnSpec]) -> str:
    """The first 16 hex digits of the SHA-256 of a schema: what has no differences has one version, wherever it is.

    Examples
    --------
    >>> version_of([ColumnSpec("id", "bigint")]) == version_of([ColumnSpec("id", "int")])
    False
    >>> version_of([ColumnSpec("id", "int4")]) == version_of([ColumnSpec("id", "INTEGER")])
    True
    """
    plain = sorted([c.name, list(vars(kind_of(c.type)).values()), c.nullable] for c in columns)
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:16]
