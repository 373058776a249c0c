"""The notebooks that requests may run: those in the folders of DATAPIPE_NOTEBOOK_FOLDERS, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from datapipe.rest.problems import Refused
from datapipe.rest.vetting import listed
from datapipe.settings import settings

_MOST = 500  # notebooks in a list
_NAME = re.compile(r"[\w][\w .+-]*(?:/[\w][\w .+-]*)*\.ipynb")


def folders() -> list[Path]:
    """The folders."""
    return [Path(name).expanduser().resolve() for name in listed(settings().notebook_folders)]


def notebooks() -> Iterator[tuple[str, Path]]:
    """Every notebook by its path within its folder, which is its name here."""
    seen: set[str] = set()
    for folder in folders():
        for file in sorted(folder.rglob("*.ipynb")):
            name = file.relative_to(folder).as_posix()
            if name not in seen and _NAME.fullmatch(name) and _is_own(file, folder):
                seen.add(name)
                yield name, file
                if len(seen) == _MOST:
                    return


def notebook_file(name: str) -> Path:
    """The file of a notebook.

    Raises
    ------
    Refused
        With 404, if no folder has it: neither a way out of a folder nor a link that leads out of it is one.
    """
    if _NAME.fullmatch(name):
        for folder in folders():
            file = folder / name
            if _is_own(file, folder):
                return file.resolve()
    hint = "GET /notebooks lists those there are" if folders() else "Set DATAPIPE_NOTEBOOK_FOLDERS on the server"
    raise Refused(404, "there is no notebook of this name", hint)


def _is_own(file: Path, folder: Path) -> bool:
    """Whether there is a file, and no link leads out of the folder."""
    try:
        return file.is_file() and file.resolve().is_relative_to(folder)
    except (OSError, RuntimeError):  # a name that is too long; a loop of links
        return False
