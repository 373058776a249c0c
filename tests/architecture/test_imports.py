"""What an import costs, what the package shows, and who may import whom."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import datapipe
from datapipe.store import store_at

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
LIGHTER = ("dotenv", "numpy", "psycopg", "pydantic", "rich", "yaml")
PUBLIC = [
    "DatapipeError",
    "Pipeline",
    "Plan",
    "Run",
    "RunResult",
    "Settings",
    "WriteStrategy",
    "attach",
    "backfill",
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

COMMAND = """
import atexit, json, sys
sys.argv[0] = "datapipe"
atexit.register(lambda: print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr))
from datapipe.cli import main
main()
"""


def fresh_import() -> dict[str, object]:
    """Import the package in a new interpreter."""
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, cwd=ROOT)
    return dict(json.loads(done.stdout))


def test_import_loads_no_heavy_library() -> None:
    loaded = fresh_import()["loaded"]
    assert isinstance(loaded, list)
    assert set(loaded).isdisjoint(HEAVY)


def loaded_by(folder: Path, *arguments: str) -> set[str]:
    """The libraries that a command loads, in a new interpreter."""
    home = {**os.environ, "DATAPIPE_HOME": str(folder), "DATAPIPE_METADATA_URL": f"sqlite:///{folder}/runs.db"}
    command = [sys.executable, "-c", COMMAND, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=home)
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_help_loads_typer_and_nothing_else(tmp_path: Path) -> None:
    assert loaded_by(tmp_path, "--help") & {*HEAVY, *LIGHTER} == {"typer"}


def test_help_of_a_command_loads_typer_and_what_reads_the_settings(tmp_path: Path) -> None:
    assert loaded_by(tmp_path, "run", "--help") & {*HEAVY, *LIGHTER} == {"dotenv", "pydantic", "typer"}


def test_a_command_that_completes_loads_no_heavy_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"_DATAPIPE_COMPLETE": "complete_bash", "COMP_WORDS": "datapipe st", "COMP_CWORD": "1"}.items():
        monkeypatch.setenv(name, value)
    assert loaded_by(tmp_path) & {*HEAVY, *LIGHTER} == {"pydantic", "typer"}  # which Typer reads values with


def test_what_asks_the_run_store_loads_no_library_for_data(tmp_path: Path) -> None:
    store_at(f"sqlite:///{tmp_path}/runs.db").add("a1f0", state="queued", source="users", target="copy")
    for arguments in (("runs",), ("status", "a1f0")):
        found = loaded_by(tmp_path, *arguments)
        assert found & {*HEAVY, "numpy", "psycopg", "rich"} == {"sqlalchemy", "typer"}, arguments


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


@pytest.mark.parametrize("name", ["display", "engine", "schemas", "transformation"])
def test_a_package_whose_names_are_loaded_late_has_all_of_them(name: str) -> None:
    package = import_module(f"datapipe.{name}")
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    for public in package.__all__:
        found = getattr(package, public)
        # A module of that name would take its place once it is imported.
        assert public not in modules or not isinstance(found, ModuleType)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018  # asked for its error


def test_public_face_completes_in_an_editor() -> None:
    assert set(PUBLIC) <= set(dir(datapipe))


def test_imports_point_down_only() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
