"""``datapipe demo --workers``: a pipeline on a worker, and what becomes of a load whose worker is killed."""

from __future__ import annotations

import inspect
import os
import time

import pandas as pd
import psycopg
from rich.console import Console
from rich.syntax import Syntax

import datapipe
from datapipe.errors import FatalError
from datapipe.history import Run
from datapipe.local import stack
from datapipe.local.children import Child
from datapipe.local.demo import daily_routes, prepare, show
from datapipe.local.flights import flight_files
from datapipe.local.valkey import installed_valkey

_TARGET = "mart.flights_copy"
_FLIGHTS = "SELECT id, carrier, flight, origin, dest, time_hour FROM flights.flights"
_PATIENCE = 120.0  # seconds


def slowly(flights: pd.DataFrame) -> pd.DataFrame:
    """Nothing, but slowly, so that there is time to kill the worker in the middle of the load."""
    time.sleep(0.25)
    return flights


def slow_copy(url: str) -> datapipe.Pipeline:
    """A copy of every flight. It appends: a load done twice would double the rows."""
    return datapipe.read(_FLIGHTS, source=url).apply(slowly, per_batch=True).write(_TARGET, to=url, strategy="append")


def workers_demo(console: Console) -> int:
    """Run a pipeline on a worker, then kill a worker in the middle of a load and show what becomes of it.

    Parameters
    ----------
    console : rich.console.Console
        Where to show it.

    Returns
    -------
    int
        The exit code: 0 if every row is there exactly once.

    Raises
    ------
    PlanError
        If the ``local`` extra is not installed.
    FatalError
        If something does not start, or a run is not taken.

    Examples
    --------
    >>> workers_demo(Console())  # doctest: +SKIP
    0
    """
    flight_files(), installed_valkey()  # a missing extra is said at once
    children: list[Child] = []
    with stack.until_told(children), stack.running_servers() as variables:
        # A queue of its own: the worker of a ``datapipe up`` beside this would take the runs away.
        variables["DATAPIPE_QUEUE"] = "datapipe-demo"
        os.environ.update(variables)  # a plan is submitted with what its worker has
        children.append(stack.worker(variables, concurrency=1))
        return _story(variables["DEST_DB_URL"], children[0], console)


def _story(url: str, worker: Child, console: Console) -> int:
    console.rule("A PostgreSQL, a Valkey and a worker of your own")
    prepare(url, console)
    try:
        worker.start()
        show(console, f"the worker is ready: process {worker.pid}")
        _on_a_worker(url, console)
        return _killed(url, worker, console)
    finally:
        worker.stop()


def _on_a_worker(url: str, console: Console) -> None:
    console.rule("plan.submit(): the plan travels, signed; the worker runs it")
    run = daily_routes(url).submit()
    run.watch()
    run.result()
    show(console, run)


def _killed(url: str, worker: Child, console: Console) -> int:
    from datapipe.workers.reconciler import LOST_AFTER  # loads Celery

    console.rule("The same worker, killed in the middle of a load")
    console.print(Syntax(inspect.getsource(slow_copy), "python", background_color="default"))
    with psycopg.connect(url) as conn:
        conn.execute(f"DROP TABLE IF EXISTS {_TARGET}")
        # Made beforehand, so that it can be looked into while the load is under way.
        conn.execute(f"CREATE TABLE {_TARGET} AS {_FLIGHTS} LIMIT 0")
    run = slow_copy(url).submit()
    written = _midway(run)
    worker.kill()
    show(console, f"kill -9, with all its processes, after {written:,} rows")
    show(console, f"{_TARGET}: {_count(url)[0]:,} rows. A load is one transaction; this one is gone with its worker.")
    worker.start()
    show(console, f"A new worker: process {worker.pid}")
    show(console, f"{LOST_AFTER:.0f} s after its last sign of life, a run is given to another worker.")
    began = time.monotonic()
    run.watch(_PATIENCE)
    run.result()
    show(console, f"It ended {time.monotonic() - began:.0f} s later, the wait for the new worker included:\n")
    show(console, run)
    rows, ids = _count(url)
    show(console, f"{_TARGET}: {rows:,} rows with {ids:,} different ids, counted over a second connection")
    wanted = _count(url, "flights.flights")[0]
    once = rows == ids == wanted
    show(console, f"There are {wanted:,} flights: each is there {'exactly once' if once else 'NOT exactly once'}")
    return 0 if once else 1


def _midway(run: Run) -> int:
    """Wait until a run has handed a good part of its rows to the target; how many."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        row = run.row
        steps = row.steps
        if row.ended_for_good:
            break
        if steps and steps[-1].rows_in > 50_000:
            return steps[-1].rows_in
        time.sleep(0.1)
    raise FatalError(f"the run is {run.status}, and should be running", hint=f"datapipe status {run.id}")


def _count(url: str, table: str = _TARGET) -> tuple[int, int]:
    with psycopg.connect(url) as conn:
        row = conn.execute(f"SELECT count(*), count(DISTINCT id) FROM {table}").fetchone()
    return (row[0], row[1]) if row else (0, 0)
