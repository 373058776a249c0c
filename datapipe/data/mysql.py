"""MySQL and MariaDB by PyMySQL: a connection of one's own for one read or write, and how to break it off."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pymysql

from datapipe.data.connections import shared
from datapipe.data.mysqlconnect import connect
from datapipe.data.mysqlerrors import translate
from datapipe.data.sockets import Line
from datapipe.data.stream import Workspace
from datapipe.data.watch import STALLED, Deadline, Watch, watched
from datapipe.errors import PlanError, TransientError
from datapipe.plan import DatabaseUrl
from datapipe.settings import settings

Connection = pymysql.connections.Connection  # its cursors give rows as they come
# MariaDB's JSON is a long text with a check. Its names are asked for at once: a look at each column takes long.
JSON_COLUMNS = """
SELECT constraint_name FROM information_schema.check_constraints
WHERE constraint_schema = COALESCE(%s, DATABASE()) AND table_name = %s AND LEFT(check_clause, 11) = 'json_valid('"""
# What a session is at that waits for its client, in the words of MariaDB and of MySQL.
_FOR_CLIENT = {"Reading from net", "Writing to net", "Receiving from client", "Sending to client"}
_SLICE = 1.0  # seconds that one attempt to ask the server may take


class Server:
    """The server's side of a connection, asked about, interrupted and ended over a second one."""

    def __init__(self, raw: Any) -> None:
        self._raw, self._number = raw, raw.thread_id()

    @property
    def name(self) -> str:
        """The server."""
        return f"{self._raw.host}:{self._raw.port}"

    def busy(self, deadline: Deadline) -> bool:
        """Whether it is at work or waits for a lock, rather than for its client; so it is if nobody tells."""
        text = f"SELECT command, state FROM information_schema.processlist WHERE id = {self._number}"
        try:
            found = self._ask(text, deadline)
        except pymysql.Error:  # the server answers, but does not tell
            return True
        return any(command != "Sleep" and state not in _FOR_CLIENT for command, state in found)

    def interrupt(self, deadline: Deadline) -> None:
        """End its statement."""
        self._kill("KILL QUERY", deadline)

    def end(self, deadline: Deadline) -> None:
        """End it."""
        self._kill("KILL", deadline)

    def _kill(self, how: str, deadline: Deadline) -> None:
        with contextlib.suppress(pymysql.Error):  # it has gone meanwhile
            self._ask(f"{how} {self._number}", deadline)

    def _ask(self, sql: str, deadline: Deadline) -> list[tuple[Any, ...]]:
        while True:
            seconds = min(_SLICE, deadline.left())
            try:
                with beside(self._raw, seconds) as other, other.cursor() as cursor:
                    cursor.execute(sql)
                    return list(cursor.fetchall())
            except pymysql.OperationalError as error:
                if _timed_out(error):
                    continue  # until there is no time left
                if error.args[0] in _UNREACHED:
                    raise ConnectionError(str(error)) from None
                raise


_UNREACHED = {2002, 2003, 2006, 2013}


@contextmanager
def mysql_connection(url: DatabaseUrl, work: Workspace, setup: Sequence[str]) -> Iterator[tuple[Any, Watch]]:
    """A connection that is closed afterwards, so that what is set on it, or left unread, bothers nobody.

    Parameters
    ----------
    setup : sequence of str
        Statements to begin with.

    Yields
    ------
    tuple of pymysql.Connection and Watch
        Whoever waits for the server says so to the watch.

    Raises
    ------
    PlanError
        If a lent engine has another driver than PyMySQL.
    """
    with shared().connect(url, work.cancel) as pooled:
        raw: Any = pooled.connection.driver_connection
        if not isinstance(raw, Connection):
            hint = "Make it with create_engine('mysql+pymysql://…')"
            raise PlanError(f"the engine's driver is not PyMySQL but {type(raw).__module__}", hint=hint)
        pooled.detach()
        line = Line(lambda: _descriptor(raw))
        line.pin()
        server = Server(raw)
        with watched(server, line, work.cancel, settings().network_timeout) as watch:
            try:
                with watch.waiting():
                    for statement in setup:
                        raw.query(statement)
                yield raw, watch
            except pymysql.Error as error:
                work.cancel.check()
                raise translate(error) from None
            finally:
                _finish(raw, server)
                pooled.invalidate()


def _descriptor(raw: Any) -> int | None:
    return raw._sock.fileno() if raw._sock else None


def is_mariadb(raw: Any) -> bool:
    """Whether a connection leads to MariaDB."""
    return "mariadb" in raw.server_version.lower()


def _finish(raw: Any, server: Server) -> None:
    """Close a connection, without reading what is left of a result."""
    if raw._result is not None and raw._result.unbuffered_active:
        raw._result.unbuffered_active = False
        # A server at work on the rest notices that nobody listens when its buffers are full, which may take long.
        with contextlib.suppress(OSError):
            server.end(Deadline(_SLICE))
    if raw.open:
        raw.close()


def break_off(raw: Any) -> None:
    """Shut a connection's socket: the server then rolls back."""
    with contextlib.suppress(OSError, AttributeError):  # it may be closed by now
        raw._sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def beside(raw: Any, seconds: float) -> Iterator[Any]:
    """A second connection to the same server as the same user, which waits so long at most."""
    patience = {"connect_timeout": seconds, "read_timeout": seconds, "write_timeout": seconds}
    place = {
        "host": raw.host,
        "port": raw.port,
        "unix_socket": raw.unix_socket,
        "ssl": raw.ctx if raw._ssl_required else None,
    }
    account = {"user": raw.user, "password": raw.password, "database": raw.db}
    with connect(**place, **account, **patience) as other:
        yield other


def _timed_out(error: pymysql.Error) -> bool:
    """Whether a time limit has passed; PyMySQL has no error of its own for that."""
    return "timed out" in str(error)


@contextmanager
def answered(raw: Any, seconds: float) -> Iterator[Any]:
    """A second connection, whose silence is a stalled network.

    Raises
    ------
    TransientError
        If it does not answer in so many seconds.
    """
    try:
        with beside(raw, seconds) as other:
            yield other
    except pymysql.OperationalError as error:
        if not _timed_out(error):
            raise
        message = f"the network to {raw.host}:{raw.port} stalled for {seconds:.0f} s: the server does not answer"
        raise TransientError(message, hint=STALLED) from None
