"""A cell's output: put there once, and replaced in its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from IPython import display as ipython

_HALVES = re.compile("[\ud800-\udfff]")


def put(bundle: Mapping[str, Any], display_id: str | None = None) -> None:
    """Show something below the cell that is being run, under a name by which it can be replaced."""
    ipython.display(_sendable(bundle), raw=True, display_id=display_id)  # type: ignore[no-untyped-call]  # it has none


def replace(bundle: Mapping[str, Any], display_id: str) -> None:
    """Show something else in its place, whichever cell is being run by now."""
    ipython.update_display(_sendable(bundle), raw=True, display_id=display_id)  # type: ignore[no-untyped-call]  # the same


def _sendable(bundle: Mapping[str, Any]) -> dict[str, Any]:
    """The bundle without what is no character: a message with a half of a pair of surrogates is never sent."""
    return {kind: _HALVES.sub("�", held) if isinstance(held, str) else held for kind, held in bundle.items()}
