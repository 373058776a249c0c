"""The files that a notebook's run has left."""

from __future__ import annotations

from pathlib import PurePosixPath

from datapipe.notebooks.artifacts import Artifacts, artifacts_root
from datapipe.notebooks.storage import storage
from datapipe.store import RunRow

_MEDIA = {
    ".ipynb": "application/x-ipynb+json",
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
}


def files_of(row: RunRow) -> Artifacts | None:
    """The folder of a run's last attempt, if it is where those of this server are."""
    label = str((row.result or {}).get("artifacts") or "")
    root = artifacts_root()
    above = f"{storage(root).label}/"
    if row.kind != "notebook" or not label.startswith(above) or ".." in PurePosixPath(label).parts:
        return None
    return Artifacts(root, label.removeprefix(above))


def media_of(name: str) -> str:
    """The media type of a file."""
    return _MEDIA.get(PurePosixPath(name).suffix, "application/octet-stream")
