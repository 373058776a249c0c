"""Files: which ones a path or glob means, and of which format they are."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datapipe.data.asking import Choose, everything
from datapipe.data.stream import Stream, Workspace
from datapipe.errors import DataError, PlanError, did_you_mean
from datapipe.ingestion.delimited import read_csv
from datapipe.ingestion.jsonfiles import read_json
from datapipe.ingestion.parquet import read_parquet
from datapipe.plan import FileSource

_FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
}


@contextmanager
def read_files(source: FileSource, work: Workspace, choose: Choose = everything) -> Iterator[Stream]:
    """The rows of the files a path, directory or glob names, in the order of their names.

    Raises
    ------
    PlanError
        If there is no such file, or its format is not known.
    DataError
        If a file is empty, is not of its format, or the files have different columns.
    """
    files = _found(source.files)
    kind = source.format or _kind(files)
    for file in files:
        if not os.access(file, os.R_OK):
            raise PlanError(f"{file} cannot be read", hint="Check its permissions")
        if not file.stat().st_size:
            raise DataError(f"{file} is empty (0 bytes)", hint="Write it again, or leave it out")
    if kind == "parquet" and source.columns:
        raise PlanError("columns= declares the types of CSV and JSON; Parquet files know theirs", hint="Leave it out")
    if kind == "parquet":
        reader = read_parquet(files, work, choose)
    elif kind == "csv":
        reader = read_csv(files, source.columns, work, choose)
    else:
        reader = read_json(files, source.columns, work, choose)
    with reader as stream:
        yield stream


def _found(pattern: str) -> list[Path]:
    """The files a path, a directory or a glob stands for, by name."""
    if "://" in pattern:
        raise PlanError(f"{pattern!r} is not a path", hint="Files are read from this machine; fetch them first")
    path = Path(pattern).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        files = [file for file in path.iterdir() if _format_of(file)]
    else:
        files = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207  # Path.glob takes no absolute pattern
    files = sorted((file for file in files if file.is_file()), key=str)
    if files:
        return files
    if path.is_dir() or glob.has_magic(pattern):
        raise PlanError(f"no file matches {pattern!r}", hint=f"Looked in {path.parent.absolute()}")
    beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
    hint = did_you_mean(path.name, beside, what="there are") or f"Looked in {path.parent.absolute()}"
    raise PlanError(f"there is no file {pattern!r}", hint=hint)


def _format_of(file: Path) -> str | None:
    return _FORMATS.get(Path(file.name.lower().removesuffix(".gz")).suffix)


def _kind(files: list[Path]) -> str:
    """The one format of the files, by their endings."""
    kinds = {file: _format_of(file) for file in files}
    for file, kind in kinds.items():
        if kind is None:
            raise PlanError(
                f"the ending of {str(file)!r} names no format",
                hint="Name it: format='csv', 'parquet' or 'json'",
            )
        if kind != kinds[files[0]]:
            raise PlanError(f"{files[0]} and {file} are of different formats", hint="Read them apart")
    return str(kinds[files[0]])
