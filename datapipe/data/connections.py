"""Pooled connections: one engine per URL and process, safe after a fork."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine, make_url

from datapipe.data.cancel import CancelToken, unless_cancelled
from datapipe.data.links import close_idle
from datapipe.data.sockets import is_silent
from datapipe.errors import FatalError, PlanError, TransientError
from datapipe.logs import session_name
from datapipe.plan import DatabaseUrl
from datapipe.settings import connection, expand, named_connections, pool_options, settings

_PATIENCE = 30.0  # seconds to wait for a connection when all are in use
_FRESH = 5.0  # seconds in which a connection that has been used need not be asked whether it answers
PORTS = {"postgresql": 5432, "mysql": 3306}  # of the kinds of server that have one
_FAMILIES = {"mariadb": "mysql", "postgres": "postgresql"}
_EXTRAS = {"mysql": "mysql", "mariadb": "mysql"}
_FOUND_ROWS, _LOCAL_FILES = 1 << 1, 1 << 7  # of MySQL's protocol
_LONGEST_NAME = 64
_DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg2": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "mariadb+pymysql": "mysql+pymysql",
}


class ConnectionManager:
    """Engines by URL: pooled, checked before use, recycled, renewed in a forked child.

    Options of a named connection's own pool win over these.

    Parameters
    ----------
    pool_size, max_overflow : int
        Connections kept per database, and how many more may open under load.
    recycle : int
        Seconds after which a connection is replaced.

    Examples
    --------
    >>> manager = ConnectionManager()
    >>> manager.health_check("sqlite:///:memory:")
    True
    """

    def __init__(self, pool_size: int | None = None, max_overflow: int | None = None, recycle: int = 1800) -> None:
        found = settings()
        self.pool_size = found.pool_size if pool_size is None else pool_size
        self.max_overflow = found.pool_overflow if max_overflow is None else max_overflow
        self.recycle = recycle
        self._lock = threading.Lock()
        self._engines: dict[tuple[Any, ...], Engine] = {}
        self._process = os.getpid()

    def engine(self, target: str | URL | DatabaseUrl | Engine) -> Engine:
        """The engine for a URL; an engine is returned as it is.

        Raises
        ------
        PlanError
            If the URL is wrong or its driver is not installed.
        """
        if isinstance(target, Engine):
            return target
        if isinstance(target, DatabaseUrl) and target.engine is not None:
            return target.engine  # type: ignore[no-any-return]  # DatabaseUrl does not import SQLAlchemy
        url = _with_driver(to_url(target))
        pool = target.pool if isinstance(target, DatabaseUrl) else {}
        key = (url.render_as_string(hide_password=False), *sorted(pool.items()))
        with self._lock:
            if self._process != os.getpid():
                for engine in self._engines.values():
                    engine.dispose(close=False)  # the sockets belong to the parent
                self._engines, self._process = {}, os.getpid()
            if key not in self._engines:
                self._engines[key] = self._create(url, pool)
            return self._engines[key]

    def _create(self, url: URL, pool: Mapping[str, float]) -> Engine:
        options: dict[str, Any] = {
            "pool_pre_ping": True,
            "pool_recycle": pool.get("recycle", self.recycle),
            "hide_parameters": True,
        }
        if url.get_backend_name() != "sqlite":
            options |= {
                "pool_size": pool.get("pool_size", self.pool_size),
                "max_overflow": pool.get("max_overflow", self.max_overflow),
                "pool_timeout": pool.get("timeout", _PATIENCE),
            }
        if url.drivername == "postgresql+psycopg":
            parameters = _postgresql(settings().network_timeout)
            options["connect_args"] = {name: value for name, value in parameters.items() if name not in url.query}
            options["pool_pre_ping"] = False  # it would wait for ever
        if url.drivername == "mysql+pymysql":
            # The server may be sent rows by LOAD DATA; the driver itself never opens a file the server asks for.
            patience = dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), settings().network_timeout)
            given = {name: value for name, value in patience.items() if name not in url.query}
            options["connect_args"] = {"client_flag": _FOUND_ROWS | _LOCAL_FILES, **given}
        try:
            engine = sa.create_engine(url, **options)
        except ImportError as error:
            extra = _EXTRAS.get(url.get_backend_name())
            install = f'pip install "datapipe-sdk[{extra}]"' if extra else f"pip install {error.name}"
            raise PlanError(f"the driver for {url.drivername} is missing", hint=f"Run: {install}") from None
        except sa.exc.ArgumentError as error:
            raise PlanError(f"no database driver is called {url.drivername!r}", hint=str(error)) from None
        if url.drivername == "postgresql+psycopg":
            sa.event.listen(engine, "checkout", _check_out)
        if url.drivername == "mysql+pymysql":
            sa.event.listen(engine, "connect", functools.partial(_let_wait, url.query))
            sa.event.listen(engine, "do_connect", _connect_mysql)
        return engine

    def health_check(self, target: str | DatabaseUrl | Engine) -> bool:
        """Whether the database answers."""
        try:
            with self.engine(target).connect() as conn:
                conn.execute(sa.text("SELECT 1"))
        except (sa.exc.SQLAlchemyError, OSError):
            return False
        return True

    @contextmanager
    def connect(self, target: str | DatabaseUrl | Engine, cancel: CancelToken | None = None) -> Iterator[sa.Connection]:
        """A pooled connection, with connection failures named plainly.

        Parameters
        ----------
        cancel : CancelToken, optional
            Ends the wait for a server that does not answer; a connection is not used again after it.

        Raises
        ------
        TransientError
            If the server cannot be reached.
        FatalError
            If it refuses the user, the password or the database.
        """
        engine = self.engine(target)
        try:
            conn = unless_cancelled(engine.connect, cancel, sa.Connection.close) if cancel else engine.connect()
        except sa.exc.OperationalError as error:
            raise _unreachable(engine.url, error) from None
        except sa.exc.TimeoutError:
            hint = "Run fewer plans at once, or raise DB_POOL_SIZE and DB_MAX_OVERFLOW, or the connection's own options"
            raise TransientError("every pooled connection is in use", hint=hint) from None
        try:
            yield conn
        finally:
            if cancel is not None and cancel.cancelled:
                conn.invalidate()  # an interruption still on its way must not hit the next run
            elif not conn.invalidated and getattr(conn.connection.driver_connection, "closed", False):
                conn.invalidate()  # the server is gone; the pool would log a traceback about it
            conn.close()

    def dispose(self) -> None:
        """Close every pooled connection of this manager, and idle links; engines lent to it are not its own."""
        with self._lock:
            for engine in self._engines.values():
                engine.dispose()
            self._engines = {}
        close_idle()


def _postgresql(seconds: int) -> dict[str, int | str]:
    """libpq's parameters: text in UTF-8, and a dead peer noticed within so many seconds."""
    probe = max(1, seconds // 6)
    return {
        "client_encoding": "utf8",
        "fallback_application_name": "datapipe",
        "connect_timeout": seconds,
        "keepalives_idle": max(1, seconds // 2),
        "keepalives_interval": probe,
        "keepalives_count": 3,
        "tcp_user_timeout": 1000 * seconds,
    }


def _let_wait(given: Mapping[str, Any], raw: Any, _: object) -> None:
    """Let statements take their time, once PyMySQL has connected: its time limit is one for everything."""
    for name in {"read_timeout", "write_timeout"} - set(given):
        setattr(raw, f"_{name}", None)


def _connect_mysql(_: object, __: object, ___: object, parameters: dict[str, Any]) -> Any:
    """Tell MySQL whose session it is, in an attribute of the connection; each read and write makes one of its own."""
    from datapipe.data.mysqlconnect import connect  # loads PyMySQL

    return connect(**{"program_name": session_name(_LONGEST_NAME), **parameters})


def _check_out(raw: Any, record: Any, _: object) -> None:
    """Replace the pool's connections when one that has been used before answers no more."""
    from datapipe.data.pgbackend import answers  # loads psycopg

    now = time.monotonic()
    used, record.info["used"] = record.info.get("used"), now
    is_fresh = used is None or (now - used < _FRESH and not raw.closed and is_silent(raw.fileno()))
    if not is_fresh and not answers(raw, settings().network_timeout / 4):
        raise sa.exc.InvalidatePoolError


@functools.cache
def shared() -> ConnectionManager:
    """The manager of this process, so that every run shares one pool per URL."""
    return ConnectionManager()


# A thread of the parent may have held its lock.
os.register_at_fork(after_in_child=shared.cache_clear)


def resolve(url: DatabaseUrl | None, name: str | None, *, default: str, step: str) -> DatabaseUrl:
    """Where a step of a plan connects: its URL, its named connection, or the default variable.

    Parameters
    ----------
    default : str
        ``SOURCE_DB_URL`` or ``DEST_DB_URL``.

    Raises
    ------
    PlanError
        If the name or the variable is unknown, or nothing is given and there is no default.
    """
    try:
        if url is None and name is None:
            found = settings().source_db_url if default == "SOURCE_DB_URL" else settings().dest_db_url
            if not found:
                option = "source=" if default == "SOURCE_DB_URL" else "to="
                raise PlanError("no database is named", hint=f"Give {option} or set {default}")
            return complete(DatabaseUrl.parse(expand(found)))
        if url is not None:
            return complete(_as_url(url))
        named = complete(_as_url(connection(str(name))))
        return dataclasses.replace(named, pool=pool_options(str(name)))
    except PlanError as error:
        raise error.at(step) from None


def _as_url(target: Any) -> DatabaseUrl:
    if isinstance(target, DatabaseUrl):
        return DatabaseUrl.parse(expand(target.full or target.safe)) if target.references else target
    if isinstance(target, Engine):
        return DatabaseUrl(target.url.render_as_string(hide_password=True), engine=target)
    return DatabaseUrl.parse(expand(str(target)))


def complete(url: DatabaseUrl) -> DatabaseUrl:
    """A URL that travelled without its password, with the password of this process's own connection."""
    if url.engine is not None or url.driver in {"sqlite", "duckdb"}:
        return url
    wanted = to_url(url)
    if wanted.password is not None or wanted.username is None:
        return url
    own = [settings().source_db_url, settings().dest_db_url, *named_connections().values()]
    for candidate in own:
        if candidate is None or isinstance(candidate, Engine):
            continue
        try:
            known = to_url(expand(str(candidate)))
        except PlanError:
            continue  # a connection this run does not use
        if known.password is not None and place_of(known) == place_of(wanted):
            completed = wanted.set(password=known.password).render_as_string(hide_password=False)
            return dataclasses.replace(url, full=completed)
    return url


def family(url: URL) -> str:
    """What kind of server a URL leads to, however it is spelt.

    Examples
    --------
    >>> family(make_url("postgres://h/d")), family(make_url("mariadb+pymysql://h/d"))
    ('postgresql', 'mysql')
    """
    name = url.get_backend_name()
    return _FAMILIES.get(name, name)


def place_of(url: URL) -> tuple[Any, ...]:
    """Whose database a URL leads to, and as whom; without the password and the options.

    Examples
    --------
    >>> place_of(make_url("postgres://ann@DB/crm")) == place_of(make_url("postgresql+psycopg://ann:pw@db:5432/crm"))
    True
    """
    found = family(url)
    return found, (url.host or "").lower(), url.port or PORTS.get(found), url.database, url.username


def to_url(target: str | URL | DatabaseUrl) -> URL:
    """SQLAlchemy's form of a URL.

    Raises
    ------
    PlanError
        If the text is not a database URL.
    """
    if isinstance(target, URL):
        return target
    text = (target.full or target.safe) if isinstance(target, DatabaseUrl) else target
    try:
        return _parsed(text)
    except (sa.exc.ArgumentError, ValueError):
        DatabaseUrl.parse(text)
        raise PlanError("the database URL does not parse", hint="Check the port and percent-encode / and @") from None


@functools.lru_cache(maxsize=64)
def _parsed(text: str) -> URL:
    return make_url(text)


def _with_driver(url: URL) -> URL:
    """PostgreSQL always by psycopg 3, which the fast roads need, MySQL and MariaDB by PyMySQL unless one is named."""
    return url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))


