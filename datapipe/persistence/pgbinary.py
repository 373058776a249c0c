"""PostgreSQL's own binary form: which types share it, and rows that come in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

import psycopg

from datapipe.data.names import quoted
from datapipe.data.stream import Block
from datapipe.data.watch import Watch
from datapipe.errors import DataError
from datapipe.persistence.tables import Column, Table

COPY = "COPY {table} ({columns}) FROM STDIN (FORMAT binary)"
_HEADER, _TRAILER = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
# A type whose bare name means another length than "any".
_UNBOUNDED = {"bit": "bit varying", "character": "bpchar", '"char"': "text"}
# Types whose values are the same bytes on every server. Left out are those that carry a server's own numbers (oid,
# regclass, xid), or depend on what it has set (money), and what users have made.
_SAME = {
    *("boolean", "smallint", "integer", "bigint", "real", "double precision", "numeric"),
    *(
        "text",
        "character varying",
        "character",
        "bpchar",
        "name",
        "bytea",
        "uuid",
        "json",
        "jsonb",
        "bit",
        "bit varying",
    ),
    *("date", "time without time zone", "time with time zone", "interval"),
    *("timestamp without time zone", "timestamp with time zone"),
    *("inet", "cidr", "macaddr", "macaddr8"),
    *("int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange"),
}


@dataclass(frozen=True)
class PostgresqlBinary:
    """Takes rows as PostgreSQL encodes them, in the session's transaction."""

    raw: psycopg.Connection[Any]
    watch: Watch

    def takes(self, types: Sequence[str], columns: Sequence[Column]) -> bool:
        return all(same_form(type_, column.type) for type_, column in zip(types, columns, strict=True))

    def copy(self, table: Table, columns: Sequence[Column], keys: Set[str], blocks: Iterator[Block]) -> int:
        text = COPY.format(table=table.sql, columns=quoted([column.name for column in columns]))
        try:
            with self.watch.waiting(), self.raw.cursor() as cursor:
                with cursor.copy(text.encode()) as copy:
                    copy.write(_HEADER)
                    for block in self.watch.pausing(blocks):
                        copy.write(block.data)
                    copy.write(_TRAILER)
                return cursor.rowcount
        except psycopg.errors.NotNullViolation as error:
            raise _missing(error, keys) from None


def _missing(error: psycopg.Error, keys: Set[str]) -> Exception:
    """What is said of a NULL: of one in a key, the same as where datapipe looks at the values itself."""
    found = re.search(r"^COPY .*, line (\d+)", error.diag.context or "", re.M)
    name = error.diag.column_name
    if found is None or name not in keys:
        return error
    row = int(found.group(1))
    return DataError(f"key {name!r} is NULL in row {row}", column=name, row=row, hint="Filter such rows out")


def same_form(source: str, target: str) -> bool:
    """Whether every value of one type is encoded as a value of the other is, and allowed there.

    Parameters
    ----------
    source, target : str
        As ``format_type`` spells them.

    Examples
    --------
    >>> same_form("numeric(15,2)", "numeric(15,2)"), same_form("numeric(15,2)", "numeric"), same_form("text", "integer")
    (True, True, False)
    >>> same_form("numeric", "numeric(15,2)"), same_form("mood", "mood"), same_form("character varying(9)", "text")
    (False, False, True)
    """
    bare = re.sub(r"\(\d+(,-?\d+)?\)", "", source).removesuffix("[]")
    if bare not in _SAME and not bare.startswith("interval "):
        return False
    is_text = bare in {"text", "character varying"} and target in {"text", "character varying"}
    return target in {source, unbounded(source)} or (is_text and not source.endswith("[]"))


def unbounded(declared: str) -> str:
    """The type without its length, precision, scale or fields.

    Examples
    --------
    >>> unbounded("timestamp(1) without time zone"), unbounded("bit(3)[]"), unbounded("interval year to month")
    ('timestamp without time zone', 'bit varying[]', 'interval')
    """
    wide = re.sub(r"\(\d+(,-?\d+)?\)|(?<=^interval) [a-z ]+", "", declared)
    name = wide.removesuffix("[]")
    return wide.replace(name, _UNBOUNDED.get(name, name)) if wide != declared or name == '"char"' else declared
