"""What an import costs, what the package shows, and who may import whom."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import datapipe

ROOT = Path(__file__).parents[2]
HEAVY = (
    "pandas",
    "pyarrow",
    "duckdb",
    "sqlalchemy",
    "structlog",
    "celery",
    "redis",
    "papermill",
    "ipywidgets",
    "fastapi",
    "typer",
)
PUBLIC = [
    "DatapipeError",
    "Pipeline",
    "Plan",
    "Run",
    "RunResult",
    "Settings",
    "WriteStrategy",
    "attach",
    "connect",
    "load",
    "notebook",
    "output",
    "read",
    "runs",
]
MEASURE = """
import json, sys, time
start = time.perf_counter()
import datapipe
took = time.perf_counter() - start
print(json.dumps({"took": took, "loaded": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


def fresh_import() -> dict[str, object]:
    """Import the package in a new interpreter."""
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, cwd=ROOT)
    return dict(json.loads(done.stdout))


def test_import_loads_no_heavy_library() -> None:
    loaded = fresh_import()["loaded"]
    assert isinstance(loaded, list)
    assert set(loaded).isdisjoint(HEAVY)


def test_import_is_quick() -> None:
    times = []
    for _ in range(5):
        took = fresh_import()["took"]
        assert isinstance(took, float)
        times.append(took)
        if took < 0.3:
            return
    raise AssertionError(f"the quickest import of {len(times)} took {min(times):.2f} s; 0.3 s is the limit")


def test_public_face_is_what_it_was() -> None:
    assert sorted(datapipe.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(datapipe, name) is not None


def test_no_folder_has_the_name_of_a_public_function() -> None:
    modules = {module.name for module in pkgutil.iter_modules(datapipe.__path__)}
    assert modules.isdisjoint(datapipe.__all__)


def test_public_face_completes_in_an_editor() -> None:
    assert set(PUBLIC) <= set(dir(datapipe))


def test_imports_point_down_only() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
