"""PostgreSQL by ADBC's COPY path: the statement is described first, every type read in a form that is exact."""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import pq
from psycopg.errors import error_from_result

from datapipe.data.asking import Asked, Choose, everything, is_ordered, narrowed
from datapipe.data.casting import check_names
from datapipe.data.connections import shared
from datapipe.data.pgbackend import IDENTITY, Road, psycopg_of, results, session_name, watched_backend
from datapipe.data.pgerrors import translate
from datapipe.data.stream import Block, Encoded, Stream, Workspace, limited
from datapipe.errors import DataError, DatapipeError, PlanError, TransientError
from datapipe.ingestion.bounds import bound_sql
from datapipe.ingestion.pgcolumns import Column, column_of, needs_declared, refused
from datapipe.ingestion.pgrelay import relayed
from datapipe.ingestion.pgrepeat import differs
from datapipe.ingestion.ranges import Cutting, Range, find_column, numbered
from datapipe.plan import DatabaseUrl
from datapipe.plan.sqltext import rewrite

_DECLARED = """
SELECT format_type(oid, typmod) FROM unnest(%s::oid[], %s::int[]) WITH ORDINALITY AS t(oid, typmod, place)
ORDER BY place"""
_BEGUN = f"SELECT {IDENTITY}, set_config('client_encoding', 'UTF8', true)"  # a lent engine may have another
_NAMED = "set_config('application_name', '{}', true)"
# What texts look like must not depend on the server's or the role's own settings.
_SETTINGS = (
    "SET LOCAL client_encoding = 'UTF8'",
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL DateStyle = 'ISO'",
    "SET LOCAL IntervalStyle = 'postgres'",
    "SET LOCAL extra_float_digits = 1",
)


@dataclass(frozen=True)
class Query:
    """A query that the server has described, and how to read it.

    Parameters
    ----------
    sql : str
        With its parameters as literals.
    columns : list of Column
    types : tuple of str
        As the server spells them; empty where that was not asked.
    road : Road
        To the server.
    session : tuple of str
        Statements that go before it, in its transaction.
    asked : Asked
        What it reads of what was given.
    kept : bool
        Whether connections may be kept for the next read: not those of a lent engine.
    differs : str, optional
        What may make its rows others on another connection, where that was asked.
    """

    sql: str
    columns: list[Column]
    types: tuple[str, ...]
    road: Road
    session: tuple[str, ...]
    asked: Asked
    kept: bool
    differs: str | None = None

    @property
    def schema(self) -> pa.Schema:
        """The columns as they are handed on."""
        return pa.schema([column.field for column in self.columns])


@contextmanager
def read_postgresql(
    query: str,
    parameters: Mapping[str, Any],
    url: DatabaseUrl,
    work: Workspace,
    choose: Choose = everything,
    *,
    cut: Cutting | Range | None = None,
    encoded: bool = False,
) -> Iterator[Stream]:
    """Rows of one query, streamed as Arrow batches from one snapshot.

    Parameters
    ----------
    cut : Cutting or Range, optional
        How to cut the rows into ranges, which are read side by side; or the only one of them to read. A sample is read
        as one, and so is what could differ between connections.
    encoded : bool
        Whether they are also to be had as the server encodes them; then reading begins with the first pull.

    Raises
    ------
    PlanError
        If the query does not parse or names something that does not exist.
    DataError
        If a value has no exact counterpart, such as an infinite timestamp.
    """
    if cut is not None:  # the ranges are of one of all columns
        choose, encoded = everything, False
    cutting = cut if isinstance(cut, Cutting) else None
    found = described(query, parameters, url, work, cutting, choose=choose, declare=encoded)
    if encoded:
        with closing(_late(rows_of(found, work))) as batches, closing(_relayed(found, work)) as blocks:
            yield Stream(found.schema, batches, encoded=Encoded(found.types, blocks))
        return
    if cutting is not None and work.limit is None and not found.differs:
        from datapipe.ingestion.pgranges import read_ranges

        with read_ranges(found, cutting, work) as batches:
            yield Stream(found.schema, batches)
        return
    if found.differs and work.limit is None:
        work.tell(as_one(found.differs))
    with rows_of(found, work, cut if isinstance(cut, Range) else None) as batches:
        yield Stream(found.schema, limited(batches, work.limit), asked=found.asked)


