"""A query's rows by ADBC's COPY path, over a watched connection of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import adbc_driver_manager as adbc
import adbc_driver_postgresql
import pyarrow as pa

from datapipe.data.pgbackend import IDENTITY, Backend, Road
from datapipe.data.sockets import Line, only_new, open_sockets
from datapipe.data.stream import Workspace
from datapipe.data.watch import Watch, watched
from datapipe.errors import DatapipeError
from datapipe.settings import settings

_TRIES = 3  # to open a connection while no other thread opens one


@contextmanager
def copied(
    sql: str, session: Sequence[str], road: Road, work: Workspace, explain: Callable[[Exception], DatapipeError]
) -> Iterator[Iterator[pa.RecordBatch]]:
    """The result of a query: read only, one snapshot.

    Parameters
    ----------
    session : sequence of str
        Statements that go before it, in its transaction.
    explain : callable
        Makes of the driver's error ours.
    """
    with ExitStack() as stack:
        backend, before = Backend(road), open_sockets()
        line = Line(lambda: only_new(before, road.address))
        watch = stack.enter_context(watched(backend, line, work.cancel, settings().network_timeout))
        try:
            with watch.waiting():
                database = stack.enter_context(adbc_driver_postgresql.connect(road.conninfo))
                for _ in range(_TRIES):
                    before = open_sockets()
                    connection = stack.enter_context(adbc.AdbcConnection(database))
                    if line.pin() or not before:
                        break
                _execute(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                backend.identify(*_row(connection, f"SELECT {IDENTITY}"))
                for setup in session:
                    _execute(connection, setup)
                statement = stack.enter_context(adbc.AdbcStatement(connection))
                statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(work.batch_bytes)})
                statement.set_sql_query(sql)
                handle, _ = statement.execute_query()
        except adbc.Error as error:
            work.cancel.check()
            raise explain(error) from None
        reader = stack.enter_context(_reader(handle))
        unread = stack.enter_context(ExitStack())
        unread.callback(line.shut)  # else closing would read the rest
        yield _pulled(reader, unread, watch, work, explain)


def _execute(connection: adbc.AdbcConnection, sql: str) -> None:
    with adbc.AdbcStatement(connection) as statement:
        statement.set_sql_query(sql)
        statement.execute_update()


def _row(connection: adbc.AdbcConnection, sql: str) -> list[Any]:
    with adbc.AdbcStatement(connection) as statement:
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
    unread: ExitStack,
    watch: Watch,
    work: Workspace,
    explain: Callable[[Exception], DatapipeError],
) -> Iterator[pa.RecordBatch]:
    while True:
        try:
            with watch.waiting():
                batch = reader.read_next_batch()
        except StopIteration:
            unread.pop_all()
            return
        except (OSError, pa.ArrowException, adbc.Error) as error:
            work.cancel.check()
            raise explain(error) from None
        yield batch
