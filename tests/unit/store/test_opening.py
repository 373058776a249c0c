"""The file that runs are recorded in keeps a connection: it is closed before a fork, and notices another file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from datapipe.errors import TransientError
from datapipe.store import RunStore, open_store, store_at


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def store(file: Path) -> RunStore:
    return store_at(f"sqlite:///{file}")


def is_open(file: Path) -> bool:
    """Whether this process has the file open."""
    return any(Path(os.path.realpath(entry)) == file for entry in Path("/dev/fd").iterdir())


def test_a_connection_is_kept_from_one_write_to_the_next(store: RunStore, file: Path) -> None:
    store.add("r", state="running")
    assert is_open(file)
    assert file.with_name("runs.db-wal").exists()  # with the last connection it would go, and be waited for
    assert store.change("r", state="succeeded")


def test_none_is_open_across_a_fork(store: RunStore, file: Path) -> None:
    store.add("r", state="running")
    if (child := os.fork()) == 0:
        os._exit(is_open(file))
    assert os.waitpid(child, 0)[1] == 0
    assert store.change("r", state="succeeded")
    assert store.run("r").state == "succeeded"


def test_a_file_that_was_removed_is_no_place_to_write_to(store: RunStore, file: Path) -> None:
    store.add("r", state="running")
    for path in file.parent.iterdir():
        path.unlink()
    with pytest.raises(TransientError, match="no such table"):
        store.add("s", state="running")


def test_a_file_that_was_removed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATAPIPE_METADATA_URL", raising=False)
    monkeypatch.setenv("DATAPIPE_HOME", str(tmp_path))
    for run_id in ("r1", "r2"):
        found = open_store()
        assert found is not None
        found.add(run_id, state="queued")
        assert [row.id for row in found.runs()] == [run_id]
        for file in tmp_path.glob("runs.db*"):
            file.unlink()
