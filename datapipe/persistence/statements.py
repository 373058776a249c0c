"""The SQL of a write, as text. The databases share this much of the language."""

from __future__ import annotations

from collections.abc import Sequence

from datapipe.data.names import quote, quoted
from datapipe.persistence.tables import Column, Table

_RANK = quote("_datapipe_rank")


def create_table(table: Table, columns: Sequence[Column], keys: Sequence[str], options: str = "") -> str:
    """CREATE TABLE with the keys as primary key."""
    lines = [f"{quote(c.name)} {c.type}{'' if c.nullable else ' NOT NULL'}" for c in columns]
    if keys:
        lines.append(f"PRIMARY KEY ({quoted(keys)})")
    return f"CREATE TABLE {table.sql} (\n  " + ",\n  ".join(lines) + f"\n){options}"


def create_stage(table: Table, columns: Sequence[Column], options: str = "") -> str:
    """A temporary table that rows are sent to before they are merged."""
    lines = ", ".join(f"{quote(c.name)} {c.type}{'' if c.nullable else ' NOT NULL'}" for c in columns)
    return f"CREATE TEMPORARY TABLE {table.sql} ({lines}){options}"


def create_keys(table: Table, columns: Sequence[Column], lookup: str, options: str = "") -> str:
    """A temporary table of keys; ``lookup`` is the index by which they are found, with {keys}."""
    lines = [" ".join(filter(None, (quote(c.name), c.type, c.collation))) for c in columns]
    lines += [lookup.format(keys=quoted([c.name for c in columns]))] if lookup else []
    return f"CREATE TEMPORARY TABLE {table.sql} ({', '.join(lines)}){options}"


def is_among(table: Table, among: Table, keys: Sequence[Column], casts: Sequence[str | None]) -> str:
    """Whether the keys of a table's row are in another table, by the order that the first one's texts have."""
    # A name that no table has: one that the target has, too, would stand for both sides.
    alias = quote("_datapipe_k")
    pairs = zip(keys, casts, strict=True)
    same = (f"{table.sql}.{quote(key.name)} = {_cast(key, cast, f'{alias}.')}" for key, cast in pairs)
    return f"EXISTS (SELECT 1 FROM {among.sql} AS {alias} WHERE {' AND '.join(same)})"


def create_part(table: Table, columns: Sequence[Column]) -> str:
    """A table for a part of the rows, which outlives its session and no crash of the server."""
    return f"CREATE UNLOGGED TABLE {table.sql} ({', '.join(f'{quote(c.name)} {c.type}' for c in columns)})"


def create_stage_view(table: Table, columns: Sequence[Column], parts: Sequence[Table]) -> str:
    """Parts as one table. A row's place is that of its part and its own, so that rows can be numbered as in a table."""
    names = quoted([column.name for column in columns])
    place = "ARRAY[{}, (ctid::text::point)[0]::bigint, (ctid::text::point)[1]::bigint] AS ctid"
    selects = (f"SELECT {names}, {place.format(number)} FROM {part.sql}" for number, part in enumerate(parts))
    return f"CREATE TEMPORARY VIEW {table.sql} AS {' UNION ALL '.join(selects)}"


def drop_view(table: Table) -> str:
    """DROP VIEW."""
    return f"DROP VIEW {table.sql}"


def drop_table(table: Table) -> str:
    """DROP TABLE."""
    return f"DROP TABLE {table.sql}"


def delete(table: Table) -> str:
    """Empty a table inside the transaction: grants, views and indexes stay, readers see the old rows until commit."""
    return f"DELETE FROM {table.sql}"


def insert_from(
    table: Table, columns: Sequence[Column], casts: Sequence[str | None], source: str, keys: Sequence[str]
) -> tuple[str, ...]:
    """INSERT from the temporary table; with keys, rows that are there are updated in the columns of the data."""
    names = [column.name for column in columns]
    items = ", ".join(_cast(column, cast) for column, cast in zip(columns, casts, strict=True))
    text = f"INSERT INTO {table.sql} ({quoted(names)})\nSELECT {items} FROM {source} WHERE true"
    if not keys:
        return (text,)
    rest = [name for name in names if name not in keys]
    updates = ", ".join(f"{quote(name)} = EXCLUDED.{quote(name)}" for name in rest)
    action = f"DO UPDATE SET {updates}" if rest else "DO NOTHING"
    return (f"{text}\nON CONFLICT ({quoted(keys)}) {action}",)


def stage_rows(
    stage: Table, columns: Sequence[Column], casts: Sequence[str | None], keys: Sequence[str], latest: str | None
) -> str:
    """The distinct rows of the temporary table, or with ``latest`` those of each key with its greatest value."""
    names = quoted([column.name for column in columns])
    distinct = f"(SELECT DISTINCT {names} FROM {stage.sql}) AS d"
    if latest is None:
        return distinct
    order = next(_cast(column, cast) for column, cast in zip(columns, casts, strict=True) if column.name == latest)
    partition = ", ".join(_key(key, columns, casts) for key in keys)
    # NULLs come last, in words that every database has.
    rank = f"RANK() OVER (PARTITION BY {partition} ORDER BY {order} IS NULL, {order} DESC)"
    return f"(SELECT {names} FROM (SELECT d.*, {rank} AS {_RANK} FROM {distinct}) AS r WHERE {_RANK} = 1) AS l"


def repeated_keys(stage: Table, columns: Sequence[Column], casts: Sequence[str | None], keys: Sequence[str]) -> str:
    """Whether a key appears twice."""
    group = ", ".join(_key(key, columns, casts) for key in keys)
    return f"SELECT 1 FROM {stage.sql} GROUP BY {group} HAVING COUNT(*) > 1 LIMIT 1"


def clashing_keys(source: str, columns: Sequence[Column], casts: Sequence[str | None], keys: Sequence[str]) -> str:
    """How many keys still have several rows."""
    group = ", ".join(_key(key, columns, casts) for key in keys)
    return f"SELECT COUNT(*) FROM (SELECT 1 FROM {source} GROUP BY {group} HAVING COUNT(*) > 1) AS c"


def _cast(column: Column, cast: str | None, of: str = "") -> str:
    return f"CAST({of}{quote(column.name)} AS {cast})" if cast else f"{of}{quote(column.name)}"


def _key(name: str, columns: Sequence[Column], casts: Sequence[str | None]) -> str:
    """A key as the target compares it."""
    pairs = zip(columns, casts, strict=True)
    return next(column.compared.format(_cast(column, cast)) for column, cast in pairs if column.name == name)
