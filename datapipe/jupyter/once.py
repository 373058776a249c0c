"""A run is shown once in a cell: its card, and not its result beside it."""

from __future__ import annotations

from typing import Any

from datapipe.engine import RunResult
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
    shell.display_formatter.ipython_display_formatter.for_type(RunResult, _show)


def present(run: Any) -> None:
    """Show a run below the cell that it is evaluated in: live as long as it lasts."""
    if is_here(run.id):
        return
    if run.view.final:
        put({"text/html": run._repr_html_(), "text/plain": repr(run)})
    else:
        run.watch_behind()


def is_here(run_id: str) -> bool:
    """Whether the cell that is being run has this run's card."""
    shell = shell_of_kernel()
    return shell is not None and _cells.get(run_id) == shell.execution_count


def _show(result: RunResult) -> None:
    if not is_here(result.run_id):
        put({"text/html": result._repr_html_(), "text/plain": str(result)})
