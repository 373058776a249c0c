"""Any table of any types arrives exactly, or an error names the column. DATAPIPE_TEST_EXAMPLES says how many are tried."""

from __future__ import annotations

import datetime as dt
import os
import sqlite3
import uuid
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from fidelity.roads import ROADS, Postgresql, by_batches, by_frame
from fidelity.tables import Source, postgresql_tables, sqlite_tables
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import datapipe
from datapipe.errors import DataError
from datapipe.pipeline import Pipeline

many = settings(
    max_examples=int(os.environ.get("DATAPIPE_TEST_EXAMPLES", "30")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def filled(postgresql: Postgresql, source: Source) -> None:
    """The table in PostgreSQL; rows that the server itself refuses are left out."""
    columns = [f"c{index} {type_}" for index, type_ in enumerate(source.types)]
    postgresql.fresh(
        "SET TimeZone TO 'UTC'", "SET lc_monetary TO 'C'", f"CREATE TABLE source (id integer, {', '.join(columns)})"
    )
    marks = ", ".join(f"%s::text::{type_}" for type_ in source.types)
    with postgresql.conn.cursor() as cursor:
        cursor.executemany(f"INSERT INTO source VALUES (%s, {marks})", [[n, *row] for n, row in enumerate(source.rows)])


def seen(postgresql: Postgresql, table: str, source: Source) -> list[tuple[str | None, ...]]:
    """Every value as the server writes it."""
    items = ", ".join(f"c{index}::text" for index in range(len(source.types)))
    return postgresql.conn.execute(f"SELECT {items} FROM {table} ORDER BY id").fetchall()


def arrived(plan: Pipeline, source: Source) -> bool:
    """Whether the plan ran; if it did not, the error must name one of the columns."""
    try:
        plan.run()
    except DataError as error:
        assert error.column in {f"c{index}" for index in range(len(source.types))}, error
        event("refused")
        return False
    event("arrived")
    return True


@many
@given(source=postgresql_tables(), road=st.sampled_from([*ROADS, by_batches]))
def test_postgresql_to_postgresql(postgresql: Postgresql, source: Source, road: Any) -> None:
    filled(postgresql, source)
    if not arrived(road(postgresql.read()).write("target", to=postgresql.url), source):
        assert not postgresql.exists()
        return
    found, expected = seen(postgresql, "target", source), seen(postgresql, "source", source)
    if road in (by_frame, by_batches):  # a number has no trailing zeros there
        computed = {index for index, type_ in enumerate(source.types) if type_ == "numeric"}
        found, expected = (numbers(rows, computed) for rows in (found, expected))
    assert found == expected


def numbers(rows: list[tuple[str | None, ...]], columns: set[int]) -> list[list[Any]]:
    """The rows, with the texts of these columns as numbers."""
    return [
        [Decimal(text) if index in columns and text is not None else text for index, text in enumerate(row)]
        for row in rows
    ]


@many
@given(source=postgresql_tables())
def test_postgresql_to_sqlite_and_back(postgresql: Postgresql, tmp_path: Path, source: Source) -> None:
    filled(postgresql, source)
    url = f"sqlite:///{tmp_path / 'between.db'}"
    (tmp_path / "between.db").unlink(missing_ok=True)
    if not arrived(postgresql.read().write("between", to=url), source):
        return
    postgresql.run("CREATE TABLE target (LIKE source)")
    datapipe.read("between", source=url).write("target", to=postgresql.url).run()
    floating = {index for index, type_ in enumerate(source.types) if type_ in {"real", "double precision"}}
    found, expected = (one_zero(seen(postgresql, table, source), floating) for table in ("target", "source"))
    assert found == expected


def one_zero(rows: list[tuple[str | None, ...]], columns: set[int]) -> list[list[str | None]]:
    """The rows as SQLite has them: it knows no negative zero."""
    return [["0" if index in columns and text == "-0" else text for index, text in enumerate(row)] for row in rows]


@many
@given(source=sqlite_tables(), road=st.sampled_from([*ROADS, by_batches]))
def test_sqlite_to_postgresql(postgresql: Postgresql, tmp_path: Path, source: Source, road: Any) -> None:
    path = tmp_path / "source.db"
    path.unlink(missing_ok=True)
    conn = sqlite3.connect(path, isolation_level=None)
    columns = [f"c{index}" for index in range(len(source.types))]
    declared = ", ".join(f"{name} {type_}" for name, type_ in zip(columns, source.types, strict=True))
    conn.execute(f"CREATE TABLE source (id INTEGER PRIMARY KEY, {declared})")
    marks = ", ".join("?" for _ in columns)
    conn.executemany(f"INSERT INTO source ({', '.join(columns)}) VALUES ({marks})", source.rows)
    stored = conn.execute(f"SELECT {', '.join(columns)} FROM source ORDER BY id").fetchall()
    conn.close()
    postgresql.fresh("SET TimeZone TO 'UTC'")
    if not arrived(
        road(datapipe.read("source", source=f"sqlite:///{path}")).write("target", to=postgresql.url), source
    ):
        assert not postgresql.exists()
        return
    for index, column in enumerate(columns):
        texts = [row[index] for row in seen(postgresql, "target", source)]
        (type_,) = postgresql.conn.execute(f"SELECT pg_typeof({column})::text FROM target").fetchone() or ("",)
        values = [row[index] for row in stored]
        assert all(map(lambda text, value: is_same(type_, text, value), texts, values)), (type_, texts, values)


def is_same(type_: str, text: str | None, value: Any) -> bool:
    """Whether a text of PostgreSQL means what SQLite has stored."""
    if text is None or value is None:
        return text is None and value is None
    if isinstance(value, bytes):
        return type_ == "bytea" and text == "\\x" + value.hex()
    if type_ == "boolean":
        return text == ("true" if value else "false")
    if type_ in {"bigint", "numeric"}:
        try:
            return Decimal(text) == Decimal(str(value)) or text == value == "NaN"
        except InvalidOperation:
            return False
    if type_ == "double precision":
        return float(text) == value
    if type_ == "uuid":
        return uuid.UUID(text) == uuid.UUID(value)
    if type_ in TIMES:
        return TIMES[type_](text) == TIMES[type_](value)
    return type_ in {"text", "json"} and text == str(value)


TIMES: dict[str, Any] = {
    "date": dt.date.fromisoformat,
    "time without time zone": dt.time.fromisoformat,
    "timestamp without time zone": dt.datetime.fromisoformat,
    "timestamp with time zone": dt.datetime.fromisoformat,
}