def _late(opened: AbstractContextManager[Iterator[pa.RecordBatch]]) -> Generator[pa.RecordBatch, None, None]:
    """The same batches, opened at the first pull."""
    with opened as batches:
        yield from batches


def _relayed(found: Query, work: Workspace) -> Generator[Block, None, None]:
    explain = functools.partial(_explained, found, work)
    return relayed(found.sql, found.session, found.road, work, explain, kept=found.kept)


def described(
    query: str,
    parameters: Mapping[str, Any],
    url: DatabaseUrl,
    work: Workspace,
    cutting: Cutting | None = None,
    *,
    choose: Choose = everything,
    declare: bool = False,
) -> Query:
    """What the server says of a query; nothing is executed.

    Parameters
    ----------
    declare : bool
        Whether the names of all its types are wanted.

    Raises
    ------
    PlanError
        If it does not parse or names something that does not exist, or cannot be cut so.
    """
    with shared().connect(url, work.cancel) as conn:
        raw = psycopg_of(conn, url)
        try:
            with watched_backend(raw, work.cancel) as (watch, backend), watch.waiting():
                begun = f"{_BEGUN}, {_NAMED.format(session_name())}"
                backend.identify(*raw.execute(begun.encode()).fetchone()[:2])  # type: ignore[index]  # a row
                columns, types, origins = _describe(raw, render(raw, query, parameters), declare=declare)
                stored = _stored(raw, origins) if choose is not everything else set()
                why = None
                if cutting is not None:
                    find_column(cutting, pa.schema([column.field for column in columns]))
                    why = differs(raw, render(raw, query, parameters))
                raw.rollback()
                lent = _session_of(raw) if url.engine is not None else []
        except psycopg.Error as error:
            work.cancel.check()
            raise translate(error) from None
        deciding = {c.field.name for c, table in zip(columns, origins, strict=True) if table in stored and _decides(c)}
        asked = _asked(query, pa.schema([column.field for column in columns]), deciding, choose)
        sql = render(raw, str(asked.sql), parameters)
        columns = [column for column in columns if column.field.name in asked.ask.names(asked.schema)]
        # A query ends soon after a client that was killed.
        check = ["SET LOCAL client_connection_check_interval = 500"] if raw.info.server_version >= 140_000 else []
        name = f"SET LOCAL application_name = '{session_name()}'"  # not beyond this read: the connection may be kept
        session = (*lent, *check, *_SETTINGS, name)
        # The owner of a lent engine closes what is open by disposing of it, so nothing else is to stay open there.
        return Query(sql, columns, types, Road.of(raw), session, asked, kept=url.engine is None, differs=why)


def _asked(query: str, schema: pa.Schema, deciding: Set[str], choose: Choose) -> Asked:
    """What is read of a query, whose server can decide conditions on some columns."""
    ask = choose(schema).granted(schema, lambda each: each.column in deciding and not is_ordered(query), lambda _: True)
    bounds = filter(None, (bound_sql(each, "postgresql") for each in ask.bounds))
    return Asked(schema, ask, narrowed(query, ask, schema.names, bounds=list(bounds)))


def as_one(why: str) -> str:
    """The note about a query that is not read in partitions."""
    return f"the source was read as one, not in partitions: {why} may give other rows on another connection"


@contextmanager
def rows_of(found: Query, work: Workspace, part: Range | None = None) -> Iterator[Iterator[pa.RecordBatch]]:
    """The rows of a query, decoded: all, or those of one range.

    They come over a connection of their own: a target may need the pooled one.
    """
    from datapipe.ingestion.pgcopy import copied  # loads ADBC

    condition = part.condition if part else None
    sql = _select(found.sql, found.columns, work.limit, condition)
    explain = functools.partial(_explained, found, work, part=part)
    before = (f"SET TRANSACTION SNAPSHOT '{part.snapshot.name}'",) if part else ()
    alone = part.snapshot.opening if part else nullcontext()
    session = (*before, *found.session)
    copying = copied(sql, session, found.road, work, explain, kept=found.kept, alone=alone)
    with numbered(part) if part else nullcontext(), copying as batches:
        yield _decoded(batches, found.columns, found.schema)


