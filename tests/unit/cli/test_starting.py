"""How the program starts: without the garbage collector, which a plan's functions have as ever."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

from datapipe.cli.starting import settle

SEEN = """
import gc

def look(batch):
    assert gc.isenabled(), "nothing would be collected"
    assert gc.get_freeze_count() > 50_000, "what was loaded is looked at"
    return batch
"""
PLAN = """
ingestion: {files: people.csv}
transformation: {type: code, config: {function: "seen:look", per_batch: true}}
persistence: {path: copied.csv}
"""


def test_a_function_of_a_plan_has_a_collector_that_leaves_the_libraries_alone(tmp_path: Path) -> None:
    for name, text in {"seen.py": SEEN, "plan.yaml": PLAN, "people.csv": "id\n1\n"}.items():
        (tmp_path / name).write_text(text)
    paths = os.pathsep.join(filter(None, (str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH"))))
    home = {**os.environ, "DATAPIPE_HOME": str(tmp_path), "DATAPIPE_METADATA_URL": "off", "PYTHONPATH": paths}
    command = [sys.executable, "-m", "datapipe", "run", "plan.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=home)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "copied.csv").read_text().split() == ['"id"', '"1"']


def test_another_program_s_collector_is_left_as_it_is() -> None:
    frozen = gc.get_freeze_count()
    settle(("a_module_that_does_not_exist",))
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen
