"""Whether a notebook has given the outputs that it declares, in a cell tagged ``outputs``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datapipe.errors import did_you_mean
from datapipe.notebooks.cells import Notebook
from datapipe.notebooks.declarations import Parameter, declared
from datapipe.notebooks.given import is_exactly
from datapipe.notebooks.kinds import FRAME, Kind
from datapipe.plan.values import decode, thawed

ROLE = "outputs"


def broken_promise(notebook: Notebook, outputs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The first declared output that is missing or of another type, as an error; None if there is none.

    Parameters
    ----------
    outputs : mapping
        What it has given, as :func:`datapipe.output` shows it.

    Examples
    --------
    >>> from datapipe.notebooks.cells import notebook_of
    >>> cell = {"cell_type": "code", "source": "# outputs\\nrows: int"}
    >>> notebook = notebook_of({"nbformat": 4, "cells": [cell]}, "daily.ipynb")
    >>> broken_promise(notebook, {})["message"]
    "it has declared the output 'rows' (int) and has not given it"
    >>> broken_promise(notebook, {"rows": {"value": 5}})
    """
    for promise in declared(notebook, ROLE):
        found = outputs.get(promise.name)
        if found is None and (not promise.required or promise.kind.takes_none):
            continue
        if found is None:
            near = did_you_mean(promise.name, outputs, what="given") if outputs else ""
            hint = near or f"Call datapipe.output({promise.name!r}, …)"
            return _error(f"it has declared the output {promise.name!r} ({promise.type}) and has not given it", hint)
        if not _keeps(promise, found):
            given = "a frame" if "columns" in found else f"a {type(thawed(decode(found.get('value')))).__name__}"
            message = f"it has declared the output {promise.name!r} as {promise.type} and has given {given}"
            return _error(message, "Change one of them")
    return None


def _error(message: str, hint: str) -> dict[str, Any]:
    return {"type": "MissingOutput", "message": message, "hint": hint, "cell": None}


def _keeps(promise: Parameter, found: Mapping[str, Any]) -> bool:
    kinds = promise.kind.of if promise.kind.name == "union" else (promise.kind,)
    if "columns" in found:
        return FRAME in kinds or any(kind.name == "Any" for kind in kinds)
    value = thawed(decode(found.get("value")))
    return any(kind != FRAME and _is(kind, value) for kind in kinds)


def _is(kind: Kind, value: Any) -> bool:
    """Whether a value is of a type; what JSON has no form for has travelled as a list, or as a text."""
    if kind.name == "Path":
        return isinstance(value, str)
    if kind.name in {"tuple", "tuple...", "set"} and isinstance(value, list):
        return is_exactly(kind, set(value) if kind.name == "set" else tuple(value))
    return is_exactly(kind, value)
