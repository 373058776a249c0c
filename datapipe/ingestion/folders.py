"""Folders of files: which files a path, a directory or a glob means, and what they are called within their folder."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from datapipe.errors import PlanError, did_you_mean

_FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
}


def format_of(file: Path) -> str | None:
    """The format that the ending of a file's name tells."""
    return _FORMATS.get(Path(file.name.lower().removesuffix(".gz")).suffix)


def files_of(pattern: str) -> list[Path]:
    """The files a path, a directory or a glob stands for, by name.

    Raises
    ------
    PlanError
        If there are none.
    """
    files = found_files(pattern)
    if files:
        return files
    path, folder = Path(pattern).expanduser(), folder_of(pattern)[0]
    looked = f"{'Looked in' if folder.is_dir() else 'There is no folder'} {folder.absolute()}"
    if path.is_dir() or glob.has_magic(pattern):
        raise PlanError(f"no file matches {pattern!r}", hint=looked)
    beside = [file.name for file in folder.iterdir()] if folder.is_dir() else []
    hint = did_you_mean(path.name, beside, what="there are") or looked
    raise PlanError(f"there is no file {pattern!r}", hint=hint)


def found_files(pattern: str) -> list[Path]:
    """As :func:`files_of`, but there may be none.

    Raises
    ------
    PlanError
        If it is the address of something remote.
    """
    if "://" in pattern:
        raise PlanError(f"{pattern!r} is not a path", hint="Files are read from this machine; fetch them first")
    path = Path(pattern).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        files = [file for file in path.iterdir() if format_of(file)]
    else:
        files = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207  # Path.glob takes no absolute pattern
    return sorted((file for file in files if file.is_file()), key=str)


def folder_of(pattern: str) -> tuple[Path, str]:
    """The folder that a pattern always leads to, and the rest of it.

    Examples
    --------
    >>> folder, rest = folder_of("inbox/2024-*/*.csv")
    >>> folder.as_posix(), rest
    ('inbox', '2024-*/*.csv')
    """
    path = Path(pattern).expanduser()
    if path.is_dir():
        return path, "*"
    parts = path.parts
    wild = (place for place, part in enumerate(parts) if glob.has_magic(part))
    first = len(parts) - 1 if path.is_file() else next(wild, len(parts) - 1)
    return Path(*parts[:first]), "/".join(parts[first:])


def place_of(pattern: str) -> str:
    """A pattern's folder, however it is spelled: the same from every working directory."""
    return Path(os.path.realpath(folder_of(pattern)[0])).as_posix()
