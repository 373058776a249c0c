"""What the first step asks of a source: the columns it needs, and the rows that it would leave out anyway."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

import pyarrow as pa

from datapipe.data.names import quote
from datapipe.plan.sqltext import outer_words, tokens

Operator = Literal["=", "<>", "<", "<=", ">", ">=", "IN", "IS NULL", "IS NOT NULL"]
Value = bool | int | Decimal | dt.date | dt.datetime

# Every row and column of one table, as source_sql writes it.
_TABLE = re.compile(r'SELECT \* FROM ((?:"(?:[^"]|"")+"\.)?"(?:[^"]|"")+")\Z')

_GATHERING = {"order", "group", "distinct", "union", "intersect", "except", "having", "over", "recursive"}


@dataclass(frozen=True)
class Condition:
    """A comparison of one column with values of its own kind; NULL fulfils none but IS NULL.

    Examples
    --------
    >>> print(Condition("d", "<", (dt.date(2024, 1, 1),)))
    "d" < DATE '2024-01-01'
    """

    column: str
    operator: Operator
    values: tuple[Value, ...] = ()

    def sql(self, quoted: Callable[[str], str] = quote) -> str:
        """The condition in SQL that PostgreSQL, MySQL, MariaDB and DuckDB read alike."""
        listed = ", ".join(map(_literal, self.values))
        shown = f" ({listed})" if self.operator == "IN" else f" {listed}" if listed else ""
        return f"{quoted(self.column)} {self.operator}{shown}"

    __str__ = sql


def _literal(value: Value) -> str:
    """None of these kinds of values can break out of its literal."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, dt.datetime):
        return f"TIMESTAMP '{value.isoformat(sep=' ')}'"
    if isinstance(value, dt.date):
        return f"DATE '{value.isoformat()}'"
    return f"{value:f}" if isinstance(value, Decimal) else f"{value:d}"


@dataclass(frozen=True)
class Bound:
    """A side of the values of a cursor. Rows are held to it when they have been read; a source need not know it.

    Parameters
    ----------
    columns : tuple of str
        The cursor's, the most significant first.
    values : tuple
        One for each column, of its own kind.
    below : bool
        Whether the rows below it are wanted, rather than those from it on.
    nulls : bool
        Whether those with a NULL in the cursor are wanted, too.

    Examples
    --------
    >>> print(Bound(("updated_at", "id"), (dt.datetime(2024, 1, 1), 7)))
    (updated_at, id) >= (2024-01-01 00:00:00, 7)
    """

    columns: tuple[str, ...]
    values: tuple[int | Decimal | dt.date | dt.datetime | str, ...]
    below: bool = False
    nulls: bool = False

    def __str__(self) -> str:
        names, values = ", ".join(self.columns), ", ".join(map(str, self.values))
        sign = "<" if self.below else ">="
        return f"{names} {sign} {values}" if len(self.columns) == 1 else f"({names}) {sign} ({values})"


@dataclass(frozen=True)
class Ask:
    """What is asked of a source. A source may give more; what it leaves out, nobody misses.

    Parameters
    ----------
    columns : tuple of str, optional
        Those that are needed, in the order of the source; all, if left out.
    where : tuple of Condition
        Rows that fail one of these are not needed.
    bounds : tuple of Bound
        Neither are rows beyond these; whoever asks looks at them again, so that a source applies what it can.
    """

    columns: tuple[str, ...] | None = None
    where: tuple[Condition, ...] = ()
    bounds: tuple[Bound, ...] = ()

    def names(self, schema: pa.Schema) -> list[str]:
        """The columns to read of a source with this schema."""
        return schema.names if self.columns is None else list(self.columns)

    def granted(
        self,
        schema: pa.Schema,
        can: Callable[[Condition], bool] = lambda _: False,
        bounds: Callable[[Bound], bool] = lambda _: False,
    ) -> Ask:
        """What a source grants of it: the columns, and the conditions and bounds that it can decide."""
        columns = None if self.columns is None or len(self.columns) == len(schema) else self.columns
        where, sides = tuple(filter(can, self.where)), tuple(filter(bounds, self.bounds))
        return replace(self, columns=columns, where=where, bounds=sides)


Choose = Callable[[pa.Schema], Ask]


def everything(_: pa.Schema) -> Ask:
    """Ask for all there is."""
    return Ask()


@dataclass(frozen=True)
class Asked:
    """What was read of a source.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of the whole source.
    ask : Ask
        What it granted.
    sql : str, optional
        The query that was sent, its parameters by name.

    Examples
    --------
    >>> schema = pa.schema({"a": pa.int64(), "b": pa.int64()})
    >>> print(Asked(schema, Ask(("a",), (Condition("a", ">", (5,)),))))
    reads 1 of 2 columns; WHERE a > 5 is applied by the source
    """

    schema: pa.Schema
    ask: Ask
    sql: str | None = None

    def __str__(self) -> str:
        parts = []
        if self.ask.columns is not None:
            parts.append(f"reads {len(self.ask.columns)} of {len(self.schema)} columns")
        if self.ask.where:
            parts.append(f"WHERE {' AND '.join(each.sql(str) for each in self.ask.where)} is applied by the source")
        if self.ask.bounds:
            parts.append(f"{' AND '.join(map(str, self.ask.bounds))} is applied by the source")
        return "; ".join(parts)


def is_table(query: str) -> bool:
    """Whether a query is the whole of one table, or of one view."""
    return _TABLE.match(query) is not None


def is_ordered(query: str) -> bool:
    """Whether a query says how its rows are ordered, which a condition around it is not to put at risk."""
    return "order" in outer_words(query)


def begins_at_once(query: str) -> bool:
    """Whether a query of columns of tables has its first row without a look at all others, as far as words tell."""
    return not _GATHERING & {text.lower() for kind, text in tokens(query) if kind == "word"}


def narrowed(
    query: str,
    ask: Ask,
    names: Sequence[str],
    *,
    quoted: Callable[[str], str] = quote,
    listed: bool = False,
    bounds: Sequence[str] = (),
) -> str:
    """The query that reads no more than is asked for.

    Parameters
    ----------
    names : sequence of str
        All columns of the query.
    quoted : callable
        How its database quotes a name.
    listed : bool
        Whether its database may call the columns of a sub-query otherwise than those of a result.
    bounds : sequence of str
        Further conditions, in the database's SQL.

    Examples
    --------
    >>> ask = Ask(("a",), (Condition("b", ">", (5,)),))
    >>> narrowed('SELECT * FROM "t"', ask, ["a", "b"])
    'SELECT "a" FROM "t" WHERE "b" > 5'
    >>> print(narrowed("SELECT 1 AS a, 2 AS b", ask, ["a", "b"]))
    SELECT "a" FROM (
    SELECT 1 AS a, 2 AS b
    ) AS q WHERE "b" > 5
    """
    conditions = [*(each.sql(quoted) for each in ask.where), *bounds]
    if ask.columns is None and not conditions:
        return query
    items = ", ".join(map(quoted, names if ask.columns is None else ask.columns))
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    table = _TABLE.match(query)
    if table:
        return f"SELECT {items} FROM {table[1]}{where}"
    if listed:
        return f"WITH q ({', '.join(map(quoted, names))}) AS (\n{query}\n) SELECT {items} FROM q{where}"
    return f"SELECT {items} FROM (\n{query}\n) AS q{where}"
