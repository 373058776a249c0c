"""Waiting for a lock that another run has, in view of the user."""

from __future__ import annotations

import time
from collections.abc import Callable

from datapipe.data.stream import Workspace
from datapipe.errors import InProgress
from datapipe.persistence.session import Session
from datapipe.settings import settings

POLL_SECONDS = (0.02, 0.5)  # the first pause of a wait, and the longest


def take_turn(session: Session, name: str, owner: str, work: Workspace) -> bool:
    """Wait for a lock, in view of the user; whether there was a wait.

    Raises
    ------
    InProgress
        If DATAPIPE_LOCK_TIMEOUT passes, naming who has it.
    RunCancelled
        If the run is cancelled meanwhile.
    """
    holder = session.lock(name, owner)
    if holder:
        wait_for(lambda: session.lock(name, owner), holder, f"which has {name}", work)
    return bool(holder)


def wait_for(attempt: Callable[[], str | None], holder: str, what: str, work: Workspace) -> None:
    """Try again until nobody holds the lock.

    Raises
    ------
    InProgress, RunCancelled
        As above.
    """
    work.tell(f"waiting for {holder}, {what}")
    patience, began = settings().lock_timeout, time.monotonic()
    pause, longest = POLL_SECONDS
    current: str | None = holder
    while current:
        if time.monotonic() - began > patience:
            hint = "Try again when it has ended, or raise DATAPIPE_LOCK_TIMEOUT"
            raise InProgress(f"{current}, {what}, did not end within {patience:g} s", hint=hint)
        work.cancel.wait(pause)
        work.cancel.check()
        pause = min(2 * pause, longest)
        current = attempt()
