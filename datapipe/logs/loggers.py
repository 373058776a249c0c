"""The loggers of the library: those of the standard library, with the ids on every record."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from datapipe.logs.context import ids

RUNS = "datapipe.runs"  # the logger that tells how runs go, which a card and an error tell, too
TAKEN = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime"})  # what a record has itself


class _WithIds(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        found = {**ids(), **(kwargs.get("extra") or {})}
        return msg, {**kwargs, "extra": {name: value for name, value in found.items() if name not in TAKEN}}


def logger(name: str) -> logging.LoggerAdapter[logging.Logger]:
    """A logger whose records have the ids as attributes, for whoever formats them.

    Parameters
    ----------
    name : str
        Such as ``datapipe.workers``.

    Examples
    --------
    >>> logger("datapipe.workers").name
    'datapipe.workers'
    """
    return _WithIds(logging.getLogger(name), {})
