"""A run that lasts, in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from datapipe.display import notebooks
from datapipe.display.facts import amounts, headline, inner, position, run_title, step_label, warnings
from datapipe.display.view import RunView
from datapipe.display.words import count, rate, shortened, unmoving

_BESIDE = 56  # characters that numbers and times take beside a label
_NARROWEST = 24


@dataclass(frozen=True)
class Bar:
    """A line about what is at work.

    Parameters
    ----------
    name : str
        What it is known by, from one view to the next.
    label, amount : str
    rows : int, optional
        How many there are so far, where it is about rows.
    total : int, optional
        How many there will be, where that is known.
    speed : float, optional
        Rows per second; by default since the line is there.
    done : bool
    """

    name: str
    label: str
    amount: str
    rows: int | None = None
    total: int | None = None
    speed: float | None = None
    done: bool = False


@contextmanager
def terminal() -> Iterator[Callable[[RunView], None]]:
    """What shows one view of a run after the other, on standard error; a line stays when the run has ended."""
    last: list[RunView] = []
    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[amount]:>17}"),
        TextColumn("{task.fields[speed]:>14}"),
        # The time left where the total is known, else the time so far.
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def show(view: RunView) -> None:
            last[:] = [view]
            found = bars_of(view)
            for name in tasks.keys() - {bar.name for bar in found}:
                bars.remove_task(tasks.pop(name))
            for bar in found:
                _show_bar(bars, tasks, bar)

        yield show
    if last and last[0].final:
        told = unmoving(" · ".join((*headline(last[0]), amounts(last[0]), *warnings(last[0]))))
        console.print(told, markup=False, highlight=False, soft_wrap=True)


def bars_of(view: RunView) -> list[Bar]:
    """The lines about a run: one a step; for a notebook, one about its cells and one about what runs within them.

    Examples
    --------
    >>> from datapipe.display.view import StepView
    >>> cells = (StepView("cell 1", "cell 1", "Load", state="done"), StepView("cell 2", "cell 2", "Check"))
    >>> [(bar.label, bar.amount) for bar in bars_of(RunView("r", "running", steps=cells, kind="notebook"))]
    [('cell 1 of 2: Load', '1 of 2 cells')]
    """
    if view.kind == "notebook":
        cells = Bar(view.id, position(view) or run_title(view), notebooks.amount(view))
        child = inner(view)
        return [cells, *([_bar_of_child(child)] if child is not None else [])]
    bars = []
    for step in view.steps:
        rows = step.rows_out or step.rows_in  # the target's own count is known only at the end
        if step.state != "waiting":
            bars.append(Bar(step.name, step_label(step), count(rows), rows, step.total, done=step.state == "done"))
    return bars


def _bar_of_child(child: RunView) -> Bar:
    label = "└ " + " · ".join(filter(None, [position(child).removeprefix("at "), run_title(child)]))
    if child.kind == "notebook":
        return Bar(child.id, label, notebooks.amount(child))
    total, rows = child.steps[0].total if child.steps else None, child.rows_read
    return Bar(
        child.id, label, count(rows), rows, total, child.speed or (rows / child.elapsed if child.elapsed else 0.0)
    )


def _show_bar(bars: Progress, tasks: dict[str, TaskID], bar: Bar) -> None:
    if bar.name not in tasks:
        tasks[bar.name] = bars.add_task("", total=bar.total, amount="", speed="")
    task = tasks[bar.name]
    elapsed = bars.tasks[bars.task_ids.index(task)].elapsed
    known = bar.rows / elapsed if bar.speed is None and bar.rows and elapsed else bar.speed
    label = shortened(unmoving(bar.label), max(_NARROWEST, bars.console.width - _BESIDE))
    bars.update(task, description=label, completed=bar.rows or 0, amount=bar.amount, speed=rate(known) if known else "")
    if bar.done:
        most = max(bar.rows or 0, 1)
        bars.update(task, total=most, completed=most)
    elif bar.total is not None:  # a run that waited did not know it yet
        bars.update(task, total=bar.total)
