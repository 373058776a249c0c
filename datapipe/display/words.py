"""Numbers, times and states in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")

_GLYPHS = {
    "queued": "⏳",
    "running": "▶",
    "cancelling": "◼",
    "succeeded": "✓",
    "failed": "✗",
    "cancelled": "■",
    "skipped": "↷",
    "lost": "⚠",
}
# What would move a terminal's cursor, or turn the text around it; errors and names are anybody's.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MINUTE, _HOUR = 60, 3600
_KIB = 1024


def state_words(state: str) -> str:
    """A state as a sign and a word, so that nobody needs its colour.

    Examples
    --------
    >>> state_words("failed")
    '✗ FAILED'
    """
    return f"{_GLYPHS.get(state, '·')} {state.upper()}"


def count(number: int, what: str = "row") -> str:
    """A number of things.

    Examples
    --------
    >>> count(1), count(1234567)
    ('1 row', '1,234,567 rows')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """A time that has passed.

    Examples
    --------
    >>> [duration(s) for s in (0.0042, 0.42, 5.25, 75, 3725, 200_000)]
    ['4 ms', '420 ms', '5.2 s', '1:15', '1:02:05', '55:33:20']
    """
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    return clock(seconds)


def clock(seconds: float) -> str:
    """Minutes and seconds, as a clock has them.

    Examples
    --------
    >>> clock(8), clock(3725)
    ('0:08', '1:02:05')
    """
    whole = round(seconds)
    hours, rest = divmod(whole, _HOUR)
    minutes, left = divmod(rest, _MINUTE)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def rate(rows_a_second: float) -> str:
    """A speed, to three digits.

    Examples
    --------
    >>> rate(212_345.6), rate(8.26)
    ('212,000 rows/s', '8.26 rows/s')
    """
    if rows_a_second < 999.5:
        return f"{rows_a_second:.3g} rows/s"
    return f"{float(f'{rows_a_second:.3g}'):,.0f} rows/s"


def size(number: float) -> str:
    """Bytes.

    Examples
    --------
    >>> size(10), size(123_456_789)
    ('10 bytes', '117.7 MB')
    """
    if number < _KIB:
        return f"{number:.0f} bytes"
    for unit in ("kB", "MB"):
        number /= _KIB
        if number < _KIB:
            return f"{number:.1f} {unit}"
    return f"{number / _KIB:.1f} GB"


def aligned(rows: Iterable[Sequence[str]]) -> str:
    """A table in plain text; its first row may be the head.

    Examples
    --------
    >>> print(aligned([("queue", "waiting"), ("datapipe", "3")]))
    queue     waiting
    datapipe  3
    """
    lines = [*map(tuple, rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def shortened(text: str, width: int) -> str:
    """A text in one line, cut at a width.

    Examples
    --------
    >>> shortened("SELECT\\n  a", 20), shortened("abcdef", 4)
    ('SELECT a', 'abc…')
    """
    line = " ".join(text.split())
    return line if len(line) <= width else line[: max(0, width - 1)] + "…"


def unmoving(text: str) -> str:
    """A text that moves no terminal's cursor; what cannot be seen is written the way Python does.

    Examples
    --------
    >>> unmoving("\\x1b[31mred")
    '\\\\x1b[31mred'
    """
    return _CONTROL.sub(lambda found: ascii(found.group())[1:-1], text)


def ends(items: Sequence[T], most: int) -> tuple[Sequence[T], int, Sequence[T]]:
    """The beginning and the end of what is too long to be shown whole, and how many are between them.

    Examples
    --------
    >>> ends("abcdefgh", 5), ends("abc", 5)
    (('ab', 4, 'gh'), ('abc', 0, ''))
    """
    if len(items) <= most:
        return items, 0, items[:0]
    head, tail = most // 2, most - most // 2 - 1
    return items[:head], len(items) - head - tail, items[len(items) - tail :]
