"""A job as it shows itself: its notebook, its parameters with their values, its cells. Nothing is run."""

from __future__ import annotations

from collections.abc import Iterator

from datapipe.display.html import card, faint, heading, line, table
from datapipe.display.words import aligned, count, shortened
from datapipe.errors import PlanError
from datapipe.notebooks.cells import Notebook, read_notebook
from datapipe.notebooks.model import NotebookPlan
from datapipe.notebooks.parameters import declared

_VALUE = 60  # characters
_CELLS = 40
_HEAD = ("parameter", "type", "value", "help")


def job_text(plan: NotebookPlan) -> str:
    """A job in a few lines."""
    head = f"Notebook {plan.title} ({plan.notebook.path})"
    try:
        notebook = read_notebook(plan.notebook.path)
        rows = list(_parameters(plan, notebook))
    except PlanError as error:
        return f"{head}\n{error}"
    lines = [head, *([aligned([_HEAD, *rows])] if rows else ["no parameters"]), _limits(plan, notebook)]
    return "\n".join(lines)


def job_html(plan: NotebookPlan) -> str:
    """A job as a card."""
    head = heading(f"Notebook {plan.title}")
    try:
        notebook = read_notebook(plan.notebook.path)
        rows = list(_parameters(plan, notebook))
    except PlanError as error:
        return card(head + line(str(error)))
    body = table(_HEAD, rows) if rows else line("no parameters")
    cells = [(str(number), shortened(cell.title, _VALUE)) for number, cell in enumerate(notebook.code[:_CELLS], 1)]
    return card(
        head + body + table(("cell", "what"), cells) + faint(_limits(plan, notebook)) + faint(plan.notebook.path)
    )


def _parameters(plan: NotebookPlan, notebook: Notebook) -> Iterator[tuple[str, ...]]:
    given = plan.notebook.parameters
    for found in declared(notebook):
        value = str(given[found.name]) if found.name in given else found.shown or "to be given"
        yield found.name, found.type, shortened(value, _VALUE), found.help


def _limits(plan: NotebookPlan, notebook: Notebook) -> str:
    spec = plan.notebook
    found = [count(len(notebook.code), "cell"), f"kernel {spec.kernel or notebook.kernel}"]
    found += [f"at most {spec.timeout:g} s"] if spec.timeout else []
    found += [f"at most {spec.cell_timeout:g} s a cell"] if spec.cell_timeout else []
    found += [f"at most {spec.memory} of memory"] if spec.memory else []
    return " · ".join(found)
