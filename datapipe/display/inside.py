"""What is run within a notebook, and what it gives, as tables of texts: cards of HTML and of text show the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from datapipe.display import facts, notebooks
from datapipe.display.view import RunView
from datapipe.display.words import clock, count, duration, shortened, state_words

_RUNS = 12  # pipelines of a run that has ended
_LIVE = 4  # of one that lasts: it is sent several times a second
_OUTPUTS = 20
_WIDTH = 40  # characters
_VALUE = 120


@dataclass(frozen=True)
class Listing:
    """A table.

    Parameters
    ----------
    columns : tuple of (str, tuple of str)
        The names of the columns, and their cells.
    more : str
        What is said of the rows that are left out.
    """

    columns: tuple[tuple[str, tuple[str, ...]], ...]
    more: str = ""


def listings(view: RunView) -> list[Listing]:
    """The pipelines of a notebook's run, and its outputs where they do not fit a line; nothing for a plan.

    Examples
    --------
    >>> child = RunView("7d7d5f5c-8a5f", "succeeded", "users", "members", rows_written=5, elapsed=0.5)
    >>> [found] = listings(RunView("r", "running", kind="notebook", children=(child,)))
    >>> [cells[0] for _, cells in found.columns]
    ['users → members', '5 written', '500 ms', '7d7d5f5c', '✓ succeeded']
    """
    found = [_pipelines(view)] if view.children else []
    is_told = view.state == "succeeded" and notebooks.outputs_line(view)
    return [*found, _outputs(view)] if view.final and view.outputs and not is_told else found


def _pipelines(view: RunView) -> Listing:
    most = _RUNS if view.final else _LIVE
    earlier, latest = view.children[:-most], view.children[-most:]
    rows = [
        (
            facts.run_title(child),
            _rows(child),
            "" if child.state == "queued" else (duration if child.final else clock)(child.elapsed),
            child.id[:8],
            f"{state_words(child.state)[0]} {child.state} {shortened(facts.position(child), _WIDTH)}".strip(),
        )
        for child in latest
    ]
    told = ", ".join(f"{number:,} {state}" for state, number in Counter(c.state for c in earlier).most_common())
    head = ("pipeline", "rows", "took", "run", "state")
    return Listing(_columns(head, rows), f"and {count(len(earlier), 'pipeline')} before these: {told}" if told else "")


def _rows(child: RunView) -> str:
    """The rows of a pipeline: those read and those written, or how many of all."""
    if child.kind == "notebook" or child.state == "queued":
        return ""
    if child.replay_of is not None:
        return "nothing to do"
    read, total = f"{child.rows_read:,}", child.steps[0].total if child.steps else None
    if child.state == "succeeded":
        return f"{read} → {child.rows_written:,}" if child.rows_read else f"{child.rows_written:,} written"
    return f"{read} of {total:,}" if total and not child.final else f"{read} read"


def _outputs(view: RunView) -> Listing:
    rows = [(shortened(name, _WIDTH), shortened(value, _VALUE)) for name, value in view.outputs[:_OUTPUTS]]
    more = len(view.outputs) - _OUTPUTS
    return Listing(_columns(("output", "value"), rows), f"and {count(more, 'more output')}" if more > 0 else "")


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple(zip(head, zip(*rows, strict=True), strict=True))
