"""The web page as users have it: ``datapipe api`` and a worker, in processes of their own, on a database and a broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from notebookfiles import KERNELSPEC
from services import watched
from workerside import running_worker

ROOT = Path(__file__).parents[2]
ROWS = 4000
FUNCTIONS = """
import time


def slowly(df):
    time.sleep(0.1)
    return df


def clean(df):
    df["price"] = df["price"].map(as_number)
    return df


def as_number(text):
    return float(text)
"""
_TABLE = f"""CREATE TABLE orders AS
    SELECT id::int, CASE WHEN id = 2735 THEN 'n/a' ELSE '1.5' END AS price FROM generate_series(1, {ROWS}) AS id"""


@dataclass(frozen=True)
class Site:
    """An interface over HTTP, and the environment it was started with."""

    url: str
    environment: Mapping[str, str]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """A call of the interface, and the answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def submit(self, name: str, function: str | None = None) -> str:
        """Send a plan that copies the orders; the run's id."""
        plan: dict[str, Any] = {
            "name": name,
            "ingestion": {"table": "orders"},
            "persistence": {"table_name": f"copy_{name}", "strategy": "replace"},
        }
        if function is not None:
            config = {"function": f"functions:{function}", "per_batch": True}
            plan["transformation"] = {"type": "code", "config": config}
        return str(self.ask("POST", "/pipelines", {"pipeline_config": plan})["run_id"])

    def wait(self, run_id: str, *states: str) -> dict[str, Any]:
        """The run, once it is in one of these states."""
        until = time.monotonic() + 60
        while True:
            found: dict[str, Any] = self.ask("GET", f"/runs/{run_id}")
            if found["state"] in states:
                return found
            assert time.monotonic() < until, found
            time.sleep(0.1)


@contextmanager
def starting_site(folder: Path, database: str, broker: str) -> Iterator[Site]:
    """An open interface with a worker, and a table of orders; it has no runs yet."""
    (folder / "functions.py").write_text(FUNCTIONS)
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "daily.ipynb").write_text(json.dumps(_notebook()))
    with psycopg.connect(database) as conn:
        conn.execute(_TABLE)
    environment = {
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        "DATAPIPE_HOME": str(folder / "home"),
        "DATAPIPE_METADATA_URL": database,
        "DATAPIPE_FUNCTION_MODULES": "functions",
        "DATAPIPE_NOTEBOOK_FOLDERS": str(folder / "notebooks"),
        "SOURCE_DB_URL": database,
        "DEST_DB_URL": database,
        "REDIS_URL": broker,
        "BATCH_SIZE": "100",
    }
    with ExitStack() as ends:
        site = ends.enter_context(serving(folder, environment))
        ends.enter_context(running_worker(environment, folder, "w1", concurrency=2))
        yield site


@contextmanager
def serving(folder: Path, environment: Mapping[str, str]) -> Iterator[Site]:
    """``datapipe api`` on a free port."""
    command = [sys.executable, "-m", "datapipe", "api", "--port", "0", "--json"]
    with (folder / "api.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, cwd=folder, stdout=subprocess.PIPE, stderr=log
        )
    try:
        with watched(str(process.pid), "TERM", folder):
            assert process.stdout is not None
            told = process.stdout.readline()
            assert told, (folder / "api.log").read_text(errors="replace")[-3000:]
            yield Site(json.loads(told)["url"], environment)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _notebook() -> dict[str, Any]:
    cell = {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "execution_count": None,
        "outputs": [],
        "source": "print('what the notebook said')",
    }
    return {"cells": [cell], "metadata": {"kernelspec": KERNELSPEC}, "nbformat": 4, "nbformat_minor": 5}
