"""A notebook as its user has it: open in JupyterLab, with a kernel."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Locator, Page

from lab.browser import Chromium, LabPage
from lab.pictures import dots
from lab.server import LabServer

_PANEL = "const panel = [...jupyterapp.shell.widgets('main')].find(widget => widget.context?.path === path);"
_READY = f"""(path) => {{
    if (!window.jupyterapp?.shell) return false;
    {_PANEL}
    const session = panel?.sessionContext;
    return session?.isReady && panel.context.isReady && session.session?.kernel?.connectionStatus === 'connected';
}}"""
# A cell that was run in this page keeps how long that took; one that runs since before a reload has its state only.
_DONE = f"""({{path, index}}) => {{
    {_PANEL}
    const cell = panel.content.widgets[index];
    if (cell.asked) return cell.took !== undefined;
    return cell.model.executionCount !== null && cell.model.executionState !== 'running';
}}"""
_RUN = """
    jupyterapp.shell.activateById(panel.id);
    const cell = panel.content.widgets[index];
    panel.content.deselectAll();
    panel.content.activeCellIndex = index;
    cell.asked = performance.now();
    cell.took = undefined;
    jupyterapp.commands.execute('notebook:run-cell').finally(() => {cell.took = performance.now() - cell.asked});
"""


@dataclass(frozen=True)
class Traffic:
    """What went between a page and its kernels in some seconds."""

    frames: int
    bytes: int
    seconds: float
    kinds: Counter[str]

    @property
    def frames_per_second(self) -> float:
        return self.frames / self.seconds

    @property
    def bytes_per_second(self) -> float:
        return self.bytes / self.seconds


@dataclass(frozen=True)
class Notebook:
    """A notebook that is open in a page of its own."""

    server: LabServer
    lab: LabPage
    path: str

    @property
    def page(self) -> Page:
        return self.lab.page

    @property
    def errors(self) -> list[str]:
        """What the browser's console told as errors."""
        return self.lab.errors

    @property
    def file(self) -> Path:
        return self.server.folder / self.path

    # --- cells ------------------------------------------------------------------------------------------------

    def run(self, index: int) -> None:
        """Run a cell, without waiting."""
        self.ask(_RUN, index=index)

    def wait(self, index: int, seconds: float = 60) -> float:
        """Wait until a cell has run; the seconds it took, 0 if it was begun before the page was loaded."""
        where = {"path": self.path, "index": index}
        self.page.wait_for_function(_DONE, arg=where, timeout=seconds * 1000, polling=20)
        took = self.ask("return panel.content.widgets[index].took ?? 0", index=index)
        return float(took) / 1000

    def run_all(self, *indexes: int, seconds: float = 60) -> None:
        """Run cells one after the other."""
        for index in indexes:
            self.run(index)
            self.wait(index, seconds)

    def add(self, source: str) -> int:
        """A new cell at the end; its index."""
        cell = {"cell_type": "code", "source": source}
        added = "panel.content.model.sharedModel.addCell(cell); return panel.content.model.cells.length - 1"
        return int(self.ask(added, cell=cell))

    def add_all(self, *sources: str) -> list[int]:
        """New cells at the end; their indexes."""
        return [self.add(source) for source in sources]

    def count(self, index: int) -> int | None:
        """The number in a cell's prompt, once it has run."""
        found = self.ask("return panel.content.widgets[index].model.executionCount", index=index)
        return None if found is None else int(found)

    def output(self, index: int) -> Locator:
        """The output area of a cell."""
        return (
            self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell")
            .nth(index)
            .locator(".jp-Cell-outputArea")
        )

    def text(self, index: int) -> str:
        """What is read in a cell's output, without Jupyter's own prompts; nothing if there is none."""
        return "\n".join(self.output(index).locator(".jp-OutputArea-output").all_inner_texts()).strip()

    def wait_for_text(self, index: int, pattern: str, seconds: float = 30) -> re.Match[str]:
        """Wait until a cell's output matches a regular expression."""
        until = time.monotonic() + seconds
        while not (found := re.search(pattern, self.text(index))):
            assert time.monotonic() < until, f"not {pattern!r} but {self.text(index)!r}"
            self.pause(0.05)
        return found

    def pause(self, seconds: float) -> None:
        """Let time pass in which the page's events are seen: time.sleep() would see none of them."""
        self.page.wait_for_timeout(seconds * 1000)

    def measure(self, seconds: float) -> Traffic:
        """Count what goes between the page and its kernels from now on."""
        seen = len(self.lab.frames)
        self.pause(seconds)
        frames = self.lab.frames[seen:]
        return Traffic(
            len(frames), sum(frame.size for frame in frames), seconds, Counter(frame.kind for frame in frames)
        )

    # --- the document -----------------------------------------------------------------------------------------

    def save(self) -> None:
        """Save it, as Ctrl-S does."""
        self.ask("jupyterapp.shell.activateById(panel.id); await jupyterapp.commands.execute('docmanager:save')")

    def saved(self) -> dict[str, Any]:
        """What is in its file."""
        found: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
        return found

    def reload(self) -> None:
        """Load the page anew; the kernel goes on."""
        self.page.goto(f"{self.lab.home}/tree/{self.path}?reset", wait_until="commit")
        self._wait_until_ready()

    def reopen(self, *, untrusted: bool = False) -> None:
        """End the kernel and load the page anew, as on another day; or as a notebook that somebody sent."""
        self.server.end_sessions(self.path)
        if untrusted:
            document = self.saved()
            document["metadata"]["sent_by"] = "somebody"  # the signature is of other text
            self.file.write_text(json.dumps(document), encoding="utf-8")
        self.reload()

    def interrupt(self) -> None:
        """Press the toolbar's button that interrupts the kernel."""
        button = "[data-jp-item-name='interrupt']"
        self.page.locator(f".jp-NotebookPanel:not(.lm-mod-hidden) {button}").get_by_role("button").click()

    def theme(self, name: Literal["light", "dark"]) -> None:
        """Change JupyterLab's theme."""
        self.ask(
            "await jupyterapp.commands.execute('apputils:change-theme', {theme})", theme=f"JupyterLab {name.title()}"
        )
        light = str(name == "light").lower()
        self.page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=light)

    def light_again(self) -> None:
        """Have the theme that tests begin with."""
        if self.page.evaluate("document.body.dataset.jpThemeLight") == "false":
            self.theme("light")

    def picture(self, area: Locator) -> Any:
        """What an area looks like: rows, columns, and red, green and blue from 0 to 255."""
        return dots(self.page, area.screenshot())

    def ask(self, script: str, **values: Any) -> Any:
        """What a function in the page returns, which knows the notebook's ``panel`` and the given values."""
        names = ", ".join(["path", *values])
        return self.page.evaluate(f"async ({{{names}}}) => {{ {_PANEL} {script} }}", {"path": self.path, **values})

    def _wait_until_ready(self) -> None:
        self.page.wait_for_function(_READY, arg=self.path, timeout=60_000, polling=20)


@contextmanager
def opened_notebook(server: LabServer, browser: Chromium, document: dict[str, Any], path: str) -> Iterator[Notebook]:
    """A new notebook, open, with its kernel ready; closed and its kernel ended afterwards."""
    (server.folder / path).write_text(json.dumps(document), encoding="utf-8")
    server.start_session(path)
    try:
        with browser.lent_page(server.url) as lab:
            found = Notebook(server, lab, path)
            lab.page.evaluate("path => jupyterapp.commands.execute('docmanager:open', {path}).then(() => null)", path)
            found._wait_until_ready()
            yield found
            found.ask("panel.dispose()")  # closed without a question
            found.light_again()
    finally:
        server.end_sessions(path)


def document_of(cells: Sequence[str]) -> dict[str, Any]:
    """A notebook's document."""
    made = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(cells)
    ]
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    return {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
