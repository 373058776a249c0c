"""MySQL and MariaDB by PyMySQL: a connection of one's own for one read or write, and how to break it off."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pymysql

from datapipe.data.connections import shared
from datapipe.data.mysqlerrors import translate
from datapipe.data.stream import Workspace
from datapipe.errors import PlanError
from datapipe.plan import DatabaseUrl

Connection = pymysql.connections.Connection  # its cursors give rows as they come
# MariaDB's JSON is a long text with a check. Its names are asked for at once: a look at each column takes long.
JSON_COLUMNS = """
SELECT constraint_name FROM information_schema.check_constraints
WHERE constraint_schema = COALESCE(%s, DATABASE()) AND table_name = %s AND LEFT(check_clause, 11) = 'json_valid('"""
_BESIDE = 1  # seconds for a second connection, when the first is in trouble


@contextmanager
def mysql_connection(url: DatabaseUrl, work: Workspace, setup: Sequence[str]) -> Iterator[Any]:
    """A connection that is closed afterwards, so that what is set on it, or left unread, bothers nobody.

    Parameters
    ----------
    setup : sequence of str
        Statements to begin with.

    Raises
    ------
    PlanError
        If a lent engine has another driver than PyMySQL.
    """
    with shared().connect(url) as pooled:
        raw = pooled.connection.driver_connection
        if not isinstance(raw, Connection):
            hint = "Make it with create_engine('mysql+pymysql://…')"
            raise PlanError(f"the engine's driver is not PyMySQL but {type(raw).__module__}", hint=hint)
        pooled.detach()
        with work.cancel.hook(lambda: _end(raw)):
            try:
                for statement in setup:
                    raw.query(statement)
                yield raw
            except pymysql.Error as error:
                work.cancel.check()
                raise translate(error) from None
            finally:
                _finish(raw)
                pooled.invalidate()


def _finish(raw: Any) -> None:
    """Close a connection, without reading what is left of a result."""
    if raw._result is not None:
        raw._result.unbuffered_active = False
    if raw.open:
        raw.close()


def break_off(raw: Any) -> None:
    """Shut a connection's socket, from any thread: whoever waits on it gets an error."""
    with contextlib.suppress(OSError, AttributeError):  # it may be closed by now
        raw._sock.shutdown(socket.SHUT_RDWR)


def _end(raw: Any) -> None:
    """End a connection here, and on the server if it is at a statement: else it notices by itself."""
    idle = raw._result is not None and not raw._result.unbuffered_active
    break_off(raw)
    if idle:
        return
    with contextlib.suppress(pymysql.Error, OSError), beside(raw) as other:
        other.kill(raw.thread_id())


@contextmanager
def beside(raw: Any) -> Iterator[Any]:
    """A second connection to the same server as the same user, which does not wait long."""
    patience = {"connect_timeout": _BESIDE, "read_timeout": _BESIDE, "write_timeout": _BESIDE}
    place = {
        "host": raw.host,
        "port": raw.port,
        "unix_socket": raw.unix_socket,
        "ssl": raw.ctx if raw._ssl_required else None,
    }
    account = {"user": raw.user, "password": raw.password, "database": raw.db}
    connect: Any = pymysql.connect  # its stubs have one overload for each kind of encryption
    with connect(**place, **account, **patience) as other:
        yield other
