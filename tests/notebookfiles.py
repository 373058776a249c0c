"""Notebooks for tests: made of sources, run as users run them, and looked for afterwards."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import psutil

KERNELSPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}


def write_notebook(path: Path, *sources: str) -> Path:
    """A notebook of cells; ``# …`` alone on the first line and no code makes it Markdown, by the prefix ``md:``."""
    cells = [
        nbformat.v4.new_markdown_cell(source.removeprefix("md:"))
        if source.startswith("md:")
        else nbformat.v4.new_code_cell(source)
        for source in sources
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNELSPEC}), path)
    return path


def kept(artifacts: str, name: str) -> Any:
    """A file among a run's artifacts: JSON as values, anything else as text."""
    text = Path(artifacts, name).read_text(encoding="utf-8")
    return json.loads(text) if name.endswith((".json", ".ipynb")) else text


def statuses(artifacts: str) -> list[str]:
    """What papermill's metadata say of each code cell of the executed notebook."""
    cells = kept(artifacts, "notebook.ipynb")["cells"]
    return [cell["metadata"]["papermill"]["status"] for cell in cells if cell["cell_type"] == "code"]


def processes_of(folder: Path | str) -> list[psutil.Process]:
    """The processes that were started for notebooks whose environment names a folder: executors and kernels."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if "ipykernel" not in line and "datapipe.execution" not in line:
            continue
        try:
            if _environment(process).get("DATAPIPE_HOME") == str(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def kernels_of(folder: Path | str) -> list[psutil.Process]:
    """The kernels among them."""
    # As it was when it was found: since then it may have ended.
    return [process for process in processes_of(folder) if "ipykernel" in " ".join(process.info["cmdline"])]


def _environment(process: psutil.Process) -> Mapping[str, str]:
    return process.environ() if process.pid != os.getpid() else {}
