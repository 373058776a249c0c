"""Rows that are kept elsewhere until a run reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class StoredTable:
    """A frame that is opened when a run reads it. A ledger knows it by its name, even when its rows are gone.

    Parameters
    ----------
    name : str
        What identifies its rows: two tables of one name hold the same.
    label : str
        What it is called in results.
    open : callable
        Takes the run's workspace and gives a context manager of a stream.
    """

    name: str
    label: str = field(compare=False)
    open: Callable[[Any], Any] = field(repr=False, compare=False)
