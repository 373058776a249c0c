"""How many messages go to the browser: so few that Jupyter's limits, and slow connections, are never near."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Budget:
    """Messages that may be sent: so many a second, and no more than that at once.

    Parameters
    ----------
    a_second : int
    now : callable
        The clock, in seconds.

    Examples
    --------
    >>> budget = Budget(2, now=lambda: 0.0)
    >>> [budget.take() for _ in range(3)]
    [True, True, False]
    """

    def __init__(self, a_second: int, now: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._now = a_second, now
        self._left, self._filled = float(a_second), now()
        self._lock = threading.Lock()

    def take(self, messages: int = 1) -> bool:
        """Whether so many messages may be sent now; they are counted if so."""
        with self._lock:
            now = self._now()
            self._left = min(float(self._rate), self._left + (now - self._filled) * self._rate)
            self._filled = now
            if self._left < messages:
                return False
            self._left -= messages
            return True
