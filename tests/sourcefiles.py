"""Files as sources, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from datapipe.data.stream import Workspace
from datapipe.ingestion.files import read_files
from datapipe.plan import FileSource


def read(files: str, work: Workspace | None = None, **options: Any) -> pa.Table:
    """The rows of files, in memory."""
    with read_files(FileSource(files=files, **options), work or Workspace()) as stream:
        return pa.Table.from_batches(list(stream.batches), stream.schema)


def write(name: str, content: str | bytes) -> str:
    """A file with this content; returns its name."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return name