def _explained(found: Query, work: Workspace, error: Exception, *, part: Range | None = None) -> DatapipeError:
    """The driver's error as ours, with the value that is at fault, if one is."""
    ours = translate(error)
    if part is not None and "snapshot" in ours.message:
        return TransientError(f"the partitions' snapshot is gone ({ours.message})", hint="Try again")
    condition = part.condition if part else None
    source = _select(found.sql, found.columns, None, condition, plain=True) if condition else found.sql
    may = _may_be_located(ours)
    located = _located(found.road.conninfo, found.session, source, found.columns, work) if may else None
    return located or ours


def render(raw: psycopg.Connection[Any], query: str, parameters: Mapping[str, Any]) -> str:
    """The query with its parameters as literals: COPY takes none."""
    if not parameters:
        return query
    template = rewrite(query, lambda name: f"%({name})s", lambda text: text.replace("%", "%%"))
    return psycopg.ClientCursor(raw).mogrify(template, {k: _listed(v) for k, v in parameters.items()})


def _listed(value: Any) -> Any:
    """A plan keeps lists as tuples, which psycopg would write as a row."""
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


def _describe(
    raw: psycopg.Connection[Any], sql: str, *, declare: bool
) -> tuple[list[Column], tuple[str, ...], list[int]]:
    """The columns of a statement, their types' names, and the table each comes from; nothing is executed.

    Parameters
    ----------
    declare : bool
        Whether the names of all types are wanted, rather than of those that need it.
    """
    # A sub-query can only be a query, and cannot write.
    text = f"SELECT * FROM (\n{sql}\n) AS q".encode()
    connection = raw.pgconn
    connection.send_prepare(b"", text)
    _checked(raw)
    connection.send_describe_prepared(b"")
    result = _checked(raw)
    count = result.nfields
    names = [(result.fname(i) or b"").decode() for i in range(count)]
    check_names(names, what="the query")
    oids, typmods = [result.ftype(i) for i in range(count)], [result.fmod(i) for i in range(count)]
    declared = [""] * count
    if declare or any(map(needs_declared, oids)):
        declared = [row[0] for row in raw.execute(_DECLARED, (oids, typmods)).fetchall()]
    columns = [column_of(*each) for each in zip(names, oids, typmods, declared, strict=True)]
    return columns, tuple(declared), [result.ftable(i) for i in range(count)]


def _stored(raw: psycopg.Connection[Any], origins: Sequence[int]) -> set[int]:
    """Those that are tables. A condition on what is computed might be looked at before one that guards it."""
    sql = "SELECT oid FROM pg_class WHERE oid = ANY(%s::oid[]) AND relkind IN ('r', 'p', 'm')"
    return {oid for (oid,) in raw.execute(sql, (list(set(origins)),)).fetchall()}


def _decides(column: Column) -> bool:
    """Whether the server compares a column as DuckDB compares what becomes of it."""
    return column.expression == "{}" or pa.types.is_decimal(column.field.type)


def _checked(raw: psycopg.Connection[Any]) -> pq.abc.PGresult:
    result = results(raw.pgconn)[-1]
    if result.status != pq.ExecStatus.COMMAND_OK:
        raise error_from_result(result, encoding=raw.info.encoding)
    return result


def _select(
    sql: str, columns: list[Column], limit: int | None, condition: str | None = None, *, plain: bool = False
) -> str:
    """The query that asks for each column as it is read, or as it is if ``plain``; ``condition`` calls them c0, c1 …"""
    if limit is None and condition is None and all(column.expression == "{}" for column in columns):
        return sql
    inner = ", ".join(f"c{i}" for i in range(len(columns)))
    items = ", ".join(
        column.expression.replace("{0}", f"c{i}").replace("{}", f"c{i}") for i, column in enumerate(columns)
    )
    # The names do not matter: columns are taken by position.
    tail = (f" WHERE {condition}" if condition else "") + (f" LIMIT {limit}" if limit is not None else "")
    return f"SELECT {inner if plain else items} FROM (\n{sql}\n) AS q({inner}){tail}"


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
            for setup in session:
                conn.execute(setup.encode())
            found = conn.execute(look.encode()).fetchone()
    except psycopg.Error:
        return None
    if found is None:
        return None
    row, *flags = found
    _, name, refusal = suspects[flags.index(True)]
    return refused(name, row, refusal.problem, refusal.cure)


def _decoded(batches: Iterator[pa.RecordBatch], columns: list[Column], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    first_row = 1
    for batch in batches:
        arrays = [column.decode(values, first_row) for column, values in zip(columns, batch.columns, strict=True)]
        first_row += batch.num_rows
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
