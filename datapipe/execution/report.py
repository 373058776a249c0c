"""What an execution leaves: the executed notebook with true states, as HTML too, the error, and what is known of it."""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import nbformat

from datapipe.errors import DatapipeError
from datapipe.execution.page import as_html
from datapipe.execution.streams import joined
from datapipe.notebooks.artifacts import Artifacts
from datapipe.notebooks.cells import codes
from datapipe.notebooks.order import LOG, Order, Outcome
from datapipe.secrets import Redactor

NOTEBOOK, HTML, ERROR, FACTS = "notebook.ipynb", "notebook.html", "error.json", "run.json"
_APART = 5.0  # seconds between two copies of a notebook whose cells go on
_SHARE = 20  # how much longer than it takes to save one
_STATUS = {"done": "completed", "failed": "failed", "running": "running"}
MARK = "papermill-error-cell-tag"  # papermill's own, which it removes when the notebook is run again
_ANCHOR = "papermill-error-cell"


class Report:
    """Keeps copies of a notebook while it is executed, and everything at the end.

    Parameters
    ----------
    order : Order
    artifacts : Artifacts
        Where they go.
    redactor : Redactor
        Takes secrets out of all that is kept.
    """

    def __init__(self, order: Order, artifacts: Artifacts, redactor: Redactor) -> None:
        self._order, self._artifacts, self._redactor = order, artifacts, redactor
        self._saved, self._pause = 0.0, 0.0

    def keep_output(self, shown: Mapping[str, Any]) -> dict[str, Any]:
        """Keep an output; it as it may be told: a file with its place, nothing with a secret."""
        found: dict[str, Any] = self._redactor.data(dict(shown))
        file = found.pop("file", None)
        if file is not None:
            name = f"outputs/{Path(file).name}"
            self._artifacts.write_file(name, Path(self._order.scratch, "outputs", Path(file).name))
            found["uri"] = self._artifacts.uri(name)
        return found

    def keep_copy(self, nb: Any, states: Mapping[int, str]) -> None:
        """Keep a copy, unless there is one that is young enough. One that cannot be kept does not stop the notebook."""
        if time.monotonic() - self._saved > max(_APART, self._pause):
            with suppress(DatapipeError, OSError):  # the last one tells
                self.keep(nb, states)

    def keep(self, nb: Any, states: Mapping[int, str]) -> None:
        """Keep a copy.

        Raises
        ------
        DatapipeError
            If its place cannot be written.
        """
        began = self._saved = time.monotonic()
        self._keep(NOTEBOOK, self._notebook(nb, states, None))
        self._saved = time.monotonic()
        self._pause = (self._saved - began) * _SHARE

    def finish(self, nb: Any, states: Mapping[int, str], outcome: Outcome, facts: Mapping[str, Any]) -> Outcome:
        """Keep all there is; the outcome as it may be told: without secrets."""
        found = self._redactor.data(outcome.to_dict())
        told = Outcome(found["state"], found["reason"], found["error"])
        notebook = self._notebook(nb, states, told)
        self._keep(NOTEBOOK, notebook)
        if told.error is not None:
            self._keep(ERROR, told.to_dict())
        self._keep(FACTS, {**self._facts(), **self._redactor.data(dict(facts)), **told.to_dict()})
        log = Path(self._order.scratch, LOG)
        if log.is_file() and log.stat().st_size:
            self._artifacts.write(LOG, self._redactor.text(log.read_text(errors="replace")).encode())
        self._keep_page(notebook)
        return told

    def _keep_page(self, notebook: Mapping[str, Any]) -> None:
        try:
            page = as_html(notebook, self._order.about.get("name"))
        except Exception as error:  # noqa: BLE001  # a fault of a converter is none of the notebook
            page = f"<p>The page could not be made: {type(error).__name__}. The notebook itself is beside it.</p>"
        self._artifacts.write(HTML, page.encode("utf-8", "replace"))

    def _notebook(self, nb: Any, states: Mapping[int, str], outcome: Outcome | None) -> dict[str, Any]:
        found: dict[str, Any] = self._redactor.data(truthful(nb, states, outcome, self._order))
        return found

    def _facts(self) -> dict[str, Any]:
        return {
            **self._order.about,
            "parameters": dict(self._order.parameters),
            "kernel": self._order.kernel,
            "python": sys.version.split()[0],
            "packages": {one.name: one.version for one in sorted(distributions(), key=lambda one: one.name.lower())},
            "ended": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
        }

    def _keep(self, name: str, content: Mapping[str, Any]) -> None:
        self._artifacts.write(name, json.dumps(content, ensure_ascii=False, indent=1).encode("utf-8", "replace"))


