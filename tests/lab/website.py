"""The web page as users have it: ``datapipe api``, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from notebookfiles import KERNELSPEC
from services import watched

from datapipe.store import store_at
from datapipe.store.apikeys import create_key

ROOT = Path(__file__).parents[2]
ROWS = 4000
FUNCTIONS = """
import time


def slowly(df):
    time.sleep(1)
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
    """An interface over HTTP, the environment it was started with, and a key, where it needs one."""

    process: subprocess.Popen[bytes]
    environment: Mapping[str, str]
    log: Path
    key: str = ""

    @cached_property
    def url(self) -> str:
        """Where it is, once it is there."""
        assert self.process.stdout is not None
        told = self.process.stdout.readline()
        assert told, self.log.read_text(errors="replace")[-3000:]
        return str(json.loads(told)["url"])

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
def serving(folder: Path, broker: str, database: str | None = None, *, key: str | None = None) -> Iterator[Site]:
    """``datapipe api`` on a free port, while it starts and after; its record has no runs yet.

    Parameters
    ----------
    database : str, optional
        Where the record of runs is, and gets a table of orders; a file, if left out.
    key : str, optional
        The scope of a key, which it needs then.
    """
    (folder / "functions.py").write_text(FUNCTIONS)
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "daily.ipynb").write_text(json.dumps(_notebook()))
    if database is not None:
        with psycopg.connect(database) as conn:
            conn.execute(_TABLE)
    record = database or f"sqlite:///{folder / 'runs.db'}"
    environment = {
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        "DATAPIPE_HOME": str(folder / "home"),
        "DATAPIPE_METADATA_URL": record,
        "DATAPIPE_FUNCTION_MODULES": "functions",
        "DATAPIPE_NOTEBOOK_FOLDERS": str(folder / "notebooks"),
        "SOURCE_DB_URL": record,
        "DEST_DB_URL": record,
        "REDIS_URL": broker,
        "BATCH_SIZE": "100",
    }
    made = create_key(store_at(record), "ann", key)[1] if key else ""
    command, log = [sys.executable, "-m", "datapipe", "api", "--port", "0", "--json"], folder / "api.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, cwd=folder, stdout=subprocess.PIPE, stderr=stream
        )
    try:
        with watched(str(process.pid), "TERM", folder):
            yield Site(process, environment, log, made)
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
