"""A job that is ready to run: its values in it, its code looked over, nothing started."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from notebookfiles import write_notebook

import datapipe
from datapipe.errors import PlanError
from datapipe.notebooks.model import parse_job
from datapipe.notebooks.prepared import bound, prepared


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_notebook(
        tmp_path / "daily.ipynb",
        "# parameters\nfrom datetime import date\nday: date\nlate: int = 15\nkey: str = ''",
        "x = day, late, key",
    )


def plan(path: Path, **parameters: Any) -> Any:
    return parse_job({"notebook": {"path": str(path), "parameters": parameters}})


def test_what_is_executed_has_the_values_in_it(path: Path) -> None:
    found = prepared(plan(path, day="2013-05-01"))
    assert len(found.executed.cells) == len(found.notebook.cells) + 1
    assert "day = " in found.executed.cells[1].source and "2013" in found.executed.cells[1].source
    assert found.values == {"day": "2013-05-01"} and found.kernel == "python3" and found.folder == path.parent
    assert found.secrets == () and found.warnings == ()


def test_secrets_stay_references(path: Path) -> None:
    found = prepared(plan(path, day="2013-05-01", key="secret:CRM_KEY"))
    assert found.secrets == ("CRM_KEY",) and "CRM_KEY" in found.executed.cells[1].source
    assert found.portable().notebook.parameters["key"] == "secret:CRM_KEY"


def test_a_fingerprint_is_of_the_code_and_the_values(path: Path, tmp_path: Path) -> None:
    one = prepared(plan(path, day="2013-05-01")).fingerprint
    assert prepared(plan(path, day=dt.date(2013, 5, 1))).fingerprint == one
    assert prepared(plan(path, day="2013-05-02")).fingerprint != one
    assert prepared(plan(path, day="2013-05-01", late=16)).fingerprint != one
    copied = tmp_path / "elsewhere.ipynb"
    copied.write_bytes(path.read_bytes())
    assert prepared(plan(copied, day="2013-05-01")).fingerprint == one
    write_notebook(copied, *[cell.source for cell in prepared(plan(path, day="2013-05-01")).notebook.cells], "y = 1")
    assert prepared(plan(copied, day="2013-05-01")).fingerprint != one


def test_values_are_checked_before_anything_runs(path: Path) -> None:
    with pytest.raises(PlanError, match="day"):
        prepared(plan(path))
    with pytest.raises(PlanError, match="Did you mean 'day'"):
        bound(plan(path), {"dai": "2013-05-01"})
    with pytest.raises(PlanError, match="late"):
        bound(plan(path), {"late": "many"})
    assert bound(plan(path), {"late": 20}).notebook.parameters == {"late": 20}, "what is missing is told when it runs"
    assert bound(bound(plan(path), {"late": 20}), {"day": "2013-05-01"}).notebook.parameters == {
        "late": 20,
        "day": "2013-05-01",
    }


def test_a_parameter_may_have_any_name(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "many.ipynb", "# parameters\ntexts: int = 1\nparams: int = 2", "x = texts, params")
    job = datapipe.notebook(path, {"texts": 5, "params": 6})
    assert job.plan.notebook.parameters == {"texts": 5, "params": 6}
    assert job.bind({"texts": "7"}, texts=True).plan.notebook.parameters["texts"] == 7


def test_code_that_cannot_run_is_refused_unless_told_otherwise(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "wrong.ipynb", "x = 1", "print(y)\nprint(z)", "def f(:")
    with pytest.raises(
        PlanError, match=r"wrong\.ipynb, cell 3, line 1.* \(and 2 more: datapipe notebook check .*\)|and 2 more"
    ) as raised:
        prepared(plan(path))
    assert raised.value.hint == "Mend it; check=False, or --no-check, runs it all the same"
    assert prepared(plan(path), check=False).warnings == ()


def test_a_folder_that_is_not_there_is_refused(path: Path) -> None:
    given = parse_job({"notebook": {"path": str(path), "parameters": {"day": "2013-05-01"}, "folder": "nowhere"}})
    with pytest.raises(PlanError, match="there is no folder 'nowhere' for the kernel to work in"):
        prepared(given)


def test_a_notebook_that_came_with_a_message_works_in_the_folder_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}
    found = prepared(parse_job({"notebook": "/not/here/a.ipynb"}), content=content)
    assert found.folder == tmp_path and found.notebook.path == "/not/here/a.ipynb"


def test_a_job_in_a_background_needs_a_record(path: Path) -> None:
    with pytest.raises(PlanError, match="a run in the background is known by its record"):
        datapipe.notebook(path, {"day": "2013-05-01"}).run(background=True)
