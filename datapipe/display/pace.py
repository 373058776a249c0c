"""How many rows had gone through by when: few enough points to keep for a run of days."""

from __future__ import annotations

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
