"""Datapipe's own tables beside the data: where they are, and how they are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from datapipe.data.names import quoted
from datapipe.persistence.session import Session
from datapipe.persistence.tables import Table
from datapipe.settings import settings

Values: TypeAlias = Literal["key", "number", "text"]  # what a column holds: a name or a hash, a count, anything


def ledger_table(session: Session) -> Table:
    """The table of the loads that happened."""
    return _internal(session, "loads")


def rejects_table(session: Session) -> Table:
    """The table of refused rows."""
    return _internal(session, "rejects")


def _internal(session: Session, what: str) -> Table:
    name = settings().internal_schema
    return Table(what, name) if session.words.schemas else Table(f"{name}_{what}")


def column_types(session: Session, columns: Mapping[str, Values]) -> dict[str, str]:
    """The database's types for columns."""
    types = {"key": session.words.key, "number": "bigint", "text": session.words.text}
    return {name: types[values] for name, values in columns.items()}


def creation(session: Session, table: Table, columns: Mapping[str, Values], index: tuple[str, ...]) -> tuple[str, ...]:
    """The statements that create one: its schema, if that is not there, itself, and an index on ``index``.

    A column that is called ``key`` is the primary key.
    """
    types = column_types(session, columns)
    lines = [f"{quoted([name])} {type_}{' PRIMARY KEY' if name == 'key' else ''}" for name, type_ in types.items()]
    schema = session.create_schema(table.schema) if table.schema else None
    name = f"{settings().internal_schema}_{table.name.removeprefix(settings().internal_schema + '_')}_by_{index[0]}"
    return (
        *([schema] if schema else []),
        f"CREATE TABLE {table.sql} ({', '.join(lines)}){session.words.options}",
        f"CREATE INDEX {quoted([name])} ON {table.sql} ({quoted(index)})",
    )
