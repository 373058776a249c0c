"""One execution from its order to its artifacts."""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import nbformat
import papermill
from papermill.engines import papermill_engines

from datapipe.errors import DatapipeError
from datapipe.execution import engine
from datapipe.execution.report import MARK, NOTEBOOK, Report
from datapipe.execution.session import Session
from datapipe.execution.telling import Teller
from datapipe.notebooks.artifacts import Artifacts
from datapipe.notebooks.cells import codes, notebook_of
from datapipe.notebooks.order import Order, Outcome
from datapipe.secrets import Redactor, redactor

Listening = Callable[[Callable[[Outcome], None]], AbstractContextManager[None]]


def executed(order: Order, tell: Teller, listening: Listening) -> dict[str, Any]:
    """Execute a notebook, and keep what it leaves; the outcome as plain JSON values."""
    Path(order.scratch, "outputs").mkdir(mode=0o700, exist_ok=True)
    report = _report(order)
    nb = prepared(order)
    try:
        report.keep(nb, {})
    except DatapipeError as error:  # told before anything is executed
        return {**Outcome("failed", None, error.to_dict()).to_dict(), "not_kept": None}
    session = Session(order, tell, report.keep_copy, report.keep_output)
    promises = notebook_of(order.notebook, order.path).cell_for("outputs") is not None
    threading.Thread(target=_load, args=(promises,), name="datapipe load", daemon=True).start()
    with listening(session.stop):
        papermill_engines.execute_notebook_with_engine(engine.NAME, nb, order.kernel, session=session)
        outcome = session.result(len(codes(nb.cells)))
        if promises and outcome.state == "succeeded":
            from datapipe.notebooks.promises import broken_promise

            broken = broken_promise(notebook_of(order.notebook, order.path), session.outputs)
            outcome = outcome if broken is None else Outcome("failed", None, broken)
        tell("outcome", **_redactor(order).data(outcome.to_dict()))  # whatever comes now
        facts = {"outputs": session.outputs, "notes": session.notes}
        return _finished(order, report, nb, session.states, outcome, facts)


def _load(promises: bool) -> None:
    """Load what is needed when the last cell has ended, and takes a second or two, while the kernel works."""
    for name in ("nbconvert", *(["datapipe.notebooks.promises"] if promises else [])):
        import_module(name)


def finished(order: Order, past: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what is left of an execution whose process died; ``past`` is what it had told."""
    states = {int(index): state for index, state in past["states"].items()}
    nb = prepared(dataclasses.replace(order, notebook=_kept(order) or order.notebook))
    outcome = Outcome(past["state"], past.get("reason"), past.get("error"))
    return _finished(order, _report(order), nb, states, outcome, {"outputs": past.get("outputs") or {}})


def _kept(order: Order) -> Mapping[str, Any] | None:
    """The copy of the notebook that was kept last, without marks; None if there is none."""
    with suppress(DatapipeError, OSError, ValueError):
        text = Artifacts(order.root, order.place).read(NOTEBOOK)
        if text is not None:
            found: dict[str, Any] = json.loads(text)
            cells = [cell for cell in found["cells"] if MARK not in cell["metadata"].get("tags", ())]
            return {**found, "cells": cells}
    return None


def prepared(order: Order) -> Any:
    """The notebook as papermill's engines want it."""
    nb = nbformat.from_dict(dict(order.notebook))  # type: ignore[no-untyped-call]  # it has none
    nb = nbformat.v4.upgrade(nb) or nb  # type: ignore[no-untyped-call]  # nor this
    nb.metadata.setdefault(
        "papermill", {"default_parameters": {}, "environment_variables": {}, "version": papermill.__version__}
    )
    for cell in nb.cells:
        cell.metadata.setdefault("tags", [])
        cell.metadata.setdefault("papermill", {})
    return nb


def _report(order: Order) -> Report:
    return Report(order, Artifacts(order.root, order.place), _redactor(order))


def _redactor(order: Order) -> Redactor:
    return redactor(order.secrets, [Path(order.folder)])  # where the kernel looks for a .env, too


def _finished(
    order: Order, report: Report, nb: Any, states: Mapping[int, str], outcome: Outcome, facts: Mapping[str, Any]
) -> dict[str, Any]:
    told, kept = outcome, None
    try:
        told = report.finish(nb, states, outcome, facts)
    except (DatapipeError, OSError) as error:
        kept = f"the artifacts could not be kept: {error}"
        told = Outcome(**_redactor(order).data(outcome.to_dict()))
    finally:
        shutil.rmtree(order.scratch, ignore_errors=True)
    return {**told.to_dict(), "not_kept": kept}
