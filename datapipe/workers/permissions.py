"""Whether what a load needs may be made in its destination: only asked, nothing is made."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from datapipe.errors import FatalError
from datapipe.settings import settings

_POSTGRESQL = sa.text(
    """
    SELECT current_user AS role, current_database() AS database, current_schema() AS home,
           has_database_privilege(current_database(), 'CREATE') AS may_make_schemas,
           coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_make_tables,
           pg_is_in_recovery() AS is_copy,
           (SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = :own) AS may_enter,
           (SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = :own) AS may_fill,
           (SELECT has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'SELECT')
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = :own AND c.relname = 'loads') AS may_record
    """
)
_GRANTED = r"(ALL PRIVILEGES|\bCREATE(?=,| ON)).* ON (\*\.\*|`{}`\.\*) TO"


def may_keep_ledger(conn: sa.Connection) -> str:
    """What a destination's role may do, for the end of a sentence.

    Raises
    ------
    FatalError
        If it may not record loads there; with the statement that lets it.
    """
    ask = _ASKED.get(conn.dialect.name)
    return ask(conn) if ask is not None else ""


def _postgresql(conn: sa.Connection) -> str:
    own = settings().internal_schema
    found = conn.execute(_POSTGRESQL, {"own": own}).one()
    if found.is_copy:
        raise FatalError(f"{found.database} is a standby server, which takes no writes", hint="Use its primary server")
    if settings().ledger == "on" and not _may_record(found):
        if found.may_enter is None:
            may_not, grant = "create the schema", f'GRANT CREATE ON DATABASE "{found.database}" TO "{found.role}"'
        else:
            may_not = "write to the schema"
            grant = (
                f'GRANT USAGE, CREATE ON SCHEMA "{own}" TO "{found.role}"; '
                f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "{own}" TO "{found.role}"'
            )
        raise FatalError(
            f"{found.role} may not {may_not} {own} in {found.database}, where loads are recorded",
            hint=f"Have its owner run: {grant}; or set DATAPIPE_LEDGER=off",
        )
    home = found.home or "any schema"
    return "" if found.may_make_tables else f", where {found.role} may not create tables in {home}"


def _may_record(found: sa.Row[Any]) -> bool:
    """Whether a role may write to the ledger as it is, or make what is not there yet, which is NULL."""
    if found.may_enter is None:
        return bool(found.may_make_schemas)
    return bool(found.may_enter and (found.may_fill if found.may_record is None else found.may_record))


def _mysql(conn: sa.Connection) -> str:
    """Grants by roles are not looked into: what is not granted outright is not known."""
    database = str(conn.scalar(sa.text("SELECT database()")))
    if any(may_create_tables(str(row[0]), database) for row in conn.execute(sa.text("SHOW GRANTS"))):
        return ""
    return ", where it is not known whether tables may be created"


def may_create_tables(grant: str, database: str) -> bool:
    """Whether a line of SHOW GRANTS lets tables be made in a database.

    Examples
    --------
    >>> may_create_tables("GRANT SELECT, CREATE ON `my\\\\_mart`.* TO `etl`@`%`", "my_mart")
    True
    >>> may_create_tables("GRANT SELECT, CREATE VIEW ON `mart`.* TO `etl`@`%`", "mart")
    False
    """
    return re.search(_GRANTED.format(re.escape(database)), grant.replace("\\_", "_")) is not None


_ASKED: Mapping[str, Callable[[sa.Connection], str]] = {
    "postgresql": _postgresql,
    "mysql": _mysql,
    "mariadb": _mysql,
}


def may_write_file(path: Path, what: str) -> None:
    """Whether a database's file may be written, and its journal beside it.

    Raises
    ------
    FatalError
        If not.
    """
    for place in (path, path.parent):
        if place.exists() and not os.access(place, os.W_OK):
            raise FatalError(
                f"{what} may not be written: {place} is read-only for this user", hint=f"Run: chmod u+w {place}"
            )
