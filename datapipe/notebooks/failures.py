"""How a notebook that did not succeed is told: as an error to raise, and as one to keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datapipe.errors import (
    LOADED_STAYS,
    DatapipeError,
    Interrupted,
    NotebookError,
    RunCancelled,
    TransientError,
    from_dict,
)
from datapipe.notebooks.order import INTERRUPTED, Outcome
from datapipe.traces import Excerpt

# Their messages say it all.
_OURS = frozenset({"TimedOut", "KernelDied", "MissingOutput", "OutputFailed", "SystemExit", "ExecutionFailed"})
_PASSING = (TransientError, ConnectionError, TimeoutError)


def may_pass(outcome: Outcome) -> bool:
    """Whether another attempt may end better: the kernel died, or a cell raised an error that may pass.

    Examples
    --------
    >>> may_pass(Outcome("failed", "kernel_died")), may_pass(Outcome("failed", None, {"type": "ValueError"}))
    (True, False)
    """
    if outcome.state != "failed":
        return False
    return outcome.reason == "kernel_died" or (outcome.reason is None and (outcome.error or {}).get("type") in _NAMES)


def problem(outcome: Outcome) -> dict[str, Any] | None:
    """The error of an outcome as the run store keeps it, and a card shows it."""
    if outcome.error is None or outcome.state != "failed":
        return None
    found = {**outcome.error, "step": f"cell {outcome.error['cell']}" if outcome.error.get("cell") else None}
    return {**found, "type": ""} if found.get("type") in _OURS else found


def sentence(outcome: Outcome, title: str = "") -> str:
    """What went wrong, and in which cell.

    Examples
    --------
    >>> sentence(Outcome("failed", None, {"type": "ValueError", "message": "no rows", "cell": 5}), "Load")
    'cell 5 (Load): ValueError: no rows'
    """
    found = problem(outcome) or {}
    where = f"{found['step']}{f' ({title})' if title else ''}: " if found.get("step") else ""
    kind = f"{found['type']}: " if found.get("type") and where else ""  # of what a cell has raised
    return f"{where}{kind}{found.get('message', outcome.state)}"


def discreet(outcome: Outcome) -> str:
    """What went wrong, without what a cell has said, which may quote a row.

    Examples
    --------
    >>> discreet(Outcome("failed", None, {"type": "ValueError", "message": "no user ann", "cell": 5}))
    'cell 5: ValueError'
    """
    found = problem(outcome) or {}
    if not found.get("step"):
        return str(found.get("message", outcome.state))
    return f"{found['step']}: {found.get('type') or found.get('message')}"


def failure(outcome: Outcome, said: str) -> DatapipeError | Interrupted | None:
    """The error to raise for an outcome; None for one that needs none."""
    if outcome.state == "succeeded":
        return None
    if outcome.state == "cancelled":
        if outcome.reason == INTERRUPTED:
            return Interrupted(f"the notebook was cancelled. {LOADED_STAYS}")
        return RunCancelled("the run was cancelled", hint=LOADED_STAYS)
    found: Mapping[str, Any] = outcome.error or {}
    # What a cell has raised is of a class of its own; DataError may be anybody's.
    of_a_cell = {**found, "type": "NotebookError", "message": said}
    known = from_dict(of_a_cell if found.get("cell") else found, unknown=NotebookError)
    if found.get("excerpt"):
        known.excerpt = Excerpt.from_dict(found["excerpt"])
    if found.get("traceback"):
        known.add_note(f"\nIn the notebook:\n{found['traceback']}")
    return known


def _names(kind: type[BaseException]) -> set[str]:
    return {kind.__name__}.union(*(_names(below) for below in kind.__subclasses__()))


_NAMES = frozenset().union(*map(_names, _PASSING)) - {"InProgress"}
