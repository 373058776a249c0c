"""How SQLite alters a table: it adds and renames columns itself; for a type it has no statement.

The table's text in the schema is changed instead, as SQLite's documentation describes for such changes, so that
indexes, triggers, views, foreign keys and row ids stay as they are. Where the new type stores numbers another way,
they are stored again, while the indexes and triggers of the table are put aside. All of it is in one transaction.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from datapipe.data.names import quote, text_literal
from datapipe.data.types import describe, sqlite_field
from datapipe.errors import SchemaError
from datapipe.persistence.tables import Ddl, Table
from datapipe.schemas import SchemaChange
from datapipe.schemas.kinds import Kind, kind_of

_TOKEN = re.compile(
    r"""(?P<gap>\s+|--[^\n]*\n?|/\*.*?\*/)|(?P<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|'(?:[^']|'')*'|[^\W]\w*)|.""",
    re.S,
)
_END = re.compile(
    r"(?:constraint|primary|not|null|unique|check|default|collate|references|generated|as)\Z", re.IGNORECASE
)


@dataclass(frozen=True)
class Stored:
    """What the schema has of a table.

    Parameters
    ----------
    sql : str
    version : int
        Of the schema.
    beside : tuple of (str, str, str)
        The kind, name and text of its indexes and triggers.
    """

    sql: str
    version: int
    beside: tuple[tuple[str, str, str], ...] = ()


def sqlite_kind(name: str, declared: str) -> Kind:
    """What a column holds: SQLite stores more than many a declared type says.

    Examples
    --------
    >>> sqlite_kind("n", "INTEGER") == sqlite_kind("n", "BIGINT"), sqlite_kind("s", "VARCHAR(3)").length
    (True, None)
    """
    field = sqlite_field(name, declared)
    return Kind(declared.lower()) if field is None else kind_of(describe(field))


def is_numeric(declared: str) -> bool:
    """Whether SQLite turns text that looks like a number into one in such a column."""
    word = declared.upper()
    if "INT" in word or any(part in word for part in ("CHAR", "CLOB", "TEXT")):
        return "INT" in word
    return bool(word) and "BLOB" not in word


def alter(table: Table, changes: Sequence[SchemaChange], stored: Stored) -> tuple[Ddl, ...]:
    """The statements for the changes: types first, because their text is that of the table as it is now."""
    found = _retype(table, changes, stored) if any(change.change == "widened" for change in changes) else []
    for change in changes:
        name = quote(change.column)
        if change.change == "renamed":
            action = f"RENAME COLUMN {name} TO {quote(str(change.after))}"
        elif change.change == "added":
            action = f"ADD COLUMN {name} {change.after}"
        else:
            continue
        found.append(Ddl(f"ALTER TABLE {table.sql} {action}", "no rewrite"))
    return tuple(found)


def _retype(table: Table, changes: Sequence[SchemaChange], stored: Stored) -> list[Ddl]:
    original = {str(change.after): change.column for change in changes if change.change == "renamed"}
    wide = {original.get(c.column, c.column): c for c in changes if c.change == "widened"}
    again = [
        _restored(column, str(change.before))
        for column, change in wide.items()
        if is_numeric(str(change.before)) != is_numeric(str(change.after))
    ]
    text = stored.sql
    for column, change in wide.items():
        text = retyped(text, column, str(change.after))
    aside = stored.beside if again else ()
    where = f"type = 'table' AND lower(name) = lower({text_literal(table.name)})"
    statements = [
        *(f"DROP {kind} {table.prefix}{quote(name)}" for kind, name, _ in aside),
        "PRAGMA writable_schema = ON",
        f"UPDATE {table.prefix}sqlite_master SET sql = {text_literal(text)} WHERE {where}",
        # What other connections know of the schema is out of date.
        f"PRAGMA {table.prefix}schema_version = {stored.version + 2 * len(aside) + 1}",
        "PRAGMA writable_schema = RESET",
    ]
    if again:
        statements.append(f"UPDATE {table.sql} SET {', '.join(again)}")
    statements += [sql for _, _, sql in aside]
    cost = "rewrites the table and its indexes" if again else "no rewrite"
    return [*map(Ddl, statements[:-1]), Ddl(statements[-1], cost)]


def _restored(column: str, before: str) -> str:
    """Numbers as text, with the digits that they have."""
    name, scale = quote(column), kind_of(describe(sqlite_field(column, before))).scale or 0
    return (
        f"{name} = CASE typeof({name}) WHEN 'real' THEN printf('%.{scale}f', {name}) "
        f"WHEN 'integer' THEN CAST({name} AS TEXT) ELSE {name} END"
    )


def retyped(sql: str, column: str, type_: str) -> str:
    """A CREATE TABLE with another type for one column.

    Raises
    ------
    SchemaError
        If the column is not found.

    Examples
    --------
    >>> retyped('CREATE TABLE t ("a, b" INT DEFAULT (1), b /* no */ DEC(1, 2) NOT NULL)', "b", "REAL")
    'CREATE TABLE t ("a, b" INT DEFAULT (1), b REAL NOT NULL)'
    """
    depth, expected = 0, False  # expected: whether the next word is a column's name
    tokens = list(_TOKEN.finditer(sql))
    for index, token in enumerate(tokens):
        text = token.group()
        if token["gap"]:
            continue
        if expected and depth == 1 and _plain(text).casefold() == column.casefold() and token["name"]:
            start, end = token.end(), _type_end(tokens[index + 1 :], token.end())
            return f"{sql[:start]} {type_}{sql[end:]}"
        expected = (text == "(" and depth == 0) or (text == "," and depth == 1)
        depth += {"(": 1, ")": -1}.get(text, 0)
    hint = "Alter the column yourself, or use schema_mode='strict'"
    raise SchemaError(f"column {column!r} is not in the table's text", column=column, hint=hint)


def _type_end(tokens: Sequence[re.Match[str]], end: int) -> int:
    """Where a column's type ends: words up to a constraint, and what is in parentheses behind them."""
    depth = 0
    for token in tokens:
        text = token.group()
        if depth == 0 and not token["gap"] and (text in {",", ")"} or _END.match(text)):
            return end
        depth += {"(": 1, ")": -1}.get(text, 0)
        end = end if token["gap"] else token.end()
    return end


def _plain(name: str) -> str:
    """A name without its quotes."""
    mark = name[0]
    if mark == "[":
        return name[1:-1]
    return name[1:-1].replace(mark * 2, mark) if mark in "\"`'" else name