def _unreachable(url: URL, error: sa.exc.OperationalError) -> FatalError | TransientError:
    said: tuple[object, ...] = getattr(error.orig, "args", ())
    text = str(said[1] if len(said) > 1 else error.orig)  # PyMySQL's errors begin with their number
    reason = re.search(r"FATAL:\s*(.+)", text) or re.search(r".*failed: ([^\n]+)", text)
    sentence = reason.group(1).strip() if reason else next(iter(text.strip().splitlines()), type(error.orig).__name__)
    where = (f"{url.host or 'local'}:{url.port}" if url.port else url.host or "local") + f"/{url.database or ''}"
    if url.get_backend_name() == "sqlite":
        return FatalError(
            f"cannot open the SQLite file {url.database!r}: {sentence}", hint="Check that its folder exists"
        )
    if "password" in sentence or "authentication" in sentence or "Access denied" in sentence:
        return FatalError(
            f"{where} refused the connection: {sentence}",
            hint=f"Put the password into the URL, or set DATAPIPE_CONNECTION_<NAME>={url.drivername}://user:password@…",
        )
    if "does not exist" in sentence or "no pg_hba" in sentence or "Unknown database" in sentence:
        return FatalError(f"{where} refused the connection: {sentence}", hint="Check user and database in the URL")
    return TransientError(f"cannot reach {where}: {sentence}", hint="Check that the server runs and the URL is right")
