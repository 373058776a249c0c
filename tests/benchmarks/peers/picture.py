"""The picture: one line a job, one mark a tool, at how many times datapipe's time it needed. An SVG of our own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from xml.sax.saxutils import escape

# Colours that those who see fewer of them can tell apart, and a shape for each as well.
_MARKS = (
    ("#0072b2", "circle"),
    ("#d55e00", "square"),
    ("#009e73", "triangle"),
    ("#cc79a7", "diamond"),
    ("#b8860b", "circle"),
    ("#56b4e9", "square"),
    ("#8a6fc8", "triangle"),
    ("#8a8a8a", "diamond"),
)
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 } .page { fill: #ffffff } .rule { stroke: #d7dce1 }
  .one { stroke: #1f2328; stroke-width: 2 } .small { font-size: 12px } .mark { stroke: #ffffff; stroke-width: 0.8 }
  .title { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .page { fill: #12161c } .rule { stroke: #333b45 } .one { stroke: #e6edf3 }
    .mark { stroke: #12161c }
  }"""
_LEFT, _RIGHT, _TOP, _ROW, _WIDTH = 292, 30, 92, 24, 960


def drawn(title: str, rows: Mapping[str, Mapping[str, float]], tools: tuple[str, ...]) -> str:
    """The SVG of ratios: ``rows`` has for each job each tool's time as a multiple of datapipe's.

    >>> drawn("A job", {"copy": {"psql": 0.5}}, ("psql",)).count("<title>")
    1
    """
    ratios = [ratio for found in rows.values() for ratio in found.values()] or [1.0]
    low, high = math.floor(math.log2(min(*ratios, 0.5))), math.ceil(math.log2(max(*ratios, 2.0)))
    bottom = _TOP + _ROW * len(rows)

    def across(ratio: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (math.log2(ratio) - low) / (high - low)

    parts = [_text(16, 26, title, "title"), *_legend(tools)]
    for power in range(low, high + 1):
        x = across(2.0**power)
        parts.append(
            f'<line class="{"one" if power == 0 else "rule"}" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 4}" y2="{bottom}"/>'
        )
        parts.append(_text(x, bottom + 18, _times(power), "small", "middle"))
    parts.append(_text(across(2.0 ** (high / 2)), bottom + 36, "slower than datapipe →", "small", "middle"))
    parts.append(_text(across(2.0 ** (low / 2)), bottom + 36, "← faster", "small", "middle"))
    for at, (job, found) in enumerate(rows.items()):
        y = _TOP + _ROW * at + _ROW / 2
        parts.append(f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(_text(_LEFT - 12, y + 4, job, "small", "end"))
        for tool, ratio in sorted(found.items(), key=lambda one: -tools.index(one[0])):
            told = f"{job}: {tool}, {ratio:.2g} times datapipe's time"
            parts.append(_mark(across(ratio), y, tools.index(tool), told))
    height = bottom + 48
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img">'
        f'\n<style>{_STYLE}\n</style>\n<rect class="page" width="100%" height="100%"/>\n{body}\n</svg>\n'
    )


def _times(power: int) -> str:
    """How a power of two is written below its line."""
    if power == 0:
        return "datapipe"
    return f"{2**power} x" if power > 0 else f"1/{2**-power}"


def _legend(tools: tuple[str, ...]) -> list[str]:
    parts, x = [], 22.0
    for at, tool in enumerate(tools):
        parts += [_mark(x, 52, at, ""), _text(x + 12, 56, tool, "small")]
        x += 34 + 7.2 * len(tool)
    return parts


def _mark(x: float, y: float, at: int, told: str) -> str:
    colour, shape = _MARKS[at % len(_MARKS)]
    points = {
        "square": ((-5, -5), (5, -5), (5, 5), (-5, 5)),
        "triangle": ((0, -6.5), (6, 5), (-6, 5)),
        "diamond": ((0, -7), (6, 0), (0, 7), (-6, 0)),
    }
    title = f"<title>{escape(told)}</title>" if told else ""
    if shape == "circle":
        return f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="5.5" fill="{colour}">{title}</circle>'
    corners = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in points[shape])
    return f'<polygon class="mark" points="{corners}" fill="{colour}">{title}</polygon>'


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
