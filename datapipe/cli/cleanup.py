"""What cleanup removed, for people and for programs; what notebooks have left, and the record has, that is old."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from datapipe.notebooks.artifacts import all_notebooks, artifacts_root, sweep
from datapipe.settings import settings

if TYPE_CHECKING:  # loads pyarrow
    from datapipe.persistence import Leftover


def old_notebooks(*, dry_run: bool) -> tuple[Leftover, ...]:
    """Remove what runs of notebooks have left that is older, or more, than the settings allow.

    Raises
    ------
    DatapipeError
        If the place cannot be asked.
    """
    from datapipe.persistence import Leftover  # loads pyarrow

    root, found = artifacts_root(), settings()
    if "://" not in root and (find_spec("fsspec") is None or not Path(root).is_dir()):  # no notebook has ever run
        return ()
    swept = partial(sweep, root, days=found.artifacts_days, runs=found.artifacts_runs)
    old = [(name, label) for name in all_notebooks(root) for label in swept(name, dry_run=True)]
    leftovers = tuple(Leftover("notebook run", label, _bytes(label)) for _, label in old)
    for name in {name for name, _ in old} if not dry_run else ():
        swept(name)
    return leftovers


def old_records(days: float, *, dry_run: bool) -> tuple[Leftover, ...]:
    """Remove runs from the record that ended so many days ago.

    Raises
    ------
    DatapipeError
        If there is no record, or it cannot be asked.
    """
    from datapipe.history import store_of_runs
    from datapipe.persistence import Leftover  # loads pyarrow
    from datapipe.store import forget_runs, old_runs

    count = (old_runs if dry_run else forget_runs)(store_of_runs(), days)
    name = f"of {count:,} run{'s' if count > 1 else ''} that ended more than {days:g} days ago"
    return (Leftover("record", name),) if count else ()


def _bytes(folder: str) -> int:
    """What a folder takes; 0 where that is not on this machine."""
    files = Path(folder).rglob("*") if "://" not in folder else ()
    return sum(path.stat().st_size for path in files if path.is_file())


def cleanup_lines(found: Sequence[Leftover], *, dry_run: bool) -> Iterator[str]:
    """One line per thing, and a total.

    Examples
    --------
    >>> from datapipe.persistence import Leftover
    >>> print(*cleanup_lines([Leftover("temporary file", "out/.a.csv.1f.part", 2500)], dry_run=True), sep="\\n")
    would remove temporary file out/.a.csv.1f.part (2.5 kB)
    would remove 1 thing, 2.5 kB
    >>> print(*cleanup_lines([], dry_run=False))
    there is nothing to remove
    """
    verb = "would remove" if dry_run else "removed"
    for item in found:
        yield f"{verb} {item.kind} {item.name}" + (f" ({_size(item.size)})" if item.size else "")
    total, count = _size(sum(item.size for item in found)), len(found)
    yield f"{verb} {count} thing{'s' if count > 1 else ''}, {total}" if found else "there is nothing to remove"


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
