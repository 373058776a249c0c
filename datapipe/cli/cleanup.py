"""What cleanup removed, for people and for programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # loads pyarrow
    from datapipe.persistence import Leftover


def cleanup_lines(found: Sequence[Leftover], *, dry_run: bool) -> Iterator[str]:
    """One line per thing, and a total.

    Examples
    --------
    >>> from datapipe.persistence import Leftover
    >>> print(*cleanup_lines([Leftover("temporary file", "out/.a.csv.1f.part", 2500)], dry_run=True), sep="\\n")
    would remove temporary file out/.a.csv.1f.part (2.5 kB)
    would remove 1 thing, 2.5 kB
    >>> print(*cleanup_lines([], dry_run=False))
    dead runs have left nothing
    """
    verb = "would remove" if dry_run else "removed"
    for item in found:
        yield f"{verb} {item.kind} {item.name}" + (f" ({_size(item.size)})" if item.size else "")
    total, count = _size(sum(item.size for item in found)), len(found)
    yield f"{verb} {count} thing{'s' if count > 1 else ''}, {total}" if found else "dead runs have left nothing"


def cleanup_json(found: Sequence[Leftover], *, dry_run: bool) -> str:
    """The same as JSON.

    Examples
    --------
    >>> print(cleanup_json([], dry_run=False))
    {
      "dry_run": false,
      "removed": [],
      "size": 0
    }
    """
    items = [dataclasses.asdict(item) for item in found]
    return json.dumps({"dry_run": dry_run, "removed": items, "size": sum(item.size for item in found)}, indent=2)


def _size(count: float) -> str:
    """Bytes for people.

    Examples
    --------
    >>> _size(0), _size(999), _size(12_345_678), _size(3e15)
    ('0 bytes', '999 bytes', '12.3 MB', '3,000.0 TB')
    """
    if count < 1000:
        return f"{count:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:,.1f} TB"
