"""``datapipe demo``: one pipeline on real data, start to finish."""

from __future__ import annotations

import inspect
from math import inf
from pathlib import Path

import pandas as pd
import psycopg
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

import datapipe
from datapipe.local.flights import flight_files, load_flights
from datapipe.local.postgres import embedded_postgres

_SAMPLE = Path(__file__).with_name("sample.sql")


def rate(days: pd.DataFrame) -> pd.DataFrame:
    """Say in a word how a day on a route went."""
    delay = days["mean_delay"].astype("float64")
    words = pd.cut(delay, [-inf, 0, 15, inf], labels=["early", "fine", "late"])
    days["rating"] = words.astype("string").fillna("cancelled")
    return days


def daily_routes(url: str) -> datapipe.Pipeline:
    """Flights and their delay by route, airline and day."""
    return (
        datapipe.read("SELECT * FROM flights.flights", source=url)
        .sql(
            """
            SELECT f.origin, f.dest, a.name AS airline,
                   make_date(f.year, f.month, f.day) AS day,
                   COUNT(*) AS flights, AVG(f.dep_delay) AS mean_delay
            FROM input_data f JOIN airlines a USING (carrier)
            GROUP BY ALL
            """,
            airlines=datapipe.read("flights.airlines", source=url),
        )
        .apply(rate)
        .write(
            "mart.daily_routes",
            to=url,
            strategy="upsert",
            keys=["origin", "dest", "airline", "day"],
        )
    )


def demo(console: Console) -> int:
    """Load the flights into an embedded PostgreSQL, run a pipeline on them twice and show what happens.

    Parameters
    ----------
    console : rich.console.Console
        Where to show it.

    Returns
    -------
    int
        The exit code, 0.

    Raises
    ------
    PlanError
        If the ``local`` extra is not installed.

    Examples
    --------
    >>> demo(Console())  # doctest: +SKIP
    0
    """
    flight_files()  # a missing extra is said at once
    console.rule("A PostgreSQL of your own, with every flight that left New York City in 2013")
    with embedded_postgres() as url:
        prepare(url, console)
        console.rule("The pipeline: a join and an aggregate in SQL, a Python function, an upsert")
        for function in (daily_routes, rate):
            console.print(Syntax(inspect.getsource(function), "python", background_color="default"))
        plan = daily_routes(url)
        console.rule("print(plan): nothing has run yet")
        show(console, plan)
        console.rule("print(plan.explain()): what would run")
        show(console, plan.explain())
        console.rule("plan.run()")
        show(console, plan.run())
        _show_rows(console, url)
        console.rule("plan.run() again: an upsert by key doubles nothing")
        show(console, plan.run())
        console.rule("What to try next")
        _next_steps(console)
        console.print(f"mart.daily_routes: {_count(url):,} rows, counted over a second connection")
    return 0


def prepare(url: str, console: Console) -> None:
    """Load the flights and the two small tables of the docs, if they are not there, and make the schema to write to."""
    load_flights(url, lambda line: show(console, line))
    with psycopg.connect(url) as conn:
        conn.execute("CREATE SCHEMA IF NOT EXISTS mart")
        if conn.execute("SELECT coalesce(to_regclass('users'), to_regclass('orders'))").fetchone() == (None,):
            conn.execute(_SAMPLE.read_bytes())


def show(console: Console, value: object) -> None:
    """Print plain text as it is: no markup, no wrapping of what people will paste."""
    console.print(str(value), markup=False, highlight=False, soft_wrap=True)


def _show_rows(console: Console, url: str) -> None:
    with psycopg.connect(url) as conn:
        found = conn.execute("SELECT * FROM mart.daily_routes ORDER BY flights DESC, day LIMIT 5")
        table = Table(*(column.name for column in found.description or ()), title="mart.daily_routes")
        for row in found:
            table.add_row(*(f"{value:.1f}" if isinstance(value, float) else str(value) for value in row))
    console.print(table)


def _next_steps(console: Console) -> None:
    show(console, "datapipe up       keeps this database running, with a worker, and prints how to connect to it")
    show(console, "datapipe demo --workers  the same on a worker, which is killed in the middle")
    show(console, "plan.preview(20)  a sample through every step, nothing is written")
    show(console, "plan.to_yaml()    the plan as a document without passwords; datapipe run --config runs it\n")


def _count(url: str) -> int:
    with psycopg.connect(url) as conn:
        row = conn.execute("SELECT count(*) FROM mart.daily_routes").fetchone()
    return int(row[0]) if row else 0
