"""What is installed: versions, and extras with what they lack."""

from __future__ import annotations

import functools
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from datapipe import __version__

_OURS = "datapipe-sdk"
_SHOWN = ("duckdb", "pyarrow", "pandas", "pandera", "sqlalchemy", "psycopg", "celery", "redis", "papermill", "fastapi")
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[(?P<extras>[\w, -]+)\])?[^;]*;.*extra == ['\"](?P<extra>[\w-]+)['\"]")
_FOR_USERS = ("mysql", "workers", "notebook", "api", "local")


@dataclass(frozen=True)
class Extra:
    """Libraries for a purpose.

    Parameters
    ----------
    missing : tuple of str
        Those of its libraries that are not installed.
    """

    name: str
    missing: tuple[str, ...] = ()

    @property
    def install(self) -> str:
        """What installs what is missing; empty if nothing is."""
        return f'pip install "{_OURS}[{self.name}]"' if self.missing else ""


def versions() -> dict[str, str]:
    """The versions of datapipe, Python, and the libraries that matter most, if they are installed.

    Examples
    --------
    >>> list(versions())[:2]
    ['datapipe', 'python']
    """
    found = {name: _version(name) for name in _SHOWN}
    installed = {name: number for name, number in found.items() if number}
    return {"datapipe": __version__, "python": platform.python_version(), **installed}


def extras() -> tuple[Extra, ...]:
    """Every extra for users, with what it lacks.

    Examples
    --------
    >>> [extra.name for extra in extras()]
    ['mysql', 'workers', 'notebook', 'api', 'local']
    """
    return tuple(Extra(name, tuple(sorted({one for one in _of(name) if not _version(one)}))) for name in _FOR_USERS)


def _of(extra: str) -> Iterator[str]:
    """The libraries of an extra, those of extras within it included."""
    for name, inner, of in _requirements():
        if of == extra and name == _OURS:
            for one in inner:
                yield from _of(one)
        elif of == extra:
            yield name


@functools.cache
def _requirements() -> tuple[tuple[str, tuple[str, ...], str], ...]:
    try:
        lines = requires(_OURS) or []
    except PackageNotFoundError:  # it runs from its source alone
        lines = []
    matches = filter(None, map(_REQUIREMENT.match, lines))
    return tuple((m["name"], tuple(re.findall(r"[\w-]+", m["extras"] or "")), m["extra"]) for m in matches)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
