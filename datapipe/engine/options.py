"""How a run is asked for: what users write, as options."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from typing import Literal

from datapipe.data.cancel import CancelToken
from datapipe.data.stream import MIB
from datapipe.engine.events import Listener
from datapipe.engine.spread import Sharing
from datapipe.errors import PlanError
from datapipe.ingestion import Range
from datapipe.logs import ids
from datapipe.persistence import Replay

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*\Z", re.IGNORECASE)


@dataclass(frozen=True)
class RunOptions:
    """How to run a plan; nothing here changes its result.

    Parameters
    ----------
    memory : int
        Bytes for the whole run.
    limit : int, optional
        Rows to read from the source at most.
    idempotency_key : str, optional
        Runs with one key take effect once; the run id is the key where there is none.
    if_running : {"wait", "fail", "skip"}
        What to do while another run has the key.
    cancel : CancelToken
        Stops the run, from any thread.
    derived_key : bool
        Whether the key stands for the place of the run in a job: what it had loaded before counts, whatever differs.
    replay : Replay, optional
        The refused rows that are the run's source.
    places : tuple of str
        Where each step was written, for people.
    sharing : Sharing, optional
        How other workers are asked to help, where there are some.
    only : Range, optional
        The only one of its source's ranges that is read: for whoever helps.
    """

    memory: int = 512 * MIB
    limit: int | None = None
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    correlation_id: str | None = None
    parent_run_id: str | None = None
    listeners: tuple[Listener, ...] = ()
    idempotency_key: str | None = None
    if_running: Literal["wait", "fail", "skip"] = "wait"
    cancel: CancelToken = field(default_factory=CancelToken)
    derived_key: bool = False
    replay: Replay | None = None
    places: tuple[str, ...] = ()
    sharing: Sharing | None = None
    only: Range | None = None


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
    # What is bound here, such as by whoever answers a request, or by a run whose function runs this one.
    correlation = ids().get("correlation_id")
    return RunOptions(
        memory=size_in_bytes(memory), correlation_id=correlation, idempotency_key=key, if_running=if_running
    )


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
