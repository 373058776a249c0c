"""What `datapipe health` tells beside servers: what is installed, what is set wrong, what may not be written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from datapipe.cli import installed
from datapipe.cli.app import app
from datapipe.workers import permissions
from datapipe.workers.health import health
from datapipe.workers.values import Part


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr("datapipe.settings.connections._connections", {})


def part(name: str) -> Part:
    return next(part for part in health(workers=False).parts if part.name == name)


def test_versions_and_extras_are_told() -> None:
    told = json.loads(CliRunner().invoke(app, ["health", "--no-workers", "--json"]).stdout)
    assert set(told) == {"ok", "parts", "workers", "versions", "extras"}
    assert {"datapipe", "python", "duckdb", "pandas"} <= set(told["versions"])
    assert {extra["name"]: extra["missing"] for extra in told["extras"]}["workers"] == []


def test_an_extra_that_is_not_there_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (("celery", (), "workers"), ("nosuch-library", (), "workers"), ("datapipe-sdk", ("workers",), "api"))
    monkeypatch.setattr(installed, "_requirements", lambda: lines)
    found = {extra.name: extra for extra in installed.extras()}
    assert found["api"].missing == found["workers"].missing == ("nosuch-library",)
    assert (found["workers"].install, found["mysql"].install) == ('pip install "datapipe-sdk[workers]"', "")
    text = CliRunner().invoke(app, ["health", "--no-workers"]).stdout
    assert 'not installed: workers. To have it: pip install "datapipe-sdk[workers]"' in text


def test_without_the_extra_for_workers_the_rest_is_told() -> None:
    script = "import sys; sys.modules['celery'] = None\nsys.argv = ['datapipe', *sys.argv[1:]]\nimport datapipe.cli; datapipe.cli.main()"
    command = [sys.executable, "-c", script, "health", "--json"]
    done, alone = (
        subprocess.run([*command, *more], capture_output=True, text=True, check=False)
        for more in ([], ["--no-workers"])
    )
    assert (done.returncode, alone.returncode, done.stderr) == (1, 0, "")
    broker = json.loads(done.stdout)["parts"][0]
    assert (broker["state"], broker["hint"]) == ("not checked", 'Run: pip install "datapipe-sdk[workers]"')


def test_every_part_that_failed_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_METADATA_URL", "postgresql://ann@127.0.0.1:1/runs")
    monkeypatch.setenv("SOURCE_DB_URL", "sqlite:///nowhere.db")
    monkeypatch.setenv("DEST_DB_URL", "postgresql://ann@127.0.0.1:1/mart")
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM_FILE", "nowhere")
    monkeypatch.setenv("DATAPIPE_CONNECTION_MART", "sqlite://")
    monkeypatch.setenv("DATAPIPE_CONNECTION_MART__POOL", "2")
    parts = health(workers=False).parts
    assert [(part.name, bool(part.hint)) for part in parts if part.state == "failed"] == [
        (name, True)
        for name in (
            *("broker", "result backend", "metadata store", "SOURCE_DB_URL", "DEST_DB_URL"),
            *("connection crm", "connection mart"),
        )
    ]


def test_a_wrong_setting_is_told_and_stops_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_SIZE", "many")
    done = CliRunner().invoke(app, ["health"])
    assert done.exit_code == 1
    assert "the environment variable BATCH_SIZE is wrong" in done.stdout
    assert "datapipe config show" in done.stdout


@pytest.mark.parametrize("name", ["mart.db", ""])  # the file, or its folder
def test_a_destination_that_is_read_only(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mart.db").touch()
    monkeypatch.setenv("DEST_DB_URL", "sqlite:///mart.db")
    assert part("DEST_DB_URL").state == "ok"
    read_only = (tmp_path / name).resolve()  # root may write anywhere
    monkeypatch.setattr(permissions.os, "access", lambda path, _: Path(path).resolve() != read_only)
    found = part("DEST_DB_URL")
    assert (found.state, found.hint.startswith("Run: chmod u+w")) == ("failed", True)


def test_the_run_store_tells_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_METADATA_URL", f"sqlite:///{tmp_path}/runs.db")
    assert part("metadata store").message.startswith(f"{tmp_path}/runs.db, version ")
