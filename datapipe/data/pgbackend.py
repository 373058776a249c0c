"""A session of PostgreSQL as others see it: asked about, interrupted and ended over a second connection."""

from __future__ import annotations

import contextlib
import math
import selectors
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo
from psycopg.pq import ExecStatus, PollingStatus

from datapipe import logs
from datapipe.data.cancel import CancelToken
from datapipe.data.sockets import Line, leads_to
from datapipe.data.watch import Deadline, Watch, watched
from datapipe.errors import PlanError
from datapipe.plan import DatabaseUrl
from datapipe.settings import settings

if TYPE_CHECKING:
    import sqlalchemy as sa

# How a read begins and ends: of all that a SELECT can do, only locks outlive a rollback.
BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
END = "ROLLBACK; SELECT pg_advisory_unlock_all()"
# Behind a pooler, only the server knows the process; and only within a transaction it stays the same.
IDENTITY = "pg_backend_pid()::text, extract(epoch FROM pg_postmaster_start_time())::text"
_LONGEST = 63  # bytes of a session's name
_SLICE = 0.1  # seconds between two looks at a deadline
_EVENTS = {PollingStatus.READING: selectors.EVENT_READ, PollingStatus.WRITING: selectors.EVENT_WRITE}


_roads: WeakKeyDictionary[psycopg.Connection[Any], Road] = WeakKeyDictionary()  # a connection's does not change


class Refused(Exception):  # noqa: N818  # an answer, though not the one to the question
    """The server answers, but refuses the connection or the statement."""


def session_name(owner: str | None = None) -> str:
    """What pg_stat_activity calls the sessions of the run that goes on here, or of ``owner``; it needs no quotes."""
    return logs.session_name(_LONGEST) if owner in {None, logs.ids().get("run_id")} else f"datapipe {owner}"


def psycopg_of(conn: sa.Connection, url: DatabaseUrl) -> psycopg.Connection[Any]:
    """psycopg's own connection under one of SQLAlchemy's.

    Raises
    ------
    PlanError
        If an engine that was lent has another driver.
    """
    raw = conn.connection.driver_connection
    if not isinstance(raw, psycopg.Connection):
        problem = f"the engine's driver is {url.engine.driver}; datapipe reads and writes PostgreSQL with psycopg 3"
        raise PlanError(problem, hint="Make it with create_engine('postgresql+psycopg://…')")
    return raw


@dataclass(frozen=True)
class Road:
    """How to reach the very server that a connection has reached, as its user."""

    name: str  # of the server, for people
    conninfo: str
    address: Any  # at the other end of the socket

    @classmethod
    def of(cls, raw: psycopg.Connection[Any]) -> Road:
        """The road of a connection."""
        if raw in _roads:
            return _roads[raw]
        info = raw.info
        own = {"host": info.host, "port": str(info.port), "password": info.password, "application_name": "datapipe"}
        own["client_encoding"] = "utf8"  # a lent engine may have another
        if info.hostaddr:  # of several with one name, this one
            own["hostaddr"] = info.hostaddr
        conninfo = make_conninfo(**(info.get_parameters() | own))
        _roads[raw] = cls(f"{info.host}:{info.port}", conninfo, leads_to(raw.fileno()))
        return _roads[raw]