def truthful(nb: Any, states: Mapping[int, str], outcome: Outcome | None, order: Order) -> dict[str, Any]:
    """The notebook with papermill's metadata as they should be, and a banner if something went wrong.

    Parameters
    ----------
    states : mapping of int to str
        What became of each cell that was begun: ``running``, ``done`` or ``failed``.
    outcome : Outcome, optional
        How it ended, if it has.
    """
    found: dict[str, Any] = _plain(nb)  # a copy
    numbers = {index: number for number, index in enumerate(codes(found["cells"]), 1)}
    for index, cell in enumerate(found["cells"]):
        state = states.get(numbers.get(index, 0), "")
        status = _STATUS.get(
            state, "pending" if cell["cell_type"] == "code" and cell["source"].strip() else "completed"
        )
        status = "failed" if status == "running" and outcome is not None else status
        known = cell["metadata"].setdefault("papermill", {})
        known |= {"status": status, "exception": status == "failed" if state else None}
        if "outputs" in cell:
            cell["outputs"] = joined(cell["outputs"])
    metadata = found["metadata"]
    metadata.setdefault("papermill", {}).update(
        parameters=dict(order.parameters),
        input_path=order.path,
        output_path=None,
        exception=None if outcome is None else outcome.state != "succeeded",
    )
    metadata["datapipe"] = {"state": outcome.state if outcome else "running", **order.about}
    if outcome is not None and outcome.reason:
        metadata["datapipe"]["reason"] = outcome.reason
    return found if outcome is None or outcome.state == "succeeded" else _marked(found, outcome)


def _marked(found: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    """The notebook with a banner on top that leads to the cell it ended in."""
    error = outcome.error or {}
    said = _escaped(f"{error.get('type', '')}: {error.get('message', '')}".strip(": ")) or "It was told to stop."
    title = {"cancelled": "Cancelled", "lost": "Stopped"}.get(outcome.state, "Failed")
    why = {"timed_out": "timed out", "kernel_died": "its kernel died", "out_of_memory": "out of memory"}
    title += f" ({why.get(outcome.reason, _escaped(outcome.reason))})" if outcome.reason else ""
    cells = found["cells"]
    number = error.get("cell") or _last(cells)
    link = f" in [cell {number}](#{_ANCHOR})" if number else ""
    lines = [f"**✗ {title}{link}.** {said}"] + ([f"Next: {_escaped(error['hint'])}"] if error.get("hint") else [])
    if number:
        anchor = f'<span id="{_ANCHOR}"></span>**✗ It ended in the cell below.**'
        cells.insert(codes(cells)[number - 1], _markdown(anchor))
    cells.insert(0, _markdown("\n\n".join(lines)))
    return found


def _last(cells: list[dict[str, Any]]) -> int | None:
    """The number of the cell that had begun and did not end well."""
    numbered = enumerate(codes(cells), 1)
    failed = [n for n, index in numbered if cells[index]["metadata"]["papermill"]["status"] == "failed"]
    return failed[-1] if failed else None


def _markdown(text: str) -> dict[str, Any]:
    cell = nbformat.v4.new_markdown_cell(text)  # type: ignore[no-untyped-call]  # it has none
    cell.metadata = {"tags": [MARK], "papermill": {"status": "completed", "exception": None}}
    return dict(_plain(cell))


def _escaped(text: str | None) -> str:
    """Text in which Markdown and HTML find nothing."""
    return re.sub(r"([\\`*_{}\[\]()#+!<>|$~&])", r"\\\1", " ".join(str(text or "").split()))[:600]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
