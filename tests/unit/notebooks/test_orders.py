"""What surrounds an attempt: its folder, which does not outlive it, and places that hold in any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from datapipe.notebooks.environs import lasting
from datapipe.notebooks.orders import scratch_folder

HERE = Path("/srv/etl")


@pytest.mark.parametrize(
    ("name", "value", "lasts"),
    [
        ("DEST_DB_URL", "sqlite:///mart.db", "sqlite:////srv/etl/mart.db"),
        ("dest_db_url", "sqlite:///mart.db", "sqlite:////srv/etl/mart.db"),
        ("DATAPIPE_METADATA_URL", "sqlite+pysqlite:///a/b.db?mode=ro", "sqlite+pysqlite:////srv/etl/a/b.db?mode=ro"),
        ("DATAPIPE_CONNECTION_CRM", "duckdb:///crm.duckdb", "duckdb:////srv/etl/crm.duckdb"),
        ("DATAPIPE_HOME", "state", "/srv/etl/state"),
        ("DATAPIPE_SECRETS_DIR", "secrets", "/srv/etl/secrets"),
    ],
)
def test_relative_places_are_made_absolute(name: str, value: str, lasts: str) -> None:
    assert lasting({name: value}, HERE) == {name: lasts}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEST_DB_URL", "sqlite:////data/mart.db"),
        ("DEST_DB_URL", "sqlite:///:memory:"),
        ("DEST_DB_URL", "sqlite://"),
        ("DEST_DB_URL", "sqlite:///${FOLDER}/mart.db"),
        ("DEST_DB_URL", "postgresql://db/crm"),
        ("DATAPIPE_HOME", "/data"),
        ("DATAPIPE_HOME", "~/data"),
        ("DATAPIPE_HOME", "$HOME/data"),
        ("DATAPIPE_HOME", ""),
        ("DATAPIPE_ARTIFACTS_URL", "s3://bucket/reports"),
        ("THEIR_OWN", "sqlite:///mart.db"),
        ("PATH", "bin"),
    ],
)
def test_other_values_are_left_alone(name: str, value: str) -> None:
    assert lasting({name: value}, HERE) == {}


def test_a_folder_lasts_as_long_as_its_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch_folder() as folder:
        assert Path(folder).parent == tmp_path and Path(folder).stat().st_mode & 0o077 == 0
        Path(folder, "a").mkdir()
    assert not Path(folder).exists()


def test_what_killed_processes_have_left_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        gone = process.pid
    old, young = tmp_path / f"datapipe-notebook-{gone}-a", tmp_path / f"datapipe-notebook-{gone}-b"
    alive, others = tmp_path / f"datapipe-notebook-{os.getpid()}-a", tmp_path / "datapipe-notebook-mine"
    link = tmp_path / f"datapipe-notebook-{gone}-link"
    for folder in (old, young, alive, others):
        folder.mkdir()
    link.symlink_to(others)
    for folder in (old, alive, others):
        os.utime(folder, (1, 1))
    os.utime(link, (1, 1), follow_symlinks=False)
    with scratch_folder():
        pass
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in (young, alive, others, link)}
