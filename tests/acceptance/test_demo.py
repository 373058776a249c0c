"""``datapipe demo``, as a newcomer sees it."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from datapipe.local.demo import demo
from datapipe.local.valkey_server import ValkeyServer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Not tmp_path: root's own is closed to the account that the server runs as."""
    found = Path(tempfile.mkdtemp(prefix="datapipe-demo-"))
    monkeypatch.setenv("DATAPIPE_HOME", str(found))
    yield found
    shutil.rmtree(found)


def test_demo_ends_with_the_rows_counted_over_a_second_connection(home: Path) -> None:
    shown = io.StringIO()
    assert demo(Console(file=shown, width=100)) == 0
    text = shown.getvalue()
    assert text.splitlines()[-1] == "mart.daily_routes: 103,075 rows, counted over a second connection"
    assert text.count("succeeded: 336,776 rows read, 103,075 written") == 2
    for said in ("def daily_routes(", "def rate(", "PRIMARY KEY", "input_data"):
        assert said in text
    password = (home / "postgresql" / "password").read_text(encoding="ascii")
    assert password not in text


def test_rows_are_there_once_though_the_worker_was_killed(home: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    environment = {key: value for key, value in os.environ.items() if key != "DATAPIPE_METADATA_URL"}
    command = [sys.executable, "-m", "datapipe", "demo", "--workers"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - began > 30  # the worker was killed, and its run taken over
    for said in (
        "kill -9, with all its processes, after ",
        "mart.flights_copy: 0 rows.",
        "mart.flights_copy: 336,776 rows with 336,776 different ids, counted over a second connection",
        "each is there exactly once",
    ):
        assert said in done.stdout
    assert not ValkeyServer(Path("unused"), home / "valkey").runs()
    assert not (home / "postgresql" / "data" / "postmaster.pid").exists()
