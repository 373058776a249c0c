"""The parts that need a further library, found without importing them: the core knows no host."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any

from datapipe.errors import PlanError

_GROUP = "datapipe.hosts"
_EXTRAS = {"queue": "workers", "monitor": "workers"}


@functools.cache
def host(name: str) -> Any:
    """The module that is registered under a name.

    Parameters
    ----------
    name : str
        ``queue``: sends runs to workers. ``monitor``: tells what workers do.

    Raises
    ------
    PlanError
        If the library it needs is not installed.

    Examples
    --------
    >>> host("queue").__name__
    'datapipe.workers.queue'
    """
    from importlib.metadata import entry_points  # which takes as long as the rest of what the program starts with

    extra = _EXTRAS.get(name, name)
    found = next(iter(entry_points(group=_GROUP, name=name)), None)
    try:
        if found is not None:
            return found.load()
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("datapipe"):
            raise
    raise _missing(extra)


def part(module: str, extra: str) -> Any:
    """A module that needs the libraries of an extra.

    Raises
    ------
    PlanError
        If one of them is not installed.

    Examples
    --------
    >>> part("datapipe.workers.idempotency", "workers").__name__
    'datapipe.workers.idempotency'
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("datapipe"):
            raise
        raise _missing(extra) from None


def _missing(extra: str) -> PlanError:
    return PlanError(f"this needs the extra {extra!r}", hint=f'Run: pip install "datapipe-sdk[{extra}]"')
