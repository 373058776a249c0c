"""A query's rows by ADBC's COPY path, over a watched connection of its own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import adbc_driver_manager as adbc
import adbc_driver_postgresql
import pyarrow as pa

from datapipe.data.links import Link, keep, take
from datapipe.data.pgbackend import BEGIN, END, IDENTITY, Backend, Road
from datapipe.data.sockets import Line, only_new, open_sockets
from datapipe.data.stream import Workspace
from datapipe.data.watch import Watch, watched
from datapipe.errors import DatapipeError, TransientError
from datapipe.settings import settings

_TRIES = 3  # to open a connection while no other thread opens one


@contextmanager
def copied(
    sql: str,
    session: Sequence[str],
    road: Road,
    work: Workspace,
    explain: Callable[[Exception], DatapipeError],
    *,
    kept: bool,
    alone: AbstractContextManager[Any],
) -> Iterator[Iterator[pa.RecordBatch]]:
    """The result of a query: read only, one snapshot.

    Parameters
    ----------
    session : sequence of str
        Statements that go before it, in its transaction.
    explain : callable
        Makes of the driver's error ours.
    kept : bool
        Whether the connection is one that was kept, if there is one, and is kept when all rows have been read.
    alone : context manager
        Held while a connection is opened.
    """
    with ExitStack() as stack:
        opening = _Opening(road, take(road.conninfo) if kept else None)
        backend, line = Backend(road), Line(opening.find)
        watching = stack.enter_context(ExitStack())
        watch = watching.enter_context(watched(backend, line, work.cancel, settings().network_timeout))
        opened, reading, unread = (stack.enter_context(ExitStack()) for _ in range(3))
        try:
            with watch.waiting():
                with alone:
                    connection = opening.connection(line, opened)
                _execute(connection, "; ".join([BEGIN, *session]))
                backend.identify(*_row(connection, f"SELECT {IDENTITY}"))
                statement = reading.enter_context(adbc.AdbcStatement(connection))
                statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(work.batch_bytes)})
                statement.set_sql_query(sql)
                handle, _ = statement.execute_query()
        except adbc.Error as error:
            work.cancel.check()
            raise explain(error) from None
        reader = reading.enter_context(_reader(handle))
        unread.callback(line.shut)  # else closing would read the rest

        def end() -> None:
            unread.pop_all()
            if not kept or opening.socket is None:
                return
            with contextlib.suppress(adbc.Error, TransientError):  # all rows are here
                reading.close()
                with watch.waiting():
                    _execute(connection, END)
                watching.close()  # from here on, nobody interrupts it
                if not work.cancel.cancelled:
                    keep(road.conninfo, Link(connection, opened.pop_all(), opening.socket, opening.made))

        yield _pulled(reader, end, watch, work, explain)


class _Opening:
    """The connection of one read: one that was kept, or a new one."""

    def __init__(self, road: Road, link: Link | None) -> None:
        self._road, self._link = road, link
        self._before = frozenset() if link else open_sockets()
        self.socket = link.descriptor if link else None  # its descriptor, if it can be told
        self.made = link.made if link else time.monotonic()

    def find(self) -> int | None:
        """The descriptor of its socket, while it is being made too."""
        return only_new(self._before, self._road.address) if self.socket is None else self.socket

    def connection(self, line: Line, stack: ExitStack) -> Any:
        """The connection, which ``stack`` closes, its line pinned if that can be."""
        if self._link is not None:
            line.pin()
            stack.push(self._link.resources)
            return self._link.connection
        database = stack.enter_context(adbc_driver_postgresql.connect(self._road.conninfo))
        for _ in range(_TRIES):
            self._before = open_sockets()
            connection = stack.enter_context(adbc.AdbcConnection(database))
            self.socket = self.find()  # before there is a second descriptor of it
            if line.pin() or not self._before:
                break
        return connection


def _execute(connection: adbc.AdbcConnection, sql: str) -> None:
    with adbc.AdbcStatement(connection) as statement:
        statement.set_sql_query(sql)
        statement.execute_update()


def _row(connection: adbc.AdbcConnection, sql: str) -> list[Any]:
    with adbc.AdbcStatement(connection) as statement:
        statement.set_options(**{"adbc.postgresql.use_copy": "false"})  # for one row, that is faster
        statement.set_sql_query(sql)
        handle, _ = statement.execute_query()
        with _reader(handle) as reader:
            return [column[0].as_py() for column in reader.read_all().columns]


def _reader(handle: Any) -> pa.RecordBatchReader:
    """A reader whose errors keep their SQLSTATE; the driver manager's own class for that is not public."""
    try:
        from adbc_driver_manager._reader import AdbcRecordBatchReader  # may move
    except ImportError:
        return pa.RecordBatchReader.from_stream(handle)
    return AdbcRecordBatchReader._import_from_c(handle.address)


def _pulled(
    reader: pa.RecordBatchReader,
    end: Callable[[], None],
    watch: Watch,
    work: Workspace,
    explain: Callable[[Exception], DatapipeError],
) -> Iterator[pa.RecordBatch]:
    while True:
        try:
            with watch.waiting():
                batch = reader.read_next_batch()
        except StopIteration:
            end()
            return
        except (OSError, pa.ArrowException, adbc.Error) as error:
            work.cancel.check()
            raise explain(error) from None
        yield batch
