"""How many rows had gone through by when: few enough points to keep for a run of days."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datapipe.display.view import RunView

Pace = tuple[tuple[float, int], ...]
_RECENT = 10.0  # seconds of which every point is kept
_POINTS = 100  # older points
_APART = 0.2  # seconds between two points


def paced(pace: Pace, seconds: float, rows: int) -> Pace:
    """The points with a further one, unless the last one is too near.

    Examples
    --------
    >>> paced(((0.0, 0),), 1.0, 500)
    ((0.0, 0), (1.0, 500))
    >>> paced(((0.0, 0),), 0.1, 500)
    ((0.0, 0),)

    A further attempt begins at the source, and its rows count from there.

    >>> paced(((0.0, 0), (1.0, 500)), 2.0, 100)
    ((2.0, 100),)
    """
    if pace and rows < pace[-1][1]:
        return ((seconds, rows),)
    if pace and (seconds - pace[-1][0] < _APART or rows == pace[-1][1]):
        return pace
    old = sum(seconds - point[0] > _RECENT for point in pace)
    kept = (*pace[:old:2], *pace[old:]) if old > _POINTS else pace
    return (*kept, (seconds, rows))


def kept_pace(before: Sequence[RunView], now: Sequence[RunView]) -> tuple[RunView, ...]:
    """Views of the same runs a moment later, each with the pace that is known of it so far.

    Examples
    --------
    >>> from datapipe.display.view import RunView
    >>> first = kept_pace((), [RunView("a", "running", elapsed=1.0)])
    >>> kept_pace(first, [RunView("a", "running", elapsed=2.0)])[0].pace
    ((1.0, 0),)
    """
    known = {view.id: view.pace for view in before}
    return tuple(
        dataclasses.replace(view, pace=paced(known.get(view.id, ()), view.elapsed, view.rows_read)) for view in now
    )
