"""A run as a picture: rows per second over its time."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator

from datapipe.display.pace import Pace
from datapipe.display.view import RunView
from datapipe.display.words import duration, rate

WIDTH, _HIGH = 520, 40  # pixels
SHORTEST = 1.0  # seconds of a run of which there is something to see
_BARS = 40
_PALE = "#64b5f6"  # it has no paper of its own: the page may be light or dark


def run_picture(view: RunView) -> tuple[str, str] | None:
    """A picture's address and what it shows in words; None for one too short, or of too few batches, to see anything.

    Returns
    -------
    (str, str) or None
    """
    speeds = speeds_of(view.pace, view.elapsed) if view.elapsed >= SHORTEST else []
    most = max(speeds, default=0.0)
    if not most:
        return None
    line = f'<rect y="{_HIGH}" width="{WIDTH}" height="1" fill="#888"/>'
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {_HIGH + 1}">'
        f"{''.join(_bars(speeds, most))}{line}</svg>"
    )
    told = f"rows per second over the {duration(view.elapsed)} of the run, at most {rate(most).removesuffix(' rows/s')}"
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode(), told


def speeds_of(pace: Pace, elapsed: float) -> list[float]:
    """Rows per second in equal parts of a run's time.

    Examples
    --------
    >>> speeds_of(((0.0, 0), (2.0, 200), (4.0, 400), (6.0, 600), (8.0, 800), (10.0, 1000)), 15.0)
    [100.0, 100.0, 0.0]
    """
    if len(pace) < 6:
        return []
    bars = min(_BARS, len(pace) // 2)  # a point is a batch: narrower bars would show how rows come in batches
    width = elapsed / bars
    counts = [_rows_at(pace, width * place) for place in range(bars + 1)]
    return [(after - before) / width for before, after in itertools.pairwise(counts)]


def _rows_at(pace: Pace, seconds: float) -> float:
    """How many rows there were at a time, between two points in proportion."""
    before = (0.0, 0)
    for point in pace:
        if point[0] >= seconds:
            span = point[0] - before[0]
            return before[1] + (point[1] - before[1]) * ((seconds - before[0]) / span if span else 1.0)
        before = point
    return before[1]


def _bars(speeds: list[float], most: float) -> Iterator[str]:
    step = WIDTH / len(speeds)
    for place, speed in enumerate(speeds):
        high = max(0.0, speed) / most * _HIGH
        top, left = _HIGH - high, place * step
        yield f'<rect x="{left:.1f}" y="{top:.1f}" width="{step - 2:.1f}" height="{high:.1f}" fill="{_PALE}"/>'
