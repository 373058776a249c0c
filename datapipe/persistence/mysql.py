"""MySQL and MariaDB: LOAD DATA or INSERT of many rows, in one transaction on InnoDB, with the strictest settings."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa
import pymysql

from datapipe.data.mysql import JSON_COLUMNS, Server, beside, is_mariadb, mysql_connection
from datapipe.data.mysqlerrors import is_lost, translate
from datapipe.data.names import quote, quoted
from datapipe.data.sockets import Line
from datapipe.data.stream import Workspace
from datapipe.data.types import mysql_type, tag
from datapipe.data.watch import Watch
from datapipe.errors import DatapipeError, PlanError, SchemaError, TransientError
from datapipe.persistence import mysqlalter, mysqlbulk
from datapipe.persistence.mysqltext import Declared, sent_type
from datapipe.persistence.patience import WAIT, patiently
from datapipe.persistence.session import STAGE, CommitLost, Wire, Words
from datapipe.persistence.tables import Column, Ddl, Layout, Table, check_views
from datapipe.plan import DatabaseUrl
from datapipe.schemas import SchemaChange
from datapipe.schemas.kinds import Kind
from datapipe.settings import settings

_SQL_MODE = (
    "STRICT_ALL_TABLES,ANSI_QUOTES,NO_BACKSLASH_ESCAPES,NO_AUTO_VALUE_ON_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE,"
    "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
)
_SESSION = (
    "SET NAMES utf8mb4",
    f"SET SESSION sql_mode = '{_SQL_MODE}', time_zone = '+00:00', autocommit = 1, max_error_count = 64",
    # A slow source is no reason to give up.
    "SET SESSION net_read_timeout = 86400, net_write_timeout = 86400, wait_timeout = 86400",
    # Writers take turns by their own lock; gaps need none.
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
)
_NOW = "CONCAT(REPLACE(CAST(UTC_TIMESTAMP(6) AS CHAR), ' ', 'T'), 'Z')"
_COLUMNS = """
SELECT column_name, column_type, is_nullable = 'YES', column_default IS NOT NULL OR extra LIKE '%auto_increment%',
       character_set_name, collation_name, COALESCE(generation_expression, '') <> ''
