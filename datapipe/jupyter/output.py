"""A cell's output: put there once, and replaced in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from IPython import display as ipython


def put(bundle: Mapping[str, Any], display_id: str | None = None) -> None:
    """Show something below the cell that is being run, under a name by which it can be replaced."""
    ipython.display(dict(bundle), raw=True, display_id=display_id)  # type: ignore[no-untyped-call]  # it has none


def replace(bundle: Mapping[str, Any], display_id: str) -> None:
    """Show something else in its place, whichever cell is being run by now."""
    ipython.update_display(dict(bundle), raw=True, display_id=display_id)  # type: ignore[no-untyped-call]  # the same
