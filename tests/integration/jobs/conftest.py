"""Notebook jobs in processes of their own, with a run store in a folder of the test's."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from jobside import Side
from notebookfiles import processes_of
from workerside import until


def _settled(patch: pytest.MonkeyPatch, home: Path) -> Path:
    """The environment of a user who has set nothing but where runs are kept."""
    home.mkdir(parents=True, exist_ok=True)
    patch.delenv("DATAPIPE_METADATA_URL", raising=False)
    patch.setenv("DATAPIPE_HOME", str(home))
    patch.setenv("MAX_RETRIES", "0")
    patch.setenv("RETRY_BACKOFF_BASE", "0.1")
    patch.chdir(home)
    return home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the runs of one test are recorded and kept; no process of theirs is there afterwards."""
    yield _settled(monkeypatch, tmp_path / "home")
    until(lambda: processes_of(tmp_path / "home") == [], 20)


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """Runs of several notebooks at the same time, for the tests of one module."""
    home = tmp_path_factory.mktemp("side")
    with pytest.MonkeyPatch.context() as patch:
        _settled(patch, home)
        (home / "tmp").mkdir()
        patch.setenv("TMPDIR", str(home / "tmp"))
        patch.setattr("tempfile.tempdir", None)  # so that it is looked for again
        # A cell that ignores that it is interrupted need not be waited for so long.
        patch.setattr("datapipe.notebooks.orders.Order", _hasty)
        import_module("IPython.core.inputtransformer2")  # which checks do, and which takes a while
        found = Side(home)
        yield found
        found.pool.shutdown(cancel_futures=True)
        until(lambda: processes_of(home) == [], 20)


def _hasty(**values: object) -> object:
    from datapipe.notebooks.order import Order

    return Order(**values, grace=2.0)  # type: ignore[arg-type]  # they are an order's own
