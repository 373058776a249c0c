"""What a cell has raised, from the kernel's reply."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from datapipe.traces import Excerpt, surrounding

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_IN_CELL = re.compile(r"In\[(\d+)\](?:, line |:)(\d+)(?:, in (\w+)| in (\w+))?")
_CLEAN = {"", "0", "None"}  # what sys.exit() leaves that means success


def is_clean_exit(name: str | None, value: str | None) -> bool:
    """Whether an error of a cell is ``sys.exit()`` without a code: the notebook has done what it had to.

    Examples
    --------
    >>> is_clean_exit("SystemExit", "0"), is_clean_exit("SystemExit", "3")
    (True, False)
    """
    return name == "SystemExit" and (value or "") in _CLEAN


def raised(reply: Mapping[str, Any], cell: int, sources: Mapping[int, str]) -> dict[str, Any]:
    """The error that a cell has raised.

    Parameters
    ----------
    reply : mapping
        The content of the kernel's reply.
    cell : int
        The cell's number among all cells, from 1.
    sources : mapping of int to str
        The sources of the cells that were executed, by their execution counts.
    """
    name, value = str(reply.get("ename") or "Error"), _ANSI.sub("", str(reply.get("evalue") or ""))
    lines = [_ANSI.sub("", str(line)) for line in reply.get("traceback") or ()]
    found: dict[str, Any] = {"type": name, "message": value or name, "cell": cell, "traceback": "\n".join(lines)}
    if name == "SystemExit":
        found |= {"message": f"the notebook ended itself: sys.exit({value})", "hint": "sys.exit() alone ends it well"}
    excerpt = _excerpt(lines, sources)
    return found if excerpt is None else {**found, "line": excerpt.line, "excerpt": excerpt.to_dict()}


def _excerpt(lines: Sequence[str], sources: Mapping[int, str]) -> Excerpt | None:
    """The innermost line of a cell that a traceback goes through."""
    matches = list(_IN_CELL.finditer("\n".join(lines)))
    known = [match for match in matches if int(match.group(1)) in sources]
    if not known:
        return None
    count, line = int(known[-1].group(1)), int(known[-1].group(2))
    function = known[-1].group(3) or known[-1].group(4) or ""
    text = sources[count].splitlines()
    line += len(text) - len(list(itertools.dropwhile(lambda one: not one.strip(), text)))  # IPython drops empty ones
    return Excerpt(f"In[{count}]", line, function, surrounding(text, line))
