"""How a target stands: what the registry calls it, its columns, and what a plan's output would be in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from datapipe.data.connections import PORTS, resolve, to_url
from datapipe.data.names import find_name
from datapipe.data.stream import Workspace
from datapipe.errors import DatapipeError, SchemaError
from datapipe.persistence.ledger import has_created
from datapipe.persistence.load import plan_load
from datapipe.persistence.marks import with_mark
from datapipe.persistence.session import Session
from datapipe.persistence.sessions import STEP, open_session
from datapipe.persistence.tables import Column, Layout, Table, find_keys
from datapipe.plan import DatabaseUrl, FileTarget, TableTarget, Target
from datapipe.schemas import ColumnSpec, SchemaChange, columns_of
from datapipe.schemas.kinds import kind_of

_HERE = {None, "", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class Standing:
    """A target, learnt without writing.

    Parameters
    ----------
    subject : str
        What the schema registry calls it.
    columns : tuple of ColumnSpec or None
        Those of the table as it is now; None if there is none, and for a file.
    data : tuple of ColumnSpec
        The columns of what is to be written, in the types the database would create for them.
    needed : tuple of str
        The table's columns that every load must fill.
    refusal : SchemaError or None
        Why a load would not begin.
    changes : tuple of SchemaChange
        What a load would change in the table.
    left_out : tuple of str
        The data's columns that a load would leave out.
    """

    subject: str
    columns: tuple[ColumnSpec, ...] | None
    data: tuple[ColumnSpec, ...]
    needed: tuple[str, ...] = ()
    refusal: SchemaError | None = None
    changes: tuple[SchemaChange, ...] = ()
    left_out: tuple[str, ...] = ()


def look_at(target: Target, schema: pa.Schema, work: Workspace) -> Standing:
    """How a target stands to data of a schema; nothing is changed.

    Raises
    ------
    PlanError
        If the load is wrong in another way than its columns.
    """
    if isinstance(target, FileTarget):
        return Standing(file_subject(target), None, columns_of(schema))
    try:
        with open_session(target, work, create=False) as session:
            session.begin()
            table = Table(target.table_name, target.schema_)
            place, layout = session.place(table), session.layout(table, keyed=False)
            there = tuple(column.spec for column in layout.columns) if layout else None
            data = _declared(session, target, with_mark(schema, target), layout)
            needed = [c.name for c in layout.columns if not (c.nullable or c.optional)] if layout else ()
            standing = Standing(table_subject(target, place), there, data, tuple(needed))
            try:
                load = plan_load(session, target, schema, lambda: has_created(session, place))
            except SchemaError as error:
                return replace(standing, refusal=error)
            return replace(standing, changes=load.changes, left_out=load.left_out)
    except DatapipeError as error:
        raise error.at(STEP) from error.__cause__


def _declared(
    session: Session, target: TableTarget, schema: pa.Schema, layout: Layout | None
) -> tuple[ColumnSpec, ...]:
    keys = find_keys(target, schema.names)
    found = []
    for field in schema:
        made = Column(field.name, session.column_type(field, key=field.name in keys), field.name not in keys).spec
        there = _column(layout, field.name) if layout else None
        found.append(there.spec if there and _same_in_sqlite(target, made, there) else made)
    return tuple(found)


def _column(layout: Layout, name: str) -> Column | None:
    match = find_name(name, [column.name for column in layout.columns])
    return next((column for column in layout.columns if column.name == match), None)


def _same_in_sqlite(target: TableTarget, made: ColumnSpec, there: Column) -> bool:
    """Whether both are integers or floats of SQLite, which have 64 bits whatever they are called."""
    family = kind_of(made.type).family
    is_sqlite = resolved(target).driver == "sqlite"
    return is_sqlite and family in {"integer", "float"} and family == kind_of(there.type).family


def resolved(target: TableTarget) -> DatabaseUrl:
    """The URL of a target's database."""
    return resolve(target.dest_db_url, target.destination, default="DEST_DB_URL", step=STEP)


def table_subject(target: TableTarget, place: str) -> str:
    """What the registry calls a table, from its full name, the same however the plan spells it."""
    return f"{place} on {where(resolved(target))}"


def file_subject(target: FileTarget) -> str:
    """What the registry calls a file."""
    return f"file {Path(target.path).expanduser().resolve()}"


def where(url: DatabaseUrl) -> str:
    """A database, without who connects to it and how.

    Examples
    --------
    >>> where(DatabaseUrl.parse("postgresql+psycopg://ann:secret@DB.example:5432/crm?connect_timeout=3"))
    'postgresql db.example/crm'
    >>> where(DatabaseUrl.parse("sqlite:////data/crm.db"))
    'sqlite /data/crm.db'
    """
    found: Any = to_url(url)
    if url.driver in {"sqlite", "duckdb"}:
        path = found.database or ":memory:"
        is_file = path != ":memory:" and not path.startswith("file:")
        return f"{url.driver} {Path(path).resolve() if is_file else path}"
    host = found.host or found.query.get("host")
    host = ",".join(host) if isinstance(host, tuple) else host
    host = "localhost" if host in _HERE else host if host.startswith("/") else host.lower()
    port = found.port or found.query.get("port")
    shown = f":{port}" if port and str(port) != str(PORTS.get(url.driver)) else ""
    return f"{url.driver} {host}{shown}/{found.database or ''}"
