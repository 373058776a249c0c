"""Whether a notebook has given the outputs that it declares."""

from __future__ import annotations

from typing import Any

import pytest

from datapipe.notebooks.cells import Notebook, notebook_of
from datapipe.notebooks.promises import broken_promise


def declared_notebook(source: str) -> Notebook:
    cell = {"cell_type": "code", "source": f"# outputs\n{source}", "metadata": {}}
    return notebook_of({"nbformat": 4, "cells": [cell]}, "daily.ipynb")


FRAME = {"columns": {"a": "int64"}, "rows": 1, "uri": "/kept"}


@pytest.mark.parametrize(
    ("source", "outputs"),
    [
        ("", {}),
        ("rows: int", {"rows": {"value": 5}}),
        ("rows: int | None", {"rows": {"value": None}}),
        ("rows: int | None", {}),
        ("rows: int = 0", {}),
        ("day: date", {"day": {"value": {"type": "date", "value": "2024-01-01"}}}),
        ("price: Decimal", {"price": {"value": {"type": "decimal", "value": "1.5"}}}),
        ("days: list[date]", {"days": {"value": [{"type": "date", "value": "2024-01-01"}]}}),
        ("rates: dict[str, float]", {"rates": {"value": {"a": 1.5}}}),
        ("table: DataFrame", {"table": FRAME}),
        ("table: DataFrame | None", {"table": {"value": None}}),
        ("rows: int", {"rows": {"value": 5}, "more": {"value": "is welcome"}}),
    ],
)
def test_promises_that_are_kept(source: str, outputs: dict[str, Any]) -> None:
    assert broken_promise(declared_notebook(source), outputs) is None


@pytest.mark.parametrize(
    ("source", "outputs", "message"),
    [
        ("rows: int", {}, "it has declared the output 'rows' (int) and has not given it"),
        ("rows: int", {"row": {"value": 1}}, "it has declared the output 'rows' (int) and has not given it"),
        ("rows: int", {"rows": {"value": "5"}}, "it has declared the output 'rows' as int and has given a str"),
        ("rows: int", {"rows": {"value": None}}, "it has declared the output 'rows' as int and has given a NoneType"),
        ("rows: int", {"rows": FRAME}, "it has declared the output 'rows' as int and has given a frame"),
        ("table: DataFrame", {"table": {"value": 1}}, "it has declared the output 'table' as DataFrame and has given a int"),
        ("day: date", {"day": {"value": "2024-01-01"}}, "it has declared the output 'day' as date and has given a str"),
    ],
)  # fmt: skip
def test_promises_that_are_broken(source: str, outputs: dict[str, Any], message: str) -> None:
    found = broken_promise(declared_notebook(source), outputs)
    assert found is not None and (found["message"], found["type"], found["cell"]) == (message, "MissingOutput", None)
    assert found["hint"]


def test_the_nearest_name_is_told() -> None:
    found = broken_promise(declared_notebook("rows: int"), {"row": {"value": 1}})
    assert found is not None and found["hint"].startswith("Did you mean 'row'?")
