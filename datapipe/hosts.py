"""The parts that need a further library, found without importing them: the core knows no host."""

from __future__ import annotations

import functools
from importlib.metadata import entry_points
from typing import Any

from datapipe.errors import PlanError

_GROUP = "datapipe.hosts"
_EXTRAS = {"queue": "workers"}


@functools.cache
def host(name: str) -> Any:
    """The module that is registered under a name.

    Parameters
    ----------
    name : str
        ``queue``: sends runs to workers.

    Raises
    ------
    PlanError
        If the library it needs is not installed.

    Examples
    --------
    >>> host("queue").__name__
    'datapipe.workers.queue'
    """
    extra = _EXTRAS.get(name, name)
    found = next(iter(entry_points(group=_GROUP, name=name)), None)
    try:
        if found is not None:
            return found.load()
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("datapipe"):
            raise
    raise PlanError(f"this needs the extra {extra!r}", hint=f'Run: pip install "datapipe-sdk[{extra}]"')
