"""Files: those that a path or glob means, read by the reader of their format."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from datapipe.data.asking import Choose, everything
from datapipe.data.stream import Stream, Workspace
from datapipe.errors import DataError, PlanError
from datapipe.ingestion.folders import files_of, format_of
from datapipe.plan import FileSource


@contextmanager
def read_files(
    source: FileSource, work: Workspace, choose: Choose = everything, only: Sequence[Path] = ()
) -> Iterator[Stream]:
    """The rows of the files a path, directory or glob names, in the order of their names; or ``only`` of these.

    Raises
    ------
    PlanError
        If there is no such file, or its format is not known.
    DataError
        If a file is empty, is not of its format, or the files have different columns.
    """
    files = list(only) or files_of(source.files)
    kind = source.format or _kind(files)
    for file in files:
        if not os.access(file, os.R_OK):
            raise PlanError(f"{file} cannot be read", hint="Check its permissions")
        if not file.stat().st_size:
            raise DataError(f"{file} is empty (0 bytes)", hint="Write it again, or leave it out")
    if kind == "parquet" and source.columns:
        raise PlanError("columns= declares the types of CSV and JSON; Parquet files know theirs", hint="Leave it out")
    # Each format loads its own library: DuckDB reads CSV and JSON, and Arrow Parquet.
    if kind == "parquet":
        from datapipe.ingestion.parquet import read_parquet

        reader = read_parquet(files, work, choose)
    elif kind == "csv":
        from datapipe.ingestion.delimited import read_csv

        reader = read_csv(files, source.columns, work, choose)
    else:
        from datapipe.ingestion.jsonfiles import read_json

        reader = read_json(files, source.columns, work, choose)
    with reader as stream:
        yield stream


def _kind(files: list[Path]) -> str:
    """The one format of the files, by their endings."""
    kinds = {file: format_of(file) for file in files}
    for file, kind in kinds.items():
        if kind is None:
            raise PlanError(
                f"the ending of {str(file)!r} names no format",
                hint="Name it: format='csv', 'parquet' or 'json'",
            )
        if kind != kinds[files[0]]:
            raise PlanError(f"{files[0]} and {file} are of different formats", hint="Read them apart")
    return str(kinds[files[0]])
