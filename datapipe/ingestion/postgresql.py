"""PostgreSQL by ADBC's COPY path: the statement is described first, every type read in a form that is exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import adbc_driver_manager as adbc
import adbc_driver_postgresql
import psycopg
import pyarrow as pa
from psycopg.conninfo import make_conninfo
from psycopg.errors import error_from_result

from datapipe.data.casting import check_names
from datapipe.data.connections import shared
from datapipe.data.pgerrors import translate
from datapipe.data.stream import Stream, Workspace, limited
from datapipe.errors import DataError, DatapipeError, PlanError
from datapipe.ingestion.pgcolumns import Column, column_of, refused
from datapipe.plan import DatabaseUrl
from datapipe.plan.sqltext import rewrite

_DECLARED = """
SELECT format_type(oid, typmod) FROM unnest(%s::oid[], %s::int[]) WITH ORDINALITY AS t(oid, typmod, place)
ORDER BY place"""
# What texts look like must not depend on the server's or the role's own settings.
_SETTINGS = (
    "SET LOCAL client_encoding = 'UTF8'",
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL DateStyle = 'ISO'",
    "SET LOCAL IntervalStyle = 'postgres'",
    "SET LOCAL extra_float_digits = 1",
)


@contextmanager
def read_postgresql(query: str, parameters: Mapping[str, Any], url: DatabaseUrl, work: Workspace) -> Iterator[Stream]:
    """Rows of one query, streamed as Arrow batches from one snapshot.

    Raises
    ------
    PlanError
        If the query does not parse or names something that does not exist.
    DataError
        If a value has no exact counterpart, such as an infinite timestamp.
    """
    with ExitStack() as stack:
        pooled = ExitStack()
        conn = pooled.enter_context(shared().connect(url))
        stack.callback(pooled.close)
        raw: psycopg.Connection[Any] = conn.connection.driver_connection  # type: ignore[assignment]  # by our URL
        try:
            raw.execute("SET LOCAL client_encoding = 'UTF8'")  # a lent engine may have another
            sql = render(raw, query, parameters)
            columns = _describe(raw, sql)
        except psycopg.Error as error:
            raise translate(error) from None
        conn.rollback()
        schema = pa.schema([column.field for column in columns])
        session = _session_of(raw) if url.engine is not None else []
        if raw.info.server_version >= 140_000:  # a query ends soon after a client that was killed
            session = [*session, "SET LOCAL client_connection_check_interval = 500"]
        conninfo = make_conninfo(
            **(
                raw.info.get_parameters()
                | {"password": raw.info.password, "application_name": "datapipe", "client_encoding": "utf8"}
            )
        )
        pooled.close()  # the rows come over a connection of their own: a target may need this one

        def explain(error: Exception) -> DatapipeError:
            found = translate(error)
            located = _located(conninfo, session, sql, columns, work) if _may_be_located(found) else None
            return located or found

        select = _select(sql, columns, work.limit)
        batches = stack.enter_context(_copy(conninfo, session, select, work, explain))
        yield Stream(schema, limited(_decoded(batches, columns, schema), work.limit))


def render(raw: psycopg.Connection[Any], query: str, parameters: Mapping[str, Any]) -> str:
    """The query with its parameters as literals: COPY takes none."""
    if not parameters:
        return query
    template = rewrite(query, lambda name: f"%({name})s", lambda text: text.replace("%", "%%"))
    return psycopg.ClientCursor(raw).mogrify(template, {k: _listed(v) for k, v in parameters.items()})


def _listed(value: Any) -> Any:
    """A plan keeps lists as tuples, which psycopg would write as a row."""
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


def _describe(raw: psycopg.Connection[Any], sql: str) -> list[Column]:
    """The columns of a statement, from a description by the server; nothing is executed."""
    # A sub-query can only be a query, and cannot write.
    text = f"SELECT * FROM (\n{sql}\n) AS q".encode()
    connection = raw.pgconn
    for result in (connection.prepare(b"", text), connection.describe_prepared(b"")):
        if result.status not in (psycopg.pq.ExecStatus.COMMAND_OK, psycopg.pq.ExecStatus.TUPLES_OK):
            raise error_from_result(result, encoding=raw.info.encoding)
    count = result.nfields
    names = [(result.fname(i) or b"").decode() for i in range(count)]
    check_names(names, what="the query")
    oids, typmods = [result.ftype(i) for i in range(count)], [result.fmod(i) for i in range(count)]
    declared = [row[0] for row in raw.execute(_DECLARED, (oids, typmods)).fetchall()]
    return [column_of(*each) for each in zip(names, oids, typmods, declared, strict=True)]


def _select(sql: str, columns: list[Column], limit: int | None) -> str:
    if limit is None and all(column.expression == "{}" for column in columns):
        return sql
    inner = ", ".join(f"c{i}" for i in range(len(columns)))
    items = ", ".join(
        column.expression.replace("{0}", f"c{i}").replace("{}", f"c{i}") for i, column in enumerate(columns)
    )
    # The names do not matter: columns are taken by position.
    tail = f" LIMIT {limit}" if limit is not None else ""
    return f"SELECT {items} FROM (\n{sql}\n) AS q({inner}){tail}"


def _session_of(raw: psycopg.Connection[Any]) -> list[str]:
    """What a lent engine has set on its sessions: search_path, role, row security and the like."""
    rows = raw.execute(
        "SELECT format('SELECT set_config(%L, %L, true)', name, setting) FROM pg_settings"
        " WHERE source = 'session' AND context IN ('user', 'superuser') AND name <> 'application_name'"
    ).fetchall()
    role = raw.execute("SELECT format('SET LOCAL ROLE %I', current_user) WHERE current_user <> session_user").fetchall()
    raw.rollback()
    return [text for (text,) in [*rows, *role]]


def _may_be_located(error: DatapipeError) -> bool:
    """Whether a value is at fault. ADBC's own complaint, of an interval, has no SQLSTATE."""
    return isinstance(error, (DataError, PlanError)) or "overflow" in error.message


