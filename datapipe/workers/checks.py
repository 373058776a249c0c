"""Whether the servers that runs depend on answer: a question for each, which nobody waits for too long."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from datapipe.data.connections import ConnectionManager, resolve, to_url
from datapipe.errors import FatalError
from datapipe.plan import DatabaseUrl
from datapipe.settings import named_connections, settings
from datapipe.store import open_store
from datapipe.workers.asking import REDIS, broker_url, connected

NOT_CONFIGURED, NOT_CHECKED = "not configured", "not checked"
_ASK = sa.text("SELECT 1")
_PATIENCE = 3  # seconds for a connection to a database
_LIMITS = {
    "postgresql": {"connect_timeout": str(_PATIENCE)},
    "mysql": dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), str(_PATIENCE)),
}


@dataclass(frozen=True)
class Finding:
    """What a check found: a state, where the server is, and the seconds of one question on an open connection."""

    state: str
    message: str = ""
    seconds: float | None = None


Check = Callable[[], Finding]  # raises what is wrong


def checks() -> Mapping[str, Check]:
    """Every part by name, with its question."""
    found = settings()
    backend = found.result_url
    defaults = {"SOURCE_DB_URL": found.source_db_url, "DEST_DB_URL": found.dest_db_url}
    return {
        "broker": lambda: _server(broker_url()),
        "result backend": lambda: (
            _server(backend) if backend.startswith(REDIS) else Finding(NOT_CHECKED, "it is not Redis")
        ),
        "metadata store": _store,
        **{name: _default(name, url) for name, url in defaults.items()},
        **{f"connection {name}": _named(name) for name in sorted(named_connections())},
    }


def _server(url: str) -> Finding:
    with connected(url) as connection:
        info = connection.info()
        if not url.startswith(REDIS):
            return Finding("ok", str(info["transport"]))
        seconds = _timed(connection.default_channel.client.ping)
        place = f"{info['hostname'] or 'localhost'}:{info['port'] or 6379}/{info['virtual_host'] or 0}"
        return Finding("ok", place, seconds)


def _store() -> Finding:
    store = open_store()
    if store is None:
        return Finding(NOT_CONFIGURED, "DATAPIPE_METADATA_URL is off: workers refuse runs")
    with store.reading() as conn:
        url = conn.engine.url
        place = str(url.database) if url.get_backend_name() == "sqlite" else f"{url.host}/{url.database}"
        return Finding("ok", place, _timed(lambda: conn.execute(_ASK)))


def _default(name: str, url: str | None) -> Check:
    if not url:
        return lambda: Finding(NOT_CONFIGURED)
    return lambda: _database(resolve(None, None, default=name, step=name), is_source=name == "SOURCE_DB_URL")


def _named(name: str) -> Check:
    return lambda: _database(resolve(None, name, default="", step=f"connection {name}"))


def _database(url: DatabaseUrl, *, is_source: bool = False) -> Finding:
    if url.engine is None and url.driver in {"sqlite", "duckdb"}:
        return Finding("ok", _file(url, is_source=is_source))
    manager = ConnectionManager(pool_size=1, max_overflow=0)
    target: Any = url
    if url.engine is None and url.driver in _LIMITS:
        given = to_url(url)
        target = given.update_query_dict({k: v for k, v in _LIMITS[url.driver].items() if k not in given.query})
    try:
        with manager.connect(target) as conn:
            return Finding("ok", url.label, _timed(lambda: conn.execute(_ASK)))
    finally:
        manager.dispose()


def _timed(ask: Callable[[], Any]) -> float:
    began = time.monotonic()
    ask()
    return time.monotonic() - began


def _file(url: DatabaseUrl, *, is_source: bool) -> str:
    """Opening a file that is not there would make it."""
    name = to_url(url).database
    if not name or name == ":memory:" or name.startswith("file:"):
        return url.label
    path = Path(name)
    if path.is_file():
        with path.open("rb"):  # whether it may be read
            return url.label
    if is_source or not path.parent.is_dir():
        raise FatalError(f"there is no file {name}", hint="Check the path, and that its folder exists")
    return f"{url.label}, which does not exist yet"
