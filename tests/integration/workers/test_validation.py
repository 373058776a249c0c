"""Contracts on a real worker: one of a module, and one with a function of this process, which travels signed."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from services import private_redis, redis_program
from workerside import fresh_workers, running_worker

import datapipe
from datapipe.errors import NotPortableError, PlanError

MODULE = """
import pandera.pandas as pa

SCHEMA = pa.DataFrameSchema({"id": pa.Column(int, pa.Check.ge(3))})
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A source, a module of contracts, and a worker with a key."""
    with sqlite3.connect(tmp_path / "users.db") as conn:
        conn.execute("CREATE TABLE users (id INTEGER)")
        conn.executemany("INSERT INTO users VALUES (?)", [(number,) for number in range(10)])
    (tmp_path / "contracts_of_users.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("DATAPIPE_METADATA_URL")
    with private_redis(redis_program()) as server:
        for name, value in {
            "REDIS_URL": server.url,
            "SOURCE_DB_URL": f"sqlite:///{tmp_path / 'users.db'}",
            "DEST_DB_URL": f"sqlite:///{tmp_path / 'mart.db'}",
            "DATAPIPE_HOME": str(tmp_path / "home"),
            "DATAPIPE_SIGNING_KEY": "k" * 40,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
        }.items():
            monkeypatch.setenv(name, value)
        fresh_workers()
        with running_worker({}, tmp_path):
            yield tmp_path
    fresh_workers()
    sys.modules.pop("contracts_of_users", None)


def test_contracts_travel(folder: Path) -> None:
    plan = datapipe.read("users").validate("contracts_of_users:SCHEMA", on_error="quarantine").write("copy")
    run = plan.submit()
    assert (run.result(60).rows_written, run.result(60).rejected) == (7, 3)
    assert run.rejects()["row_number"].tolist() == [1, 2, 3]
    again = run.replay_rejects(datapipe.read("users").validate({"columns": {"id": "int"}}).write("copy"))
    assert again.rows_written == 3

    def even(column: pd.Series[Any]) -> Any:
        return column % 2 == 0

    def small(column: pd.Series[Any]) -> Any:
        return column < 6

    checks = [{"function": even, "row_wise": True}, {"function": small}]
    local = (
        datapipe.read("users").validate({"columns": {"id": {"checks": checks}}}, on_error="quarantine").write("even")
    )
    with pytest.raises(NotPortableError):
        local.to_yaml()
    found = local.submit()
    result = found.result(60)
    assert (result.rows_written, result.rejected) == (3, 7)
    rejects = found.rejects(local)
    assert set(rejects["check_name"]) == {"even", "small"}
    with pytest.raises(PlanError, match="holds what only its process had"):
        found.rejects()
