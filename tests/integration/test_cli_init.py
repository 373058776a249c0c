"""`datapipe init`: a project that works at once, and never at the cost of a file that is there."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from pathlib import Path

import nbformat
import pytest

from datapipe.notebooks.job import notebook

FILES = {"plan.yaml", "daily.ipynb", "data/orders.csv", ".env", ".gitignore", "README.md"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: empty, and with no connection but those that the project brings."""
    for name in [name for name in os.environ if name.endswith("_DB_URL") or name.startswith("DATAPIPE_CONNECTION_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cli(program: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=60)


def test_a_new_project_runs_at_once_and_twice(folder: Path, forked_cli: Path) -> None:
    done = cli(forked_cli, "init", "my shop")
    assert (done.returncode, done.stderr) == (0, "")
    command = done.stdout.splitlines()[-1].removeprefix("next: ")
    assert command == "cd 'my shop' && datapipe run plan.yaml"
    shop = folder / "my shop"
    assert {path.relative_to(shop).as_posix() for path in shop.rglob("*") if path.is_file()} == FILES
    assert (shop / ".env").stat().st_mode & 0o777 == 0o600
    for _ in range(2):
        ran = cli(forked_cli, "run", "plan.yaml", cwd=shop)
        assert ran.returncode == 0, ran.stderr
    with sqlite3.connect(shop / "warehouse.db") as conn:
        assert conn.execute("SELECT day, orders FROM daily_orders ORDER BY day").fetchall() == [
            ("2024-03-01", 2),
            ("2024-03-02", 2),
            ("2024-03-03", 2),
        ]
    conn.close()
    assert cli(forked_cli, "config", "show", cwd=shop).returncode == 0


def test_its_notebook_has_parameters_and_nothing_is_wrong_with_it(folder: Path, forked_cli: Path) -> None:
    cli(forked_cli, "init")
    nbformat.validate(nbformat.read("daily.ipynb", as_version=4))
    job = notebook("daily.ipynb")
    assert [parameter.name for parameter in job.parameters] == ["least"]
    assert job.check() == ()


def test_no_file_is_overwritten(folder: Path, forked_cli: Path) -> None:
    Path(".env").write_text("MINE=1\n")
    Path("README.md").symlink_to("elsewhere")
    done = cli(forked_cli, "init", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, set(told["kept"])) == (0, {".env", "README.md"})
    assert set(told["written"]) == FILES - {".env", "README.md"}
    assert (Path(".env").read_text(), Path("elsewhere").exists()) == ("MINE=1\n", False)
    again = cli(forked_cli, "init")
    assert "wrote nothing" in again.stdout
    assert "add to .env: DATAPIPE_CONNECTION_WAREHOUSE=sqlite:///warehouse.db" in again.stdout
    ran = cli(forked_cli, "run", "plan.yaml")
    assert (ran.returncode, "no connection is called 'warehouse'" in ran.stderr) == (2, True)


def test_a_place_that_is_no_folder(folder: Path, forked_cli: Path) -> None:
    Path("taken").touch()
    done = cli(forked_cli, "init", "taken")
    assert (done.returncode, done.stdout, "taken" in done.stderr) == (2, "", True)
    assert Path("taken").read_bytes() == b""
