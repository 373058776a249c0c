"""Where the session for a target's database is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from datapipe.data.connections import resolve, shared, to_url
from datapipe.data.stream import Workspace
from datapipe.errors import PlanError
from datapipe.persistence.session import Session
from datapipe.plan import DatabaseUrl, TableTarget

STEP = "persistence"
Open = Callable[[DatabaseUrl, Workspace], AbstractContextManager[Session]]


@contextmanager
def open_session(target: TableTarget, work: Workspace, *, create: bool = True) -> Iterator[Session]:
    """A session on the target's database.

    Parameters
    ----------
    create : bool
        Whether a database that is a file may be created; if not, an empty one in memory stands for it.
    """
    url = resolve(target.dest_db_url, target.destination, default="DEST_DB_URL", step=STEP)
    if url.driver in {"sqlite", "duckdb"} and url.engine is None:
        url = _in_file(url, create=create)
    with _opener(url)(url, work) as session:
        yield session


def _in_file(url: DatabaseUrl, *, create: bool) -> DatabaseUrl:
    """The URL itself; that of an empty database, if it is only to be looked at and the file is not there."""
    path = to_url(url).database
    if not path or path == ":memory:":
        hint = f"Name a file, such as {url.driver}:///data.db, or use .collect()"
        raise PlanError(f"a {url.driver} database in memory is gone when the run ends", hint=hint)
    looks_at_nothing = not create and not path.startswith("file:") and not Path(path).exists()
    return DatabaseUrl.parse(f"{url.driver}://") if looks_at_nothing else url


def _opener(url: DatabaseUrl) -> Open:
    # Each database's libraries are loaded only where it is used.
    if url.driver == "postgresql":
        from datapipe.persistence.postgresql import postgresql_session

        return postgresql_session
    if url.driver == "sqlite":
        from datapipe.persistence.sqlite import sqlite_session

        return sqlite_session
    if url.driver == "duckdb" and url.engine is None:
        from datapipe.persistence.duckdb import duckdb_session

        return duckdb_session
    if url.driver == "mysql":
        shared().engine(url)  # says so if the driver is missing
        from datapipe.persistence.mysql import mysql_session

        return mysql_session
    raise PlanError(
        f"datapipe does not write to {url.driver or 'this database'}",
        hint="It writes to postgresql, mysql, mariadb, sqlite and duckdb, and to .parquet, .csv and .json files",
    )
