"""What a load asks of a database: one connection, its transaction, and how rows are sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from datapipe.data.stream import Block
from datapipe.persistence.tables import Column, Ddl, Layout, Table
from datapipe.schemas import SchemaChange
from datapipe.schemas.kinds import Kind

STAGE = Table("_datapipe_stage")
ROW_NUMBER = "_datapipe_row"


@dataclass(frozen=True)
class Wire:
    """How a column is sent."""

    arrow: pa.DataType
    cast: str | None = None  # the type the server makes of it, when it is sent as text
    direct: bool = True  # whether the table takes it as it is, without a temporary one
    sure: bool = False  # whether each text is known to be of the type ``cast``
    ordered: bool = True  # whether the server orders what is sent as the data are ordered
    longest: int | None = None  # characters of a text, where the server would cut blanks without a word
    padded: bool = False  # whether blanks at the end are padding, which the server adds by itself
    json: bool = False  # whether a text must be JSON, where the server would not tell the row that is not
    nulls: bool = True  # whether a NULL may be sent, where the server might take it for the default
    required: bool = False  # whether the temporary table is to refuse NULL, as nobody else looks


class CommitLost(Exception):  # noqa: N818  # a question, which the ledger answers
    """The connection broke at COMMIT: the server knows whether it happened, we do not."""


@dataclass(frozen=True)
class Words:
    """What the ledger, stages, comparisons of keys and cleanup need to know of a database's language."""

    now: str  # the time in UTC as ISO 8601 text with microseconds and a Z
    moment: str = "CURRENT_TIMESTAMP"  # the time as a value of a column for moments
    key: str = "text"  # a type for names and hashes, which can be indexed
    text: str = "text"  # a type for long texts
    schemas: bool = True  # whether datapipe's own tables have a schema, rather than a prefix
    together: bool = False  # whether the ledger is created with the first load, rather than before it
    lasting: bool = False  # whether DDL commits by itself
    mark: str = '"'  # what quotes a name in the statements a user may be shown to run
    options: str = ""  # what follows CREATE TABLE (…)
    lookup: str = ""  # the index of a temporary table of {keys}, where it is none that a join makes by itself
    unrepeated: bool = False  # whether a merge that updates refuses a key that comes twice
    drop: str = "DROP TABLE"  # for a temporary table, so that the transaction goes on
    further: tuple[str, ...] = ()  # what is created beside the ledger
    stages: str = (  # a query for the stages that are no temporary tables: schema and name
        "SELECT table_schema, table_name FROM information_schema.tables "
        "WHERE table_type = 'BASE TABLE' AND substr(table_name, 1, 15) = '_datapipe_stage'"
    )


class Binary(Protocol):
    """Takes rows as PostgreSQL encodes them."""

    def takes(self, types: Sequence[str], columns: Sequence[Column]) -> bool:
        """Whether values of these types are sent as values of these columns are."""

    def copy(self, table: Table, columns: Sequence[Column], keys: Set[str], blocks: Iterator[Block]) -> int:
        """Bulk-load blocks; the number of rows. The table refuses NULL in the keys."""


class Session(Protocol):
    """One connection that is about to write, and its transaction. Leaving it rolls back what was not committed.

    The order of calls is lock, begin, (layout, wire, …), define, (execute, copy, merge, …), commit.
    """

    @property
    def bulk(self) -> str:
        """The statement that carries rows, with {table} and {columns}."""

    @property
    def words(self) -> Words:
        """The database's language."""

    @property
    def binary(self) -> Binary | None:
        """What takes rows as PostgreSQL encodes them, if the database does."""

    def lock(self, name: str, owner: str) -> str | None:
        """Take a lock until the session ends, without waiting; who has it, for people, if it is taken."""

    def place(self, table: Table) -> str:
        """The table's full name, the same however the plan spells it."""

    def turn(self, place: str) -> str:
        """The name of the lock that the writers of a table share, from its full name."""

    def begin(self) -> None:
        """Begin the transaction."""

    def define(self, statements: Sequence[str]) -> None:
        """Run DDL, in the transaction where the database can; begins it where DDL would commit it."""

    def commit(self) -> None:
        """COMMIT, and nothing else.

        Raises
        ------
        CommitLost
            If the connection broke, so that the outcome is not known here.
        """

    def exists(self, table: Table) -> bool:
        """Whether there is such a table."""

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement with ``?`` for its values; its rows, if it has any."""

    def merge(
        self, table: Table, columns: Sequence[Column], casts: Sequence[str | None], source: str, keys: Sequence[str]
    ) -> tuple[str, ...]:
        """The statements that take rows from ``source`` to the table; with keys, rows that are there are updated."""

    def layout(self, table: Table, *, keyed: bool) -> Layout | None:
        """The table's layout, or None if there is none; for a load without keys, what is unique may be left out."""

    def column_type(self, field: pa.Field, *, key: bool = False) -> str:
        """The type to create a column with; not every type can be a key."""

    def kind(self, column: Column) -> Kind:
        """What a column can hold."""

    def alter(self, table: Table, changes: Sequence[SchemaChange]) -> tuple[Ddl, ...]:
        """The statements that change a table so; reads the catalogue, changes nothing.

        Raises
        ------
        SchemaError
            If the database cannot, naming what stands in the way.
        """

    def wire(self, field: pa.Field, column: Column) -> Wire:
        """How to send a field into a column."""

    def create_schema(self, name: str) -> str | None:
        """The statement that creates a schema, if it is not there."""

    def execute(self, sql: str) -> int:
        """Run a statement; the number of rows it touched."""

    def attempt(self, statements: Sequence[str]) -> int:
        """Run statements, after whose failure the transaction goes on; the number of rows they touched.

        Raises
        ------
        DataError
            If the rows break a constraint.
        """

    def numbered(self, table: Table) -> str | None:
        """The rows of a temporary table with their numbers in ROW_NUMBER; None where no transaction survives errors."""

    def scalar(self, sql: str) -> Any:
        """The first value of a query's first row."""

    def refused(self, table: Table, column: str, cast: str) -> int | None:
        """The first row of a temporary table whose text is not exactly of the type ``cast``."""

    def copy(
        self, table: Table, columns: Sequence[Column], schema: pa.Schema, batches: Iterator[pa.RecordBatch]
    ) -> int:
        """Bulk-load batches of exactly ``schema``; the number of rows."""
