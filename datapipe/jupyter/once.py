"""A run is shown once in a cell: its card, and not its result beside it."""

from __future__ import annotations

from typing import Any

from datapipe.engine import RunResult
from datapipe.history import Run
from datapipe.jupyter.output import put
from datapipe.surroundings import shell_of_kernel

_MOST = 200
_cells: dict[str, int] = {}  # the cell that a run's card was last shown in, by the run's id


def shown_here(run_id: str) -> None:
    """Remember that the cell that is being run has this run's card."""
    shell = shell_of_kernel()
    if shell is None:
        return
    _cells.pop(run_id, None)
    _cells[run_id] = shell.execution_count
    while len(_cells) > _MOST:
        del _cells[next(iter(_cells))]
    formatter = shell.display_formatter.ipython_display_formatter
    formatter.for_type(RunResult, _show)
    formatter.for_type(Run, _show)


def _show(found: Any) -> None:
    """Show a result or a run, unless the same cell has its card already."""
    run_id = found.id if isinstance(found, Run) else found.run_id
    shell = shell_of_kernel()
    if shell is not None and _cells.get(run_id) != shell.execution_count:
        put({"text/html": found._repr_html_(), "text/plain": repr(found)})