FROM information_schema.columns WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ?
  ORDER BY ordinal_position"""
_JSON = JSON_COLUMNS.replace("%s", "?")
_LOCKED = 1205  # the error of a wait that was too long
_TABLE = """
SELECT t.table_type, t.engine, e.transactions FROM information_schema.tables t
LEFT JOIN information_schema.engines e ON e.engine = t.engine
WHERE t.table_schema = COALESCE(?, DATABASE()) AND t.table_name = ?"""
_INDEXES = """
SELECT index_name, column_name, sub_part, non_unique FROM information_schema.statistics
WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ?"""
_VIEWS = """
SELECT table_name, view_definition FROM information_schema.views WHERE table_schema = COALESCE(?, DATABASE())"""
_STAGES = """
SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema = DATABASE()
  AND table_type = 'BASE TABLE' AND LEFT(table_name, 15) = '_datapipe_stage'"""
_FIRST = "default '1970-01-01 00:00:01'"  # else some servers make a timestamp the time of each update, and no NULL
_MOST_KEY = 255  # characters of a text that is a key
_NAME_LENGTH = 64
_PATIENCE = 2.0  # seconds


@dataclass(frozen=True)
class MysqlSession:
    """One transaction on MySQL or MariaDB."""

    binary: ClassVar[None] = None
    raw: Any
    watch: Watch
    targets: list[Table] = field(default_factory=list)  # that were looked at
    absent: list[Table | str] = field(default_factory=list)  # tables and schemas that define() will create
    created: list[Table | str] = field(default_factory=list)  # those that are taken back if the load fails

    @property
    def mariadb(self) -> bool:
        """Whether it is MariaDB."""
        return is_mariadb(self.raw)

    @property
    def bulk(self) -> str:
        return mysqlbulk.statement(self.raw)

    @property
    def words(self) -> Words:
        # Text is compared exactly, as by every other database here.
        exact = "utf8mb4_nopad_bin" if self.mariadb else "utf8mb4_0900_bin"
        held = f"CREATE TABLE IF NOT EXISTS {_locks()} ({_LOCK_COLUMNS}) ENGINE=MEMORY DEFAULT CHARACTER SET utf8mb4"
        return Words(
            now=_NOW,
            key="varchar(255)",
            text="longtext",
            schemas=False,
            lasting=True,
            mark="`",
            moment="UTC_TIMESTAMP(6)",  # the session is in UTC
            lookup="INDEX ({keys})",
            drop="DROP TEMPORARY TABLE",
            options=f" ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE {exact}",
            further=(held,),
            stages=_STAGES,
        )

    def lock(self, name: str, owner: str) -> str | None:
        # A lock is the whole server's, and its name is short. A target's name tells its database, the others do not.
        ((database,),) = self.query("SELECT DATABASE()")
        scope = "" if name.startswith("target ") else database
        key = hashlib.sha256(f"datapipe {scope} {name}".encode()).hexdigest()[:60]
        ((taken,),) = self.query("SELECT GET_LOCK(?, 0)", key)
        with contextlib.suppress(pymysql.Error):  # holders are told where their table is there and may be written
            if taken:
                self.query(f"DELETE FROM {_locks()} WHERE IS_USED_LOCK(name) IS NULL")  # those of runs that have ended
                text = f"REPLACE INTO {_locks()} VALUES (?, ?, ?, CONNECTION_ID())"
                self.query(text, key, f"run {owner}", self.scalar(f"SELECT {_NOW}"))
                return None
            text = f"SELECT holder, since FROM {_locks()} WHERE name = ? AND connection = IS_USED_LOCK(?)"
            for holder, since in self.query(text, key, key):
                return f"{holder} since {since[:19].replace('T', ' ')} UTC"
        return None if taken else "another run"

    def turn(self, place: str) -> str:
        return f"target {place}"

    def place(self, table: Table) -> str:
        ((database, folded),) = self.query("SELECT DATABASE(), @@lower_case_table_names")
        name = f"{table.schema or database}.{table.name}"
        return name.lower() if int(folded) else name

    def begin(self) -> None:
        """define() begins it: DDL would commit it."""

    def define(self, statements: Sequence[str]) -> None:  # as the protocol calls it
        self.created.extend(self.absent if statements else ())
        for ddl in statements:
            if ddl.startswith("ALTER TABLE"):
                patiently(functools.partial(self._altered, ddl))
            else:
                self.execute(ddl)
        self.execute("START TRANSACTION")

    def _altered(self, ddl: str) -> bool:
        self.execute(f"SET SESSION lock_wait_timeout = {WAIT}")
        try:
            with self.watch.waiting():
                self.raw.query(ddl)
        except pymysql.Error as error:
            if error.args and error.args[0] == _LOCKED:
                return False
            raise translate(error, first_row=None) from None
        finally:
            with contextlib.suppress(DatapipeError):  # the connection may be gone
                self.execute("SET SESSION lock_wait_timeout = DEFAULT")
        return True

    def commit(self) -> None:
        try:
            with self.watch.waiting():
                self.raw.query("COMMIT")
        except (TransientError, pymysql.Error) as error:
            if isinstance(error, pymysql.Error) and not is_lost(error):
                raise
            self.created.clear()  # what was made may hold rows
            raise CommitLost from None
        self.created.clear()

    def exists(self, table: Table) -> bool:
        return bool(self.query(_TABLE, table.schema, table.name))

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.watch.waiting(), self.raw.cursor() as cursor:
            cursor.execute(sql.replace("%", "%%").replace("?", "%s") if values else sql, values or None)
            return list(cursor.fetchall())

    def merge(
        self,
        table: Table,
        columns: Sequence[Column],
        casts: Sequence[str | None],  # noqa: ARG002  # no text is cast here
        source: str,
        keys: Sequence[str],
    ) -> tuple[str, ...]:
        # ON DUPLICATE KEY would update by any unique index, so the declared key is matched by hand.
        rows = f"{source} AS s" if source == STAGE.sql else f"(SELECT * FROM {source}) AS s"
        names, rest = [c.name for c in columns], [c.name for c in columns if c.name not in keys]
        by_name = {column.name: column for column in columns}
        same = " AND ".join(f"t.{quote(key)} = {by_name[key].compared.format(f's.{quote(key)}')}" for key in keys)
        updates = ", ".join(f"t.{quote(name)} = s.{quote(name)}" for name in rest)
        update = f"UPDATE {table.sql} AS t JOIN {rows} ON {same} SET {updates}"
        items = ", ".join(f"s.{quote(name)}" for name in names)
        insert = f"INSERT INTO {table.sql} ({quoted(names)})\nSELECT {items} FROM {rows}"
        if not keys:
            return (insert,)
        absent = f"{insert}\nLEFT JOIN {table.sql} AS t ON {same} WHERE t.{quote(keys[0])} IS NULL"
        return (update, absent) if rest else (absent,)

    def layout(self, table: Table, *, keyed: bool) -> Layout | None:  # noqa: ARG002  # it costs little
        check_names(filter(None, (table.schema, table.name)))
        self.targets.append(table)
        found = self.query(_TABLE, table.schema, table.name)
        if not found:
            self.absent.append(table)
            return None
        ((kind, engine, transactions),) = found
        if transactions != "YES":
            what = "a view" if kind == "VIEW" else f"of engine {engine}, which has no transactions"
            raise PlanError(f"table {table} is {what}", hint="Write to a table of engine InnoDB")
        json = {name for (name,) in self.query(_JSON, table.schema, table.name)} if self.mariadb else set()
        statistics = self.query(_INDEXES, table.schema, table.name)
        indexed = {name for _, name, *_ in statistics}
        columns = tuple(
            Column(
                name,
                self._spelled("json" if name in json else type_, charset),
                bool(nullable),
                bool(optional or generated),
                collation=f"character set {charset} collate {collation}" if charset else "",
                compared=_compared(charset, collation),
                generated=bool(generated),
                declared=type_,
                # Not every text can be indexed; of these, some are padded.
                fixed=(charset is not None and name in indexed) or type_.startswith("char"),
            )
            for name, type_, nullable, optional, charset, collation, generated in self.query(
                _COLUMNS, table.schema, table.name
            )
        )
        indexes: dict[str, set[str]] = {}
        partial = set()
        for index, name, part, repeats in statistics:
            if not repeats:
                indexes.setdefault(index, set()).add(name)
                partial |= {index} if part is not None or name is None else set()
        return Layout(columns, tuple(frozenset(names) for index, names in indexes.items() if index not in partial))

    def _spelled(self, type_: str, charset: str | None) -> str:
        """A column's type with its character set, so that a temporary table refuses, with the row, what it refuses."""
        if type_.startswith("timestamp"):
            return f"{type_} null"
        if not self.mariadb or charset is None or (charset == "utf8mb4" and type_ != "json"):
            return type_
        chosen = "" if type_ == "json" else f" character set {charset}"
        return f"{type_}{chosen} collate {charset}_nopad_bin"

    def column_type(self, field: pa.Field, *, key: bool = False) -> str:
        check_names([field.name])
        found = mysql_type(field, mariadb=self.mariadb)
        if found.startswith("timestamp"):
            return f"{found} {_FIRST if key else 'null'}"
        short = {"longtext": f"varchar({_MOST_KEY})", "longblob": f"varbinary({_MOST_KEY})"}
        return short.get(found, found) if key else found

    def kind(self, column: Column) -> Kind:
        return mysqlalter.mysql_kind(column.type)

    def alter(self, table: Table, changes: Sequence[SchemaChange]) -> tuple[Ddl, ...]:
        check_views(table, changes, self.query(_VIEWS, table.schema))
        ((_, definition, *_),) = self.query(f"SHOW CREATE TABLE {table.sql}")
        return mysqlalter.alter(table, changes, definition)

    def wire(self, field: pa.Field, column: Column) -> Wire:
        found, declared = sent_type(column.type, field.type), Declared.of(column.type)
        if found is None:
            message = f"column {column.name!r} is {column.type}, which datapipe does not write exactly"
            raise SchemaError(message, column=column.name, hint="Alter the column, or leave it out")
        limit = declared.numbers[0] if declared.name in {"char", "varchar"} else None
        padded = declared.name == "char" and (tag(field) or "").startswith("char(")
        is_json = declared.name == "json" and tag(field) not in {"json", "jsonb"}
        return Wire(found, longest=limit, padded=padded, json=is_json, nulls=column.nullable)

    def create_schema(self, name: str) -> str | None:
        found = self.query("SELECT 1 FROM information_schema.schemata WHERE schema_name = ?", name)
        if found:
            return None
        self.absent.append(name)
        return f"CREATE DATABASE {quote(name)} CHARACTER SET utf8mb4"

    def execute(self, sql: str) -> int:
        try:
            with self._keys_named(), self.watch.waiting():
                return int(self.raw.query(sql))
        except pymysql.Error as error:
            raise translate(error, first_row=None) from None

    def attempt(self, statements: Sequence[str]) -> int:  # as the protocol calls it
        return sum(self.execute(statement) for statement in statements)

    def numbered(self, table: Table) -> str | None:  # noqa: ARG002  # the server names the row itself
        return None

    def scalar(self, sql: str) -> Any:
        rows = self.query(sql)
        return rows[0][0] if rows else None

    def refused(self, table: Table, column: str, cast: str) -> int | None:  # noqa: ARG002  # no text is cast here
        return None

    def copy(
        self, table: Table, columns: Sequence[Column], schema: pa.Schema, batches: Iterator[pa.RecordBatch]
    ) -> int:
        with self._keys_named(), self.watch.waiting():
            return mysqlbulk.copy(self.raw, table, columns, schema, self.watch.pausing(batches))

    @contextmanager
    def _keys_named(self) -> Iterator[None]:
        """Name the columns of a unique index that is broken; the server tells the index."""
        try:
            yield
        except pymysql.IntegrityError as error:
            raise translate(error, columns=self._columns_of) from None

    def _columns_of(self, index: str) -> str:
        for table in self.targets:
            found = [name for key, name, *_ in self.query(_INDEXES, table.schema, table.name) if key == index]
            if found:
                return ", ".join(map(str, found))
        return index


