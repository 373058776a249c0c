"""Notebooks that are run without anybody: by papermill, nbconvert and nbmake, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.notebook import document_of
from lab.server import private_environment


@dataclass(frozen=True)
class Bench:
    """A folder, and an environment in which nothing of the user's is read or written."""

    folder: Path
    environment: dict[str, str]

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments; it must succeed."""
        done = self.try_to_run(*arguments, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def try_to_run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
            check=False,
        )

    def papermill(self, *cells: str, **variables: str) -> dict[str, Any]:
        """The notebook that papermill makes of these cells; one that fails has its error in it."""
        self.write("in.ipynb", cells)
        (self.folder / "out.ipynb").unlink(missing_ok=True)
        self.try_to_run("-m", "papermill", "--no-progress-bar", "in.ipynb", "out.ipynb", **variables)
        document: dict[str, Any] = json.loads((self.folder / "out.ipynb").read_text(encoding="utf-8"))
        return document

    def write(self, name: str, cells: Sequence[str]) -> None:
        """A notebook of code cells."""
        (self.folder / name).write_text(json.dumps(document_of(cells)), encoding="utf-8")


def bench_in(folder: Path) -> Bench:
    """A bench below an empty folder."""
    (folder / "work").mkdir()
    return Bench(folder / "work", private_environment(folder))


def bundles(document: dict[str, Any], index: int) -> list[dict[str, str]]:
    """What a cell shows, as texts by their MIME type."""
    return [
        {kind: "".join(text) if isinstance(text, list) else str(text) for kind, text in output["data"].items()}
        for output in document["cells"][index]["outputs"]
        if "data" in output
    ]


def text_of(document: dict[str, Any], index: int, kind: str = "text/plain") -> str:
    """What a cell shows, in one text."""
    return "\n".join(bundle.get(kind, "") for bundle in bundles(document, index))
