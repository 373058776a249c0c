"""A run that lasts, in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from datapipe.display.facts import amounts, headline, step_label
from datapipe.display.view import RunView, StepView
from datapipe.display.words import rate


@contextmanager
def terminal() -> Iterator[Callable[[RunView], None]]:
    """What shows one view of a run after the other, on standard error; a line stays when the run has ended."""
    last: list[RunView] = []
    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[rows]:>12} rows"),
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
            for step in view.steps:
                if step.state != "waiting":
                    _show_step(bars, tasks, step)

        yield show
    if last and last[0].final:
        console.print(" · ".join((*headline(last[0]), amounts(last[0]))), markup=False, highlight=False, soft_wrap=True)


def _show_step(bars: Progress, tasks: dict[str, TaskID], step: StepView) -> None:
    if step.name not in tasks:
        tasks[step.name] = bars.add_task(step_label(step), total=step.total, rows="0", speed="")
    task = tasks[step.name]
    # The target's own count is known only at the end.
    done = step.rows_out or step.rows_in
    elapsed = bars.tasks[bars.task_ids.index(task)].elapsed or 0.0
    bars.update(task, completed=done, rows=f"{done:,}", speed=rate(done / elapsed) if elapsed else "")
    if step.state == "done":
        bars.update(task, total=max(done, 1), completed=max(done, 1))
