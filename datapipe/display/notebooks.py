"""What there is to say about the run of a notebook: its steps are code cells, within which plans are run."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from datapipe.display.view import NOWHERE, RunView, StepView
from datapipe.display.words import clock, count, duration, shortened

_WIDTH = 80  # characters of a title
_PATH = 200
_LINE = 120  # characters of outputs in a line
_CELLS = 20  # of a run that has ended
_LIVE = 12  # of one that lasts: it is sent several times a second


def position(view: RunView, at: int | None) -> str:
    """The cell it is at, or was at when it ended.

    Parameters
    ----------
    at : int, optional
        The place of that cell; None before the first one.

    Examples
    --------
    >>> cells = (StepView("cell 1", "cell 1", "Load the flights", state="running"), StepView("cell 2", "cell 2"))
    >>> position(RunView("r", "running", steps=cells, kind="notebook"), 0)
    'cell 1 of 2: Load the flights'
    >>> position(RunView("r", "failed", steps=cells, kind="notebook"), None)
    'before its first cell'
    """
    is_running = view.state in {"running", "cancelling"}
    if not view.steps or not (is_running or view.state in {"failed", "cancelled", "lost"}):
        return ""
    if at is None:
        return "its kernel starts" if is_running else "before its first cell"
    return f"{'' if is_running else 'at '}{cell_label(view, at)}"


def cell_label(view: RunView, place: int) -> str:
    """A cell in a few words."""
    return f"cell {place + 1} of {len(view.steps)}{_title(view.steps[place])}"


def ended(view: RunView, cell: StepView) -> str:
    """A line about a cell that has ended."""
    took = lasted(view, cell)
    return f"{cell.name} of {len(view.steps)} done{f' in {duration(took)}' if took is not None else ''}{_title(cell)}"


def _title(cell: StepView) -> str:
    return f": {shortened(cell.what, _WIDTH)}" if cell.what.strip() else ""


def amounts(view: RunView) -> str:
    """How many cells and pipelines, how long."""
    if view.replay_of is not None:
        earlier = f"run {view.replay_of[:8]}, which has the same key, has done it"
        return f"nothing to do: {earlier} · {duration(view.elapsed)}"
    found = [amount(view)] if view.steps else []
    if not view.final:
        return " · ".join([*found, f"{clock(view.elapsed)} so far"])
    found += [count(len(view.children), "pipeline")] if view.children else []
    return " · ".join([*found, duration(view.elapsed)])


def amount(view: RunView) -> str:
    """How many of its cells are done."""
    done, cells = cells_done(view), count(len(view.steps), "cell")
    return cells if view.final and done == len(view.steps) else f"{done} of {cells}"


def cells_done(view: RunView) -> int:
    """How many cells have ended well."""
    return sum(cell.state == "done" for cell in view.steps)


def share(view: RunView) -> float | None:
    """How much of it is done: cells, as nobody knows how long each takes."""
    return cells_done(view) / len(view.steps) if view.steps else None


def effect(view: RunView) -> str:
    """What the run has left behind, as far as it is known."""
    if view.state == "succeeded" and view.outputs:
        return outputs_line(view) or count(len(view.outputs), "output")
    if view.state in {"failed", "cancelled"}:
        return _loaded(view.children)
    return shortened(view.source, _PATH)


def outputs_line(view: RunView) -> str:
    """The outputs in a line; empty if they do not fit."""
    text = "outputs: " + ", ".join(f"{name} = {value}" for name, value in view.outputs)
    return text if view.outputs and len(text) <= _LINE and "\n" not in text else ""


def _loaded(children: Sequence[RunView]) -> str:
    """How many pipelines had loaded their rows when the notebook ended before its time."""
    loads = [child for child in children if child.target not in {"", NOWHERE}]
    done, unknown = (sum(map(test, loads)) for test in (_has_loaded, _is_unknown))
    if not loads:
        return ""
    if unknown and len(loads) == 1:
        return "Whether its pipeline has loaded its rows is not known."
    if unknown:
        return f"{done} of its {count(len(loads), 'pipeline')} had loaded their rows; of {unknown} it is not known."
    if len(loads) == 1:
        return f"Its pipeline had {'' if done else 'not '}loaded its rows."
    some = {0: "None", len(loads): "All"}.get(done, f"{done:,}")
    return f"{some} of its {count(len(loads), 'pipeline')} had loaded {'its' if done == 1 else 'their'} rows."


def _has_loaded(child: RunView) -> bool:
    return child.state == "succeeded"


def _is_unknown(child: RunView) -> bool:
    """Whether a run may have loaded its rows, or may still do so."""
    return child.unsure or not child.final or (child.error is not None and child.error.kind == "OutcomeUnknown")


def kept(view: RunView) -> str:
    """Where the notebook is, unless that is told already, and where what it leaves is kept."""
    path = shortened(view.source, _PATH)
    found = [path] if path and effect(view) != path else []
    found += [f"kept in {shortened(view.artifacts, 2 * _PATH)}"] if view.artifacts else []
    return " · ".join(found)


def lasted(view: RunView, cell: StepView) -> float | None:
    """Seconds that a cell took, or has taken so far."""
    known = cell.busy if cell.busy is not None else cell.seconds
    if known is not None or cell.begun is None or cell.state == "waiting":
        return known
    return max(0.0, view.elapsed - cell.begun)


def shown(view: RunView, at: int | None) -> tuple[Sequence[int], str]:
    """The places of the cells that a card shows, and what is said of the others.

    All of them if they are few; the slowest ones of a run that has succeeded; else those around the one it is at.
    """
    most, cells = _CELLS if view.final else _LIVE, len(view.steps)
    if view.replay_of is not None:  # none was executed
        return (), ""
    if cells <= most:
        return range(cells), ""
    if view.state == "succeeded":
        slowest = heapq.nlargest(most, range(cells), key=lambda place: lasted(view, view.steps[place]) or 0.0)
        return sorted(slowest), f"and {count(cells - most, 'more cell')}, none of which took longer"
    first = min(max(0, (at or 0) - (most - 1 - most // 4)), cells - most)  # what was before matters more
    others = [(first, "before these"), (cells - most - first, "after these")]
    return range(first, first + most), ", ".join(f"and {count(n, 'cell')} {where}" for n, where in others if n)


def current(view: RunView) -> RunView | None:
    """The pipeline that runs within it right now, or waits for a worker: the latest, if there are several."""
    if view.final:
        return None
    states = ({"running", "cancelling"}, {"queued"})
    found = (child for some in states for child in reversed(view.children) if child.state in some)
    return next(found, None)