def check_names(names: Iterable[str]) -> None:
    """Refuse names that MySQL does not take.

    Raises
    ------
    PlanError
        If one has more than 64 characters, a NUL, or a blank at its end.
    """
    for name in names:
        if len(name) > _NAME_LENGTH or "\0" in name or name.endswith(" "):
            hint = f"Names have at most {_NAME_LENGTH} characters, no NUL, and no blank at the end"
            raise PlanError(f"{name!r} cannot be a name in MySQL", hint=hint)


_LOCK_COLUMNS = "name varchar(60) PRIMARY KEY, holder varchar(300), since varchar(40), connection bigint"


def _locks() -> str:
    """The table that says who holds a lock, for people; the lock itself is the server's."""
    return quote(f"{settings().internal_schema}_locks")


def _compared(charset: str | None, collation: str | None) -> str:
    """A text as the column compares it; one that the column cannot hold is like nothing that it holds."""
    if charset is None:
        return "{0}"
    converted = f"CONVERT({{0}} USING {charset}) COLLATE {collation}"
    if charset == "utf8mb4":
        return converted
    return f"CASE WHEN CONVERT(CONVERT({{0}} USING {charset}) USING utf8mb4) = {{0}} THEN {converted} END"


@contextmanager
def mysql_session(url: DatabaseUrl, work: Workspace) -> Iterator[MysqlSession]:
    """A session on a connection of its own; a table it created goes again if the load fails."""
    session: MysqlSession | None = None
    try:
        with mysql_connection(url, work, _SESSION) as (raw, watch):
            if not raw.db:
                raise PlanError("the URL names no database", hint="Add it: mysql://user@host/database")
            session = MysqlSession(raw, watch)
            yield session
    finally:
        if session is not None and session.created:
            # Where it cannot be, the empty table stays; the load's own error is what counts.
            with contextlib.suppress(pymysql.Error, OSError, DatapipeError), beside(session.raw, _PATIENCE) as other:
                watch = Watch(Server(other), Line(lambda: None), _PATIENCE)
                _take_back(MysqlSession(other, watch), session.created)


def _take_back(session: MysqlSession, created: Sequence[Table | str]) -> None:
    """Drop what a failed load created, unless somebody has put something into it since."""
    for statement in (*_SESSION, "SET SESSION lock_wait_timeout = 1"):
        session.execute(statement)
    for table in [made for made in created if isinstance(made, Table)]:
        # The lock says that the failed load's transaction is over, and that no other of ours has begun.
        turn, until = session.turn(session.place(table)), time.monotonic() + _PATIENCE
        while (holder := session.lock(turn, "cleanup")) and time.monotonic() < until:
            time.sleep(0.05)
        if not holder and session.exists(table):
            session.execute(f"LOCK TABLES {table.sql} WRITE")  # nobody writes between the look and the end
            if not session.query(f"SELECT 1 FROM {table.sql} LIMIT 1"):
                session.execute(f"DROP TABLE {table.sql}")
            session.execute("UNLOCK TABLES")
    for schema in [made for made in created if isinstance(made, str)]:
        if not session.query("SELECT 1 FROM information_schema.tables WHERE table_schema = ?", schema):
            session.execute(f"DROP DATABASE IF EXISTS {quote(schema)}")
