"""An ALTER waits for all who read the table, and whoever comes later waits behind it: so it waits a little, often."""

from __future__ import annotations

import time
from collections.abc import Callable

from datapipe.errors import InProgress
from datapipe.settings import settings

WAIT = 1  # second that an ALTER stands in the way of others
_PAUSE = 0.3  # seconds for them
_PATIENCE = 30.0  # seconds: a plan that alters the table it reads waits for itself


def patiently(attempt: Callable[[], bool]) -> None:
    """Try until it is done.

    Parameters
    ----------
    attempt : callable
        Whether it is; waits for ``WAIT`` seconds.

    Raises
    ------
    InProgress
        If it is not done within half a minute, or DATAPIPE_LOCK_TIMEOUT.

    Examples
    --------
    >>> patiently(lambda: True)
    """
    end = time.monotonic() + min(settings().lock_timeout, _PATIENCE)
    while not attempt():
        if time.monotonic() >= end:
            raise InProgress(
                "the table must be altered first, and somebody is reading it, perhaps this plan's own source",
                hint="Try again when that has ended; if the plan reads its target, add the column beforehand",
            )
        time.sleep(_PAUSE)
