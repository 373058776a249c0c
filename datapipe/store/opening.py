"""Finding the run store: the one that the environment names, or the file in the user's data directory."""

from __future__ import annotations

import functools
import os
from contextlib import suppress
from typing import Any

import sqlalchemy as sa

from datapipe.data.connections import shared, to_url
from datapipe.errors import DatapipeError, FatalError
from datapipe.logs import logger
from datapipe.settings import data_home, expand, settings
from datapipe.store.store import ELSEWHERE, RunStore

_LOG = logger("datapipe.store")


def open_store() -> RunStore | None:
    """The store that DATAPIPE_METADATA_URL names, or the file in the user's data directory; None if it is off.

    Raises
    ------
    DatapipeError
        If it cannot be opened.
    """
    named = settings().metadata_url
    if named == "off":
        return None
    if named is None:
        folder = data_home()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = folder / "runs.db"
            if not file.exists():
                os.close(os.open(file, os.O_CREAT, 0o600))  # it holds what plans and functions hold
                _opened.cache_clear()  # one that was there, and was removed, had tables
        except OSError as error:
            raise FatalError(f"cannot make {folder}/runs.db: {error.strerror}", hint=ELSEWHERE) from None
        named = f"sqlite:///{file}"
    return store_at(named)


def store_at(url: str) -> RunStore:
    """The store at a URL, which may refer to environment variables.

    Raises
    ------
    DatapipeError
        If it cannot be opened.
    """
    return _opened(expand(url), os.getpid())


def store_or_none() -> RunStore | None:
    """The store, or None with a warning in the log: a run does not fail for want of a record."""
    try:
        return open_store()
    except DatapipeError as error:
        _LOG.warning("this run is not recorded: %s", error)
        return None


@functools.lru_cache(maxsize=8)
def _opened(url: str, _: int) -> RunStore:  # a forked child opens its own
    return RunStore(engine_of(url))


def engine_of(url: str) -> sa.Engine:
    """The engine for a store's URL."""
    return _sqlite(url) if to_url(url).get_backend_name() == "sqlite" else shared().engine(url)


def _sqlite(url: str) -> sa.Engine:
    """SQLite for many processes: writers wait for each other, readers for nobody.

    A connection is kept: with the last one that is closed, SQLite waits for the disk several times.
    """
    engine = sa.create_engine(url, pool_size=1, connect_args={"timeout": 10}, hide_parameters=True)
    file = str(engine.url.database)

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Any, record: Any) -> None:
        record.info["file"] = _identity(file)
        connection.isolation_level = None
        with suppress(Exception):  # a file system without shared memory does without
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # by a record, a key is known to be used

    @sa.event.listens_for(engine, "checkout")
    def _check_out(connection: Any, record: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are begun below
        if record.info["file"] != _identity(file):  # it was removed, or replaced
            raise sa.exc.InvalidatePoolError

    @sa.event.listens_for(engine, "begin")
    def _begin(conn: sa.Connection) -> None:
        if conn.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            conn.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _identity(file: str) -> tuple[int, int] | None:
    """Which file this is; None if there is none."""
    try:
        found = os.stat(file)  # noqa: PTH116  # it may be a URI
    except OSError:
        return None
    return found.st_dev, found.st_ino
