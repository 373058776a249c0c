"""One run of one tool: its process, how long it took and what memory, and whether the rows arrived."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg

from .checks import alike, arrived
from .data import Data, connect_mariadb
from .jobs import Job
from .tools import Tool


@dataclass(frozen=True)
class Round:
    """What is kept of one run; ``error`` is empty if the right rows arrived in time."""

    job: str
    tool: str
    scale: float
    round: int
    seconds: float
    peak_mb: float
    code: str
    session: str
    error: str = ""

    def document(self) -> dict[str, Any]:
        return asdict(self)


def run(
    tool: Tool, job: Job, data: Data, peers: Path, limit: float, facts: tuple[str, ...]
) -> tuple[float, float, str]:
    """Seconds, MB and the error of one run, with a fresh target before it."""
    out = Path(tempfile.mkdtemp(prefix="run-", dir=data.folder))
    try:
        _fresh(tool, job, data)
        environment = _environment(tool, peers, data, out)
        seconds, peak, error = _timed(tool.command(peers, job.name), environment, limit, out)
        if not error:
            found = arrived(job, data, out)
            error = "" if alike(found, facts) else f"wrong rows: {found} instead of {facts}"
        return seconds, peak, error
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _fresh(tool: Tool, job: Job, data: Data) -> None:
    """An empty or seeded target; the checkpoint keeps one run's writes out of the next one's time."""
    statements = list(job.fresh())
    if tool.makes_target and not job.prepare:
        statements = statements[:1]
    with psycopg.connect(data.target, autocommit=True) as conn:
        for table in ("stage", "_dlt_loads", "_dlt_pipeline_state", "_dlt_version"):
            conn.execute(f"DROP TABLE IF EXISTS {table}")  # what an earlier run may have left
        conn.execute("DROP SCHEMA IF EXISTS public_staging CASCADE")
        for statement in statements:
            conn.execute(statement)
        conn.execute("CHECKPOINT")
    if job.kind == "mariadb":
        with connect_mariadb(data.mariadb_target) as maria, maria.cursor() as cursor:
            cursor.execute("SHOW TABLES")
            for (table,) in cursor.fetchall():
                cursor.execute(f"DROP TABLE `{table}`")


def _environment(tool: Tool, peers: Path, data: Data, out: Path) -> dict[str, str]:
    """No settings of the user's; the tool's own programs come first."""
    path = os.environ["PATH"]
    if tool.environment:
        path = f"{peers / tool.environment / 'bin'}:{path}"
    places = {f"PLACE_{name.upper()}": value for name, value in data.place(out).items()}
    ours = {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "DATAPIPE_HOME": str(data.folder / "home")}
    home = data.folder / "user"
    home.mkdir(exist_ok=True)
    return {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", **places, **({} if tool.environment else ours)}


def _timed(command: list[str], environment: dict[str, str], limit: float, out: Path) -> tuple[float, float, str]:
    """Seconds, the peak in MB, and what went wrong."""
    helper = [sys.executable, "-I", "-S", str(Path(__file__).with_name("timed.py")), str(limit)]
    done = subprocess.run([*helper, *command], env=environment, cwd=out, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    seconds, peak = found["seconds"], found["peak_mb"]
    if found["code"] == 0:
        return seconds, peak, ""
    said = " | ".join(done.stderr.strip().splitlines()[-3:])[-600:]
    return seconds, peak, f"over {limit:.0f} s" if seconds >= limit else said or "failed without a word"