class Backend:
    """The server process of a connection that took a road."""

    def __init__(self, road: Road) -> None:
        self._road = road
        self._identity: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        """The server."""
        return self._road.name

    def identify(self, process: str, server: str) -> None:
        """Take the values of IDENTITY; until then the session counts as one that does nothing for long."""
        self._identity = process, server

    def busy(self, deadline: Deadline) -> bool:
        """Whether it is at work or waits for a lock, rather than for its client; so it is if nobody tells."""
        if self._identity is None:
            return False
        process, server = self._identity
        event = f"(SELECT coalesce(wait_event_type, '') FROM pg_stat_activity WHERE pid = {process})"
        try:
            found = self._ask(f"SELECT {event}, {IDENTITY}", deadline)
        except Refused:
            return True
        is_other_server = found[2] != server.encode()
        return is_other_server or found[0] not in {None, b"Client"}

    def interrupt(self, deadline: Deadline) -> None:
        """Cancel its statement."""
        self._call("pg_cancel_backend", deadline)

    def end(self, deadline: Deadline) -> None:
        """Terminate it."""
        self._call("pg_terminate_backend", deadline)

    def _call(self, function: str, deadline: Deadline) -> None:
        if self._identity is not None:
            process, server = self._identity
            own = f"extract(epoch FROM pg_postmaster_start_time())::text = '{server}'"
            with contextlib.suppress(Refused):
                self._ask(f"SELECT {function}({process}) WHERE {own}", deadline)

    def _ask(self, sql: str, deadline: Deadline) -> list[bytes | None]:
        with _connected(self._road.conninfo, deadline) as connection:
            return ask(connection, sql, deadline)


def ask(connection: pq.abc.PGconn, sql: str, deadline: Deadline) -> list[bytes | None]:
    """The first row of a query on an idle connection.

    Raises
    ------
    TimeoutError, ConnectionError
        If no answer comes.
    Refused
        If it is an error, or none.
    """
    with _as_connection_errors():
        connection.send_query(sql.encode())
        result = results(connection, deadline)[-1]
    if result.status != ExecStatus.TUPLES_OK or not result.ntuples:
        raise Refused
    return [result.get_value(0, column) for column in range(result.nfields)]


def next_result(connection: pq.abc.PGconn, deadline: Deadline | None = None) -> pq.abc.PGresult | None:
    """The next result of what was sent, or None after the last one.

    Other threads run meanwhile, and none do in a blocking call of libpq.

    Raises
    ------
    TimeoutError
    psycopg.OperationalError
        If the connection breaks.
    """
    deadline = deadline or Deadline(math.inf)
    while connection.flush():
        _wait(connection, selectors.EVENT_WRITE, deadline)
    while connection.is_busy():
        _wait(connection, selectors.EVENT_READ, deadline)
        connection.consume_input()
    return connection.get_result()


def results(connection: pq.abc.PGconn, deadline: Deadline | None = None) -> list[pq.abc.PGresult]:
    """All results of what was sent; see :func:`next_result`."""
    found: list[pq.abc.PGresult] = []
    while (result := next_result(connection, deadline)) is not None:
        found.append(result)
    return found


def answers(raw: psycopg.Connection[Any], seconds: float) -> bool:
    """Whether an idle connection is alive."""
    try:
        ask(raw.pgconn, "SELECT 1", Deadline(seconds))
    except (OSError, Refused):
        return False
    return True


@contextmanager
def watched_backend(raw: psycopg.Connection[Any], cancel: CancelToken) -> Iterator[tuple[Watch, Backend]]:
    """A watch over a connection of psycopg; its backend is to be identified in each transaction."""
    backend, line = Backend(Road.of(raw)), Line(raw.fileno)
    line.pin()
    with watched(backend, line, cancel, settings().network_timeout) as watch:
        yield watch, backend


@contextmanager
def _connected(conninfo: str, deadline: Deadline) -> Iterator[pq.abc.PGconn]:
    """A connection that can be given up while it is being made, which psycopg's own cannot."""
    connection = pq.PGconn.connect_start(conninfo.encode())
    try:
        with _as_connection_errors():
            connection.nonblocking = 1
            while (status := connection.connect_poll()) != PollingStatus.OK:
                if status == PollingStatus.FAILED:
                    text = connection.error_message.decode(errors="replace")
                    raise Refused if "FATAL" in text else ConnectionError(text)
                _wait(connection, _EVENTS[PollingStatus(status)], deadline)
        yield connection
    finally:
        connection.finish()


def _wait(connection: pq.abc.PGconn, events: int, deadline: Deadline) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(connection.socket, events)
        while not selector.select(min(_SLICE, deadline.left())):
            pass


@contextmanager
def _as_connection_errors() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise ConnectionError(str(error)) from None
