"""Whether what arrived is what had to arrive: a count, sums and bounds, beside those that PostgreSQL finds in the source."""

from __future__ import annotations

import datetime as dt
import math
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from .data import Data, connect_mariadb
from .jobs import Job


def expected(job: Job, data: Data) -> tuple[str, ...]:
    """The facts of the rows that have to arrive."""
    with psycopg.connect(data.source) as conn:
        return told(conn.execute(f"SELECT {job.facts} FROM ({job.rows}) AS t").fetchone() or ())


def arrived(job: Job, data: Data, out: Path) -> tuple[str, ...]:
    """The facts of the rows that are in the target."""
    query = f"SELECT {job.facts} FROM target"
    if job.kind == "sqlite":
        with closing(sqlite3.connect(out / "target.db")) as lite:
            return told(lite.execute(query).fetchone())
    if job.kind == "mariadb":
        with closing(connect_mariadb(data.mariadb_target)) as maria, maria.cursor() as cursor:
            cursor.execute(query)
            return told(cursor.fetchone() or ())
    if job.kind in ("csv", "parquet"):
        folder = out / "files"  # of a tool that writes one
        place = folder / "**" / f"*.{job.kind}" if folder.exists() else out / f"target.{job.kind}"
        files = f"read_{job.kind}('{place}', union_by_name = true)"
        return told(duckdb.execute(query.replace("FROM target", f"FROM {files}")).fetchone() or ())
    with psycopg.connect(data.target) as conn:
        return told(conn.execute(query).fetchone() or ())


def alike(found: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether facts are the same, sums to twelve digits: some tools keep decimals as doubles, whose sum has no order."""
    return len(found) == len(wanted) and all(map(_alike, found, wanted))


def _alike(one: str, other: str) -> bool:
    try:
        return math.isclose(float(one), float(other), rel_tol=1e-12)
    except ValueError:
        return one == other


def told(values: Sequence[Any]) -> tuple[str, ...]:
    """Values as text, alike for every database: numbers with two decimals, dates without a time."""
    return tuple(_told(value) for value in values)


def _told(value: Any) -> str:
    if isinstance(value, int | float | Decimal):
        return f"{round(Decimal(value), 2):.2f}"
    if isinstance(value, dt.datetime):
        return value.date().isoformat()
    return str(value)[:10]
