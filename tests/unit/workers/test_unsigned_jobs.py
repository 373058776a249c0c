"""Notebook jobs that nobody has signed: what they may not steer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from notebookfiles import write_notebook

from datapipe.errors import PlanError
from datapipe.notebooks.model import parse_job
from datapipe.notebooks.prepared import prepared
from datapipe.workers.notebooks import opened_job, seal_job


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_notebook(tmp_path / "daily.ipynb", "x = 1")


def opened(path: Path, key: str | None = None, **values: Any) -> Any:
    job = prepared(parse_job({"notebook": {"path": str(path), **values}}))
    return opened_job(seal_job(job, "r", {}, key=key), "r", key=key, folders=str(path.parent))


@pytest.mark.parametrize("name", ["folder", "kernel", "artifacts"])
def test_a_job_that_is_not_signed_steers_nothing(path: Path, name: str) -> None:
    value = "python3" if name == "kernel" else str(path.parent)
    with pytest.raises(PlanError, match=f"a job that is not signed cannot set {name}"):
        opened(path, **{name: value})
    assert getattr(opened(path, "k" * 40, **{name: value}).plan.notebook, name) == value


def test_a_job_that_sets_nothing_of_it_is_opened(path: Path) -> None:
    assert opened(path, timeout=5).plan.notebook.timeout == 5


def test_the_place_of_artifacts_holds_no_password() -> None:
    with pytest.raises(PlanError, match="the URL of the artifacts holds a password") as raised:
        parse_job({"notebook": {"path": "a.ipynb", "artifacts": "s3://key:hunter2hunter2@bucket/a"}})
    assert "hunter2" not in str(raised.value)
