"""Bounds of a cursor in SQL: never fewer rows than lie within them."""

from __future__ import annotations

import datetime as dt
import sqlite3
from decimal import Decimal
from typing import Any

import pytest

from datapipe.data.asking import Bound
from datapipe.ingestion.bounds import bound_sql

AT = dt.datetime(2024, 1, 1, 10, 0, 0, 500000)
ZONED = AT.replace(tzinfo=dt.timezone(dt.timedelta(hours=2)))


@pytest.mark.parametrize(
    ("driver", "value", "sql"),
    [
        ("postgresql", AT, "\"c\" >= TIMESTAMP '2024-01-01 10:00:00.500000'"),
        ("postgresql", ZONED, "\"c\" >= TIMESTAMPTZ '2024-01-01 08:00:00.500000+00'"),
        ("postgresql", "it's \\", "\"c\" COLLATE \"C\" >= E'it''s \\\\'"),
        ("postgresql", Decimal("1E+3"), '"c" >= 1000'),
        ("duckdb", "it's \\", "\"c\" >= 'it''s \\'"),
        ("mysql", ZONED, "\"c\" >= TIMESTAMP '2024-01-01 08:00:00.500000'"),
        ("mysql", "é", "CAST(CONVERT(\"c\" USING utf8mb4) AS BINARY) >= X'c3a9'"),
        ("sqlite", AT, "\"c\" >= '2024-01-01 10:00:00.5'"),
        ("sqlite", ZONED, "\"c\" >= '2023-12-31'"),
        ("sqlite", "b", "\"c\" COLLATE BINARY >= 'b'"),
    ],
)
def test_each_database_has_its_words(driver: str, value: Any, sql: str) -> None:
    assert bound_sql(Bound(("c",), (value,)), driver) == f"({sql})"


def test_what_cannot_be_compared_is_not_asked_for() -> None:
    assert bound_sql(Bound(("c",), (Decimal("1.5"),)), "sqlite") is None
    assert bound_sql(Bound(("c",), (dt.date.max,), below=True), "sqlite") is None


def test_several_columns() -> None:
    low = Bound(("a", "b"), (1, 2))
    assert bound_sql(low, "postgresql") == '("a" >= 1 AND ("a" > 1 OR ("b" >= 2)))'
    high = Bound(("a", "b"), (1, 2), below=True, nulls=True)
    found = bound_sql(high, "postgresql")
    assert found == '("a" <= 1 AND ("a" < 1 OR ("b" < 2)) OR "a" IS NULL OR "b" IS NULL)'
    assert bound_sql(high, "sqlite") == '("a" <= 1 OR "a" IS NULL OR "b" IS NULL)'


@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("value", [AT, AT.replace(microsecond=0), ZONED, AT.replace(hour=0, microsecond=0)])
def test_sqlite_finds_every_spelling_of_a_time_that_lies_within(value: dt.datetime, below: bool) -> None:
    steps = [dt.timedelta(microseconds=n) for n in (-100_000, -1, 0, 1, 10**9, 10**11, -(10**9), -(10**11))]
    zones = [dt.timezone(dt.timedelta(hours=h)) for h in (-12, 0, 14)] if value.tzinfo else [None]
    within = [value + step for step in steps if (step < dt.timedelta() if below else step >= dt.timedelta())]
    texts = [
        time.astimezone(zone).isoformat(sep=separator, timespec=spec) if zone else time.isoformat(separator, spec)
        for time in within
        for zone in zones
        for separator in " T"
        for spec in ("auto", "microseconds")
    ]
    whole = [time.isoformat(" ", "microseconds") for time in within if not time.tzinfo]
    # A day, an hour and a minute: what is not written is nought.
    texts += [text[:length] for text in whole for length in (10, 13, 16) if not text[length:].strip(" :0.")]
    condition = bound_sql(Bound(("c",), (value,), below=below), "sqlite")
    with sqlite3.connect(":memory:") as conn:
        conn.execute("CREATE TABLE t (c TIMESTAMP)")
        conn.executemany("INSERT INTO t VALUES (?)", [(text,) for text in texts])
        missed = conn.execute(f"SELECT c FROM t WHERE NOT {condition}").fetchall()
    conn.close()
    assert missed == []
