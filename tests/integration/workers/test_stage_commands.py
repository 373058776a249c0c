"""datapipe ingest, transform, persist and cleanup, as a shell sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Site

WITHOUT_CELERY = """
import sys
for name in ("celery", "kombu", "redis", "fsspec", "cloudpickle"):
    sys.modules[name] = None
from datapipe.cli import main
sys.argv = ["datapipe", "cleanup", "--json"]
main()
"""


def test_the_stages_one_after_the_other(site: Site) -> None:
    site.start_worker("w1")
    read = site.cli("ingest", "--query", "SELECT id FROM users WHERE id >= :low", "-p", "low=90", "--wait")
    assert (read.returncode, read.stderr) == (0, "10 rows: id bigint\n")
    first = read.stdout.strip()
    assert first == read.stdout.removesuffix("\n")

    step = '{"sql_query": "SELECT id * 2 AS id FROM input_data"}'
    made = site.cli("transform", first, "--transform-config", step, "--keep", "--json", "--wait")
    found = json.loads(made.stdout)
    assert (found["row_count"], found["stage"]) == (10, "transform")

    queued = site.cli("persist", found["task_id"], "--table-name", "doubles")
    again = site.cli("persist", first, "--table-name", "singles", "--wait", "--json")
    assert json.loads(again.stdout)["rows_written"] == 10
    assert queued.returncode == 0
    assert queued.stdout.strip()

    gone = site.cli("persist", found["task_id"], "--table-name", "doubles", "--wait", "--json")
    assert gone.returncode == 1
    assert "not in the spool" in json.loads(gone.stdout)["error"]

    wrong = site.cli("ingest", "--query", "SELECT nothing FROM users", "--wait")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("error: ingestion: ")


def test_mistakes_are_told_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_DISPLAY", "text")
    waited = site.cli("persist", "nobody", "--table-name", "copy", "--wait")
    assert (waited.returncode, "no task has the id 'nobody'" in waited.stderr) == (2, True)
    nobody = site.cli("transform", "nobody", "--transform-config", '{"sql_query": "SELECT 1"}')
    assert (nobody.returncode, "no task has the id 'nobody'" in nobody.stderr) == (2, True)
    waits = site.cli("ingest", "--query", "SELECT id FROM users")
    early = site.cli("persist", waits.stdout.strip(), "--table-name", "copy")
    assert (early.returncode, "is queued" in early.stderr) == (1, True)
    bad = site.cli("ingest", "--query", "DROP TABLE users")
    assert (bad.returncode, bad.stdout) == (2, "")


def test_cleanup_sweeps_the_spool_without_celery(site: Site) -> None:
    folder = site.folder / "home" / "spool"
    folder.mkdir(parents=True)
    old, new = (folder / f"t{number}.{'0' * 32}.arrow" for number in range(2))
    for path in (old, new):
        path.write_bytes(b"x" * 10)
    os.utime(old, (time.time() - 8 * 86_400,) * 2)
    done = subprocess.run([sys.executable, "-c", WITHOUT_CELERY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"kind": "spooled file", "name": str(old), "size": 10} in json.loads(done.stdout)["removed"]
    assert (old.exists(), new.exists()) == (False, True)
