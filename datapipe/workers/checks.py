"""Whether the servers that runs depend on answer: a question for each, which nobody waits for too long."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from datapipe.data.connections import ConnectionManager, resolve, to_url
from datapipe.errors import FatalError, PlanError, TransientError
from datapipe.hosts import part
from datapipe.plan import DatabaseUrl
from datapipe.settings import connection_names, settings
from datapipe.store import open_store
from datapipe.store.schema import version_of
from datapipe.workers.permissions import may_keep_ledger, may_write_file

NOT_CONFIGURED, NOT_CHECKED = "not configured", "not checked"
_ASK = sa.text("SELECT 1")
_MAY_RECORD = sa.text(
    "SELECT has_table_privilege('datapipe_runs', 'INSERT') AND has_table_privilege('datapipe_runs', 'UPDATE')"
    " AND NOT pg_is_in_recovery()"
)
_PATIENCE = 3  # seconds for a connection to a database
_LIMITS = {
    "postgresql": {"connect_timeout": str(_PATIENCE)},
    "mysql": dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), str(_PATIENCE)),
}


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Parameters
    ----------
    message : str
        Where it is, and what else is known.
    seconds : float, optional
        Of one question on an open connection.
    hint : str
        What to do, if something is to be done.
    """

    state: str
    message: str = ""
    seconds: float | None = None
    hint: str = ""


Check = Callable[[], Finding]  # raises what is wrong


def checks() -> Mapping[str, Check]:
    """Every part by name, with its question."""
    found = settings()
    defaults = {"SOURCE_DB_URL": found.source_db_url, "DEST_DB_URL": found.dest_db_url}
    return {
        "broker": lambda: _server(found.broker_url, "REDIS_URL or CELERY_BROKER_URL"),
        "result backend": lambda: _server(found.result_url, "REDIS_URL or CELERY_RESULT_BACKEND", only_redis=True),
        "metadata store": _store,
        **{name: _default(name, url) for name, url in defaults.items()},
        **{f"connection {name}": _named(name) for name in connection_names()},
    }


def _server(url: str, variable: str, *, only_redis: bool = False) -> Finding:
    try:
        asking = part("datapipe.workers.asking", "workers")
    except PlanError as error:
        return Finding(NOT_CHECKED, "the extra 'workers' is not installed", hint=str(error.hint))
    is_redis = url.startswith(asking.REDIS)
    if only_redis and not is_redis:
        return Finding(NOT_CHECKED, "it is not Redis")
    try:
        with asking.connected(url) as connection:
            info = connection.info()
            if not is_redis:
                return Finding("ok", str(info["transport"]))
            seconds = _timed(connection.default_channel.client.ping)
    except PlanError:
        raise
    except Exception as error:
        hint = f"Check {variable}, and that the server runs; datapipe up starts one"
        raise TransientError(str(error).partition("\n")[0] or type(error).__name__, hint=hint) from error
    place = f"{info['hostname'] or 'localhost'}:{info['port'] or 6379}/{info['virtual_host'] or 0}"
    return Finding("ok", place, seconds)


def _store() -> Finding:
    store = open_store()
    if store is None:
        return Finding(NOT_CONFIGURED, "DATAPIPE_METADATA_URL is off: workers refuse runs")
    with store.reading() as conn:
        url = conn.engine.url
        place = str(url.database) if url.get_backend_name() == "sqlite" else f"{url.host}/{url.database}"
        version = version_of(conn)
        if url.get_backend_name() == "sqlite":
            may_write_file(Path(place), "the run store")
        elif not conn.scalar(_MAY_RECORD):
            hint = "GRANT INSERT, UPDATE, DELETE ON ALL TABLES of its schema to the user of DATAPIPE_METADATA_URL"
            raise FatalError(f"{place} may be read and not written", hint=hint)
        return Finding("ok", f"{place}, version {version}", _timed(lambda: conn.execute(_ASK)))


def _default(name: str, url: str | None) -> Check:
    if not url:
        return lambda: Finding(NOT_CONFIGURED, hint=f"Set {name}, or name the database in each plan")
    return lambda: _database(resolve(None, None, default=name, step=name), name)


def _named(name: str) -> Check:
    return lambda: _database(resolve(None, name, default="", step=f"connection {name}"))


def _database(url: DatabaseUrl, name: str = "") -> Finding:
    """Whether a database answers; of the destination, also whether loads may be recorded there."""
    if url.engine is None and url.driver in {"sqlite", "duckdb"}:
        return Finding("ok", _file(url, name))
    manager = ConnectionManager(pool_size=1, max_overflow=0)
    target: Any = url
    if url.engine is None and url.driver in _LIMITS:
        given = to_url(url)
        target = given.update_query_dict({k: v for k, v in _LIMITS[url.driver].items() if k not in given.query})
    try:
        with manager.connect(target) as conn:
            seconds = _timed(lambda: conn.execute(_ASK))
            told = may_keep_ledger(conn) if name == "DEST_DB_URL" else ""
            return Finding("ok", f"{url.label}{told}", seconds)
    finally:
        manager.dispose()


def _timed(ask: Callable[[], Any]) -> float:
    began = time.monotonic()
    ask()
    return time.monotonic() - began


def _file(url: DatabaseUrl, variable: str) -> str:
    """Opening a file that is not there would make it."""
    name = to_url(url).database
    if not name or name == ":memory:" or name.startswith("file:"):
        return url.label
    path = Path(name)
    if path.is_file():
        with path.open("rb"):  # whether it may be read
            pass
    if variable == "DEST_DB_URL" and path.parent.is_dir():
        may_write_file(path, "the file of DEST_DB_URL")
    if path.is_file():
        return url.label
    if variable == "SOURCE_DB_URL" or not path.parent.is_dir():
        raise FatalError(f"there is no file {name}", hint="Check the path, and that its folder exists")
    return f"{url.label}, which does not exist yet"
