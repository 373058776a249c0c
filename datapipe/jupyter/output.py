"""A cell's output: put there once, and replaced in its place."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from IPython import display as ipython

from datapipe.surroundings import shell_of_kernel

_HALVES = re.compile("[\ud800-\udfff]")


def put(bundle: Mapping[str, Any], display_id: str | None = None) -> None:
    """Show something below the cell that is being run, under a name by which it can be replaced."""
    ipython.display(_sendable(bundle), raw=True, display_id=display_id)  # type: ignore[no-untyped-call]  # it has none


def replace(bundle: Mapping[str, Any], display_id: str) -> None:
    """Show something else in its place, whichever cell is being run by now."""
    ipython.update_display(_sendable(bundle), raw=True, display_id=display_id)  # type: ignore[no-untyped-call]  # the same


def captured() -> bool:
    """Whether an ipywidgets.Output takes what is shown now: nothing in it can be replaced."""
    widgets, shell = sys.modules.get("ipywidgets.widgets.widget"), shell_of_kernel()
    if widgets is None or shell is None:
        return False
    message = (shell.kernel.get_parent() or {}).get("header", {}).get("msg_id")
    found = getattr(widgets, "_instances", {}).values()
    return bool(message) and any(getattr(widget, "msg_id", None) == message for widget in list(found))


def _sendable(bundle: Mapping[str, Any]) -> dict[str, Any]:
    """The bundle without what is no character: a message with a half of a pair of surrogates is never sent."""
    return {kind: _HALVES.sub("�", held) if isinstance(held, str) else held for kind, held in bundle.items()}
