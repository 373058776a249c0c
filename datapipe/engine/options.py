"""How a run is asked for: what users write, as options."""

from __future__ import annotations

import re
from typing import Literal

from datapipe.engine.runner import RunOptions
from datapipe.errors import PlanError

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*\Z", re.IGNORECASE)


def run_options(memory: str | int, key: str | None, if_running: Literal["wait", "fail", "skip"]) -> RunOptions:
    """The options for a size of memory, an idempotency key, and what to do while another run has the key.

    Raises
    ------
    PlanError
        If one of them makes no sense.

    Examples
    --------
    >>> run_options("1GB", None, "wait").memory
    1073741824
    """
    if if_running not in {"wait", "fail", "skip"}:
        raise PlanError(f"if_running cannot be {if_running!r}", hint="Use 'wait', 'fail' or 'skip'")
    if key == "":
        raise PlanError("the idempotency key is empty", hint="Give a text, such as the day that is loaded")
    return RunOptions(memory=size_in_bytes(memory), idempotency_key=key, if_running=if_running)


def size_in_bytes(size: str | int) -> int:
    """A size in bytes: ``"512MB"`` is 512 MiB, as everywhere in databases.

    Raises
    ------
    PlanError
        If it is none, or less than 64 MB.

    Examples
    --------
    >>> size_in_bytes("512MB")
    536870912
    """
    if isinstance(size, (int, float)):
        found = int(size)
    else:
        match = _SIZE.match(size)
        if match is None:
            raise PlanError(f"memory {size!r} is not a size", hint="Write it as '512MB' or '2GB'")
        found = int(float(match.group(1)) * 1024 ** " kmgt".index(match.group(2).lower() or " "))
    if found < 64 << 20:
        raise PlanError(f"memory={size!r} is too little", hint="Give at least '64MB'")
    return found
