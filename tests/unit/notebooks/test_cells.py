"""The cells of a notebook: their numbers, their titles, and the one that has a run's values."""

from __future__ import annotations

from typing import Any

import pytest

from datapipe.notebooks.cells import Notebook, injected, notebook_of


def cell(source: str, *tags: str, kind: str = "code", **values: Any) -> dict[str, Any]:
    return {"cell_type": kind, "source": source, "metadata": {"tags": list(tags)}, **values}


def notebook(*cells: dict[str, Any]) -> Notebook:
    return notebook_of({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells)}, "a.ipynb")


def test_numbers_are_those_of_the_cells_that_are_executed() -> None:
    sources = [cell("# A", kind="markdown"), cell("x = 1"), cell(" \n"), cell("y", "skip-execution"), cell("z = 3")]
    found = notebook(*sources)
    assert [one.number for one in found.cells] == [0, 1, 0, 0, 2]
    assert [one.source for one in found.code] == ["x = 1", "z = 3"]


def test_a_heading_is_the_title_of_the_next_cell_alone() -> None:
    found = notebook(cell("# Load\n## All of it", kind="markdown"), cell("x = 1"), cell("\n# what is due\ny = 2"))
    assert [one.title for one in found.code] == ["All of it", "what is due"]


def test_a_title_holds_no_password() -> None:
    found = notebook(cell("connect(password='hunter2!')"), cell("# postgresql://ann:s3cret@db/crm", kind="markdown"))
    assert "hunter2" not in found.code[0].title
    with_heading = notebook(cell("# Load postgresql://ann:s3cret@db/crm", kind="markdown"), cell("x = 1"))
    assert with_heading.code[0].title.startswith("Load postgresql://") and "s3cret" not in with_heading.code[0].title


def test_values_go_after_the_cell_of_parameters_though_cells_have_the_same_id() -> None:
    found = notebook(cell("a = 1", id="x"), cell("day = 1", "parameters", id="x"), cell("b = 2", id="x"))
    assert [one.source for one in injected(found, "day = 2").cells] == ["a = 1", "day = 1", "day = 2", "b = 2"]


@pytest.mark.parametrize("source", ["day = 3", ""])
def test_values_of_an_earlier_run_are_gone(source: str) -> None:
    stale = cell("day = 2", "injected-parameters", id="injected-parameters")
    for cells in ([cell("day = 1", "parameters"), stale, cell("b = 2")], [stale, cell("day = 1", "parameters"), stale]):
        found = [one.source for one in injected(notebook(*cells), source).cells]
        assert "day = 2" not in found and found[: 2 if source else 1] == ["day = 1", source][: 2 if source else 1]


def test_values_go_on_top_where_nothing_is_declared() -> None:
    assert [one.source for one in injected(notebook(cell("b = 2")), "day = 2").cells] == ["day = 2", "b = 2"]
