"""Live progress in a terminal."""

from __future__ import annotations

import dataclasses
import sys
import time
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

from datapipe.engine import Event, Listener
from datapipe.store import RunRow


@contextmanager
def progress(*, enabled: bool | None = None) -> Iterator[tuple[Listener, ...]]:
    """Listeners that show a run on standard error while it lasts; none where that is not a terminal."""
    show = sys.stderr.isatty() if enabled is None else enabled
    if not show:
        yield ()
        return
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.fields[rows]:>12} rows"),
        TextColumn("{task.fields[rate]:>10} rows/s"),
        # The time left where the total is known, else the time so far.
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bars:
        yield (_listener(bars),)


@contextmanager
def following(run_id: str) -> Iterator[Callable[[RunRow], None]]:
    """What shows the rows of a run of another process, one after the other, as a run of this one is shown."""
    with progress() as listeners:

        def show(row: RunRow) -> None:
            for step in row.steps:
                event = Event("progress", run_id, run_id, 0, time.time(), None, step.name, step.rows_in, step.rows_out)
                for listener in listeners:
                    listener(dataclasses.replace(event, total=step.total))

        yield show


def _listener(bars: Progress) -> Listener:
    tasks: dict[str, TaskID] = {}

    def listen(event: Event) -> None:
        if event.step is None:
            return
        if event.step not in tasks:
            tasks[event.step] = bars.add_task(event.step, total=event.total, rows="0", rate="")
        task = tasks[event.step]
        # The target's own count is known only at the end.
        done = event.rows_out or event.rows_in
        elapsed = bars.tasks[task].elapsed or 0.0
        rate = f"{done / elapsed:,.0f}" if elapsed > 0 else ""
        bars.update(task, completed=done, rows=f"{done:,}", rate=rate)
        if event.kind == "step_finished":
            bars.update(task, total=max(done, 1), completed=max(done, 1))

    return listen
