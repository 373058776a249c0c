"""A query's rows as PostgreSQL encodes them, for another PostgreSQL to take: nobody decodes a value on the way."""

from __future__ import annotations

import contextlib
import select
import struct
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus

from datapipe.data.cancel import unless_cancelled
from datapipe.data.links import Link, keep, take
from datapipe.data.pgbackend import BEGIN, END, IDENTITY, Road, next_result, results, watched_backend
from datapipe.data.stream import Block, Workspace
from datapipe.data.watch import Watch
from datapipe.errors import DatapipeError, TransientError

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_EXTENSION = len(_SIGNATURE) + 4  # where the length of the header's extension is, behind the flags
_TRAILER = b"\xff\xff"
_BLOCK = 1 << 17  # bytes; more than the processor's cache holds only costs
# A row is two objects until it is joined. 700 are where the garbage collector looks at all there are: it took more
# time than the reading.
_ROWS = 250


def relayed(
    sql: str,
    session: Sequence[str],
    road: Road,
    work: Workspace,
    explain: Callable[[Exception], DatapipeError],
    *,
    kept: bool,
) -> Generator[Block, None, None]:
    """The result of a query: read only, one snapshot. It begins with the first pull.

    Parameters
    ----------
    session : sequence of str
        Statements that go before it, in its transaction.
    explain : callable
        Makes of the driver's error ours.
    kept : bool
        Whether the connection is one that was kept, if there is one, and is kept when all rows have been read.
    """
    server = f"psycopg {road.conninfo}"
    with ExitStack() as stack:
        try:
            link = take(server) if kept else None
            link = link or _connected(road, work)
            stack.push(link.resources)
            raw: psycopg.Connection[Any] = link.connection
            with watched_backend(raw, work.cancel) as (watch, backend):
                stack.callback(raw.close)  # else leaving would wait for the rest of the rows
                with watch.waiting():
                    raw.execute("; ".join([BEGIN, *session]).encode())
                    backend.identify(*raw.execute(f"SELECT {IDENTITY}".encode()).fetchone())  # type: ignore[misc]  # a row
                    _begin(raw, f"COPY (\n{sql}\n) TO STDOUT (FORMAT binary)")
                yield from _blocks(raw, watch, min(work.batch_bytes, _BLOCK))
                with watch.waiting(), contextlib.suppress(psycopg.Error, TransientError):  # all rows are here
                    raw.execute(END)
        except psycopg.Error as error:
            work.cancel.check()
            raise explain(error) from None
        if kept and not raw.closed and not work.cancel.cancelled:
            stack.pop_all()
            keep(server, link)


def _connected(road: Road, work: Workspace) -> Link:
    connect = lambda: psycopg.connect(road.conninfo, autocommit=True)  # noqa: E731  # a call for another thread
    raw: psycopg.Connection[Any] = unless_cancelled(connect, work.cancel, psycopg.Connection.close)
    resources = ExitStack()
    resources.callback(raw.close)
    return Link(raw, resources, raw.fileno(), time.monotonic())


def _begin(raw: psycopg.Connection[Any], sql: str) -> None:
    connection = raw.pgconn
    connection.send_query(sql.encode())
    result = next_result(connection)
    if result is None or result.status != ExecStatus.COPY_OUT:
        raise error_from_result(result, encoding=raw.info.encoding) if result else psycopg.OperationalError("no answer")


def _blocks(raw: psycopg.Connection[Any], watch: Watch, size: int) -> Iterator[Block]:
    is_first = is_more = True
    while is_more:
        with watch.waiting():
            messages, is_more = _messages(raw.pgconn, size)
            if not is_more:
                _check_end(raw)
        if is_first and messages:
            is_first, messages[0] = False, _without_header(bytes(messages[0]))
        # The trailer may be the last message of a block that is full. No row begins with its two bytes.
        rows = messages[:-1] if messages and messages[-1] == _TRAILER else messages
        if rows:
            yield Block(len(rows), b"".join(rows))


def _messages(connection: pq.abc.PGconn, size: int) -> tuple[list[Any], bool]:
    """The next messages of a COPY, at most about ``size`` bytes, and whether more follow: all but the last are rows."""
    found: list[Any] = []
    held, pull = 0, connection.get_copy_data
    while held < size and len(found) < _ROWS:
        count, message = pull(1)
        if count > 0:
            found.append(message)
            held += count
        elif count == 0:
            _wait(connection)
            connection.consume_input()
        else:
            return found, False
    return found, True


def _check_end(raw: psycopg.Connection[Any]) -> None:
    """Raise what the server says at last, if it is an error."""
    result = results(raw.pgconn)[-1]
    if result.status != ExecStatus.COMMAND_OK:
        raise error_from_result(result, encoding=raw.info.encoding)


def _without_header(message: bytes) -> bytes:
    """The first row; the server sends it in one message with the header.

    Examples
    --------
    >>> _without_header(_SIGNATURE + bytes(8) + b"row")
    b'row'
    """
    if not message.startswith(_SIGNATURE):
        raise psycopg.OperationalError("the server sends something else than a binary COPY")
    (further,) = struct.unpack_from("!I", message, _EXTENSION)
    return message[_EXTENSION + 4 + further :]


def _wait(connection: pq.abc.PGconn) -> None:
    """Wait for bytes; other threads run meanwhile, and none do in a blocking call of libpq."""
    look = select.poll()
    look.register(connection.socket, select.POLLIN)
    look.poll()
