"""A run as a picture: rows per second over its time, and when each step was at work."""

from __future__ import annotations

import base64
import itertools
from html import escape

from datapipe.display.pace import Pace
from datapipe.display.view import RunView, StepView
from datapipe.display.words import UNFIT, duration, rate, shortened

_WIDTH, _LEFT, _CURVE, _ROW = 520, 150, 60, 18  # pixels
_SHORTEST = 1.0  # seconds of a run that is worth a picture
_BARS, _STEPS = 40, 20
_INK, _PALE, _PAPER = "#37474f", "#64b5f6", "#f5f7f8"  # its own paper: it reads the same on light and dark pages


def run_picture(view: RunView) -> tuple[str, str] | None:
    """A picture's address and what it shows in words; None for a run too short to see anything.

    Returns
    -------
    (str, str) or None
    """
    if view.elapsed < _SHORTEST or not view.steps:
        return None
    speeds = speeds_of(view.pace, view.elapsed)
    steps = [step for step in view.steps if step.begun is not None and step.seconds is not None]
    if not steps or len(steps) > _STEPS:
        return None
    top = _CURVE + 16 if speeds else 0
    height = top + _ROW * len(steps) + 18
    parts = [*_curve(speeds), *(_step(step, top + _ROW * place, view.elapsed) for place, step in enumerate(steps))]
    parts.append(_word(_LEFT, height - 4, "0 s") + _word(_WIDTH - 4, height - 4, duration(view.elapsed), "end"))
    style = f'font-family="sans-serif" font-size="11" fill="{_INK}"'
    paper = f'<rect width="{_WIDTH}" height="{height}" rx="4" fill="{_PAPER}"/>'
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {style}>{paper}{"".join(parts)}</svg>'
    )
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode(), _told(view, steps, speeds)


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


def _curve(speeds: list[float]) -> list[str]:
    most = max(speeds, default=0.0)
    if not most:
        return []
    step = (_WIDTH - _LEFT - 4) / len(speeds)
    bars = [
        f'<rect x="{_LEFT + place * step:.1f}" y="{_CURVE - height:.1f}" width="{step - 1:.1f}" height="{height:.1f}" '
        f'fill="{_PALE}"/>'
        for place, height in enumerate(max(0.0, speed) / most * (_CURVE - 8) for speed in speeds)
    ]
    return [_word(6, 20, "rows/s"), _word(6, 34, f"most: {rate(most).removesuffix(' rows/s')}"), *bars]


def _step(step: StepView, top: float, elapsed: float) -> str:
    scale = (_WIDTH - _LEFT - 4) / elapsed
    begun, took = step.begun or 0.0, step.seconds or 0.0
    left, width = _LEFT + begun * scale, max(1.5, min(took, elapsed - begun) * scale)
    bar = f'<rect x="{left:.1f}" y="{top + 4}" width="{width:.1f}" height="11" rx="2" fill="{_INK}" opacity=".75"/>'
    return _word(6, top + 13, shortened(f"{step.verb} {step.what}", 24)) + bar


def _word(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(UNFIT.sub("�", text))}</text>'


def _told(view: RunView, steps: list[StepView], speeds: list[float]) -> str:
    times = ", ".join(
        f"{shortened(f'{s.verb} {s.what}', 40)} {s.begun:.1f} to {(s.begun or 0) + (s.seconds or 0):.1f} s"
        for s in steps
    )
    fastest = f"at most {rate(max(speeds))}; " if speeds and max(speeds) > 0 else ""
    return f"The run over {duration(view.elapsed)}: {fastest}{times}"
