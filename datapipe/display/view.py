"""A run at one moment, as a frozen value: every card, in a notebook, a terminal or a web page, is a function of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from datapipe.display.text import plan_lines
from datapipe.plan import Plan

StepState = Literal["waiting", "running", "done", "failed"]
FINAL = frozenset({"succeeded", "failed", "cancelled", "skipped"})
NOWHERE = "nowhere"  # the target of a plan that writes nothing
_WINDOW = 5.0  # seconds that a speed is the mean of
_EARLY = 2.0  # seconds before which no end is foretold
_LITTLE = 0.05  # the share of the rows before which no end is foretold


@dataclass(frozen=True)
class StepView:
    """One step, and how far it is.

    Parameters
    ----------
    name : str
        As errors have it, such as ``transformation step 1 (sql)``.
    verb, what : str
        For people: ``sql`` and its text.
    where : str
        Where it was written: ``In[4]:2``, or a file and its line.
    total : int, optional
        The rows it will hand on, where they are known.
    begun, seconds : float, optional
        Seconds from the beginning of the run to its first row, and from there to its last.
    busy : float, optional
        Seconds in which it was at work.
    peak : int
        The bytes that it held at most, once it has ended.
    """

    name: str
    verb: str
    what: str = ""
    where: str = ""
    state: StepState = "waiting"
    rows_in: int = 0
    rows_out: int = 0
    rejected: int = 0
    total: int | None = None
    begun: float | None = None
    seconds: float | None = None
    busy: float | None = None
    peak: int = 0


@dataclass(frozen=True)
class LogLine:
    """Something a run had to say; ``time`` is a clock's, for people."""

    time: str
    text: str


@dataclass(frozen=True)
class ErrorView:
    """Why a run failed.

    Parameters
    ----------
    kind, message : str
    step : str, optional
    hint : str, optional
        What to do next.
    row : int, optional
        The number of the row it is about, from 1.
    column : str, optional
    place : str
        Where the user's code failed: ``In[4]:3 in clean``.
    code : str
        The user's own code around that line, which is marked.
    cells : mapping of str to str
        The row itself, where it may be shown.
    traceback : str
    """

    kind: str
    message: str
    step: str | None = None
    hint: str | None = None
    row: int | None = None
    column: str | None = None
    place: str = ""
    code: str = ""
    cells: Mapping[str, str] = field(default_factory=dict)
    traceback: str = ""


@dataclass(frozen=True)
class RunView:
    """A run at one moment.

    Parameters
    ----------
    id, source, target : str
    state : str
        queued, running, cancelling, succeeded, failed, cancelled, skipped or lost.
    steps : tuple of StepView
        From the source to the target.
    elapsed : float
        Seconds since it began.
    pace : tuple of (float, int)
        Seconds since it began, and the rows that had left the source by then, in this order.
    notes : tuple of LogLine
    replay_of : str, optional
        The id of an earlier run that had done the same, by the same idempotency key.
    silence : float, optional
        Seconds since a run of another process has given a sign of life.
    ahead : int, optional
        How many runs wait before this one in its queue.
    at : str
        The time of the day that it is about, where it may be looked at later.
    unsure : bool
        Whether one that has not succeeded may have taken effect all the same: nobody has seen its end.
    kind : {"plan", "notebook"}
        What is run. The steps of a notebook are its code cells.
    children : tuple of RunView
        The runs of plans that a notebook has begun, the oldest first.
    outputs : tuple of (str, str)
        What a notebook has given as its outputs: names, and values for people.
    artifacts : str
        Where what a notebook leaves is kept: a folder's path or a URL.
    """

    id: str
    state: str
    source: str = ""
    target: str = ""
    name: str | None = None
    reason: str | None = None
    steps: tuple[StepView, ...] = ()
    elapsed: float = 0.0
    pace: tuple[tuple[float, int], ...] = ()
    notes: tuple[LogLine, ...] = ()
    error: ErrorView | None = None
    rows_written: int = 0
    deduplicated: int = 0
    deleted: int = 0
    rejected: int = 0
    replay_of: str | None = None
    schema_version: int | None = None
    attempts: int = 1
    place: str = ""
    silence: float | None = None
    ahead: int | None = None
    at: str = ""
    unsure: bool = False
    kind: Literal["plan", "notebook"] = "plan"
    children: tuple[RunView, ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()
    artifacts: str = ""

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in FINAL

    @property
    def rows_read(self) -> int:
        """The rows that have left the source."""
        return self.steps[0].rows_out if self.steps else 0

    @property
    def current(self) -> int | None:
        """The place of the step that rows have come furthest to: 0 is the source, the last one the target."""
        begun = [place for place, step in enumerate(self.steps) if step.state != "waiting"]
        return begun[-1] if begun else None

    @property
    def all_read(self) -> bool:
        """Whether every row has left the source."""
        first = self.steps[0] if self.steps else None
        return first is not None and bool(first.rows_out) and (first.state == "done" or first.rows_out == first.total)

    @property
    def share(self) -> float | None:
        """How much of the rows have left the source; None where their number is not known, or all of them have."""
        total = self.steps[0].total if self.steps else None
        return self.rows_read / total if total and not self.all_read else None

    @property
    def speed(self) -> float | None:
        """Rows per second: at the end over the whole run, before that over the last seconds."""
        if self.final:
            return self.rows_read / self.elapsed if self.elapsed and self.rows_read else None
        if not self.pace:
            return None
        last = self.pace[-1]
        first = next((point for point in self.pace if last[0] - point[0] <= _WINDOW), last)
        now = max(self.elapsed, last[0])
        return (last[1] - first[1]) / (now - first[0]) if now > first[0] else None

    @property
    def left(self) -> float | None:
        """Seconds until the last row has left the source, as far as that can be told."""
        if self.state != "running" or self.share is None or not self.speed:
            return None
        if self.elapsed < _EARLY or self.share < _LITTLE:
            return None
        return ((self.steps[0].total or 0) - self.rows_read) / self.speed


def view_of_plan(plan: Plan, run_id: str, places: Sequence[str] = (), first: int = 1) -> RunView:
    """A run of a plan that has not begun.

    Parameters
    ----------
    places : sequence of str
        Where the source, each transformation and the target were written.
    first : int
        The number of the first transformation.
    """
    lines = plan_lines(plan)
    names = [f"transformation step {n} ({step.type})" for n, step in enumerate(plan.transformation, first)]
    wheres = [*places, *[""] * len(lines)]
    steps = (
        StepView(name, verb, what, where)
        for name, (verb, what), where in zip(["ingestion", *names, "persistence"], lines, wheres, strict=False)
    )
    target = plan.persistence.label if plan.persistence else NOWHERE
    return RunView(run_id, "running", plan.ingestion.label, target, plan.name, steps=tuple(steps))


def aged(view: RunView, seconds: float) -> RunView:
    """The same view some seconds later, in which nothing was heard of the run."""
    if view.final or seconds <= 0:
        return view
    silence = None if view.silence is None else view.silence + seconds
    children = tuple(aged(child, seconds) for child in view.children)
    return dataclasses.replace(view, elapsed=view.elapsed + seconds, silence=silence, children=children)