def _located(
    conninfo: str, session: Sequence[str], sql: str, columns: Sequence[Column], work: Workspace
) -> DataError | None:
    """The first value that cannot be read, by a second look at the rows: the error of the first says not where."""
    suspects = [(f"c{i}", column.field.name, column.refusal) for i, column in enumerate(columns) if column.refusal]
    if not suspects:
        return None
    names = ", ".join(f"c{i}" for i in range(len(columns)))
    wrong = [f"coalesce({refusal.condition.replace('{0}', name)}, false)" for name, _, refusal in suspects]
    look = (
        f"SELECT row_, {', '.join(wrong)} FROM (SELECT row_number() OVER () AS row_, q.* FROM (\n{sql}\n)"
        f" AS q({names})) AS r WHERE {' OR '.join(wrong)} ORDER BY row_ LIMIT 1"
    )
    try:
        with psycopg.connect(conninfo) as conn, work.cancel.hook(lambda: conn.cancel_safe(timeout=1)):
            conn.read_only = True
            for setup in (*session, *_SETTINGS):
                conn.execute(setup.encode())
            found = conn.execute(look.encode()).fetchone()
    except psycopg.Error:
        return None
    if found is None:
        return None
    row, *flags = found
    _, name, refusal = suspects[flags.index(True)]
    return refused(name, row, refusal.problem, refusal.cure)


@contextmanager
def _copy(
    conninfo: str,
    session: Sequence[str],
    sql: str,
    work: Workspace,
    explain: Callable[[Exception], DatapipeError],
) -> Iterator[Iterator[pa.RecordBatch]]:
    """The result of a query over an ADBC connection of its own: read only, one snapshot."""
    with ExitStack() as stack:
        try:
            database = stack.enter_context(adbc_driver_postgresql.connect(conninfo))
            connection = stack.enter_context(adbc.AdbcConnection(database))
            for setup in (
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                *session,
                *_SETTINGS,
            ):
                with adbc.AdbcStatement(connection) as statement:
                    statement.set_sql_query(setup)
                    statement.execute_update()
            statement = stack.enter_context(adbc.AdbcStatement(connection))
            statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(work.batch_bytes)})
            statement.set_sql_query(sql)
            stack.enter_context(work.cancel.hook(statement.cancel))
            handle, _ = statement.execute_query()
        except adbc.Error as error:
            work.cancel.check()
            raise explain(error) from None
        reader = stack.enter_context(_reader(handle))
        stack.callback(statement.cancel)  # else closing would read the rest
        yield _pulled(reader, work, explain)


def _reader(handle: Any) -> pa.RecordBatchReader:
    """A reader whose errors keep their SQLSTATE; the driver manager's own class for that is not public."""
    try:
        from adbc_driver_manager._reader import AdbcRecordBatchReader  # may move
    except ImportError:
        return pa.RecordBatchReader.from_stream(handle)
    return AdbcRecordBatchReader._import_from_c(handle.address)


def _pulled(
    reader: pa.RecordBatchReader, work: Workspace, explain: Callable[[Exception], DatapipeError]
) -> Iterator[pa.RecordBatch]:
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except (OSError, pa.ArrowException, adbc.Error) as error:
            work.cancel.check()
            raise explain(error) from None
        yield batch


def _decoded(batches: Iterator[pa.RecordBatch], columns: list[Column], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    first_row = 1
    for batch in batches:
        arrays = [column.decode(values, first_row) for column, values in zip(columns, batch.columns, strict=True)]
        first_row += batch.num_rows
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
