"""How many messages go to the browser: so few that Jupyter's limits, and slow connections, are never near."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable


class Budget:
    """So many messages in any second, and no more.

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
        self._most, self._now = a_second, now
        self._sent: deque[float] = deque()
        self._first: list[object] = []  # those who need much room at once, and go before the others
        self._lock = threading.Lock()

    def take(self, messages: int = 1, *, queued: object = None) -> bool:
        """Whether so many messages may be sent now; they are counted if so.

        Parameters
        ----------
        queued : object, optional
            Who asks. Whoever has asked in vain under a name is first in turn; the others wait until it had its turn
            or has :meth:`left <leave>`.
        """
        with self._lock:
            now = self._now()
            while self._sent and now - self._sent[0] >= 1.0:
                self._sent.popleft()
            if queued is not None and queued not in self._first:
                self._first.append(queued)
            in_turn = not self._first or self._first[0] is queued
            if not in_turn or len(self._sent) + messages > self._most:
                return False
            self._sent.extend([now] * messages)
            self._first = [other for other in self._first if other is not queued]
            return True

    def leave(self, queued: object) -> None:
        """Give up a place in the turn."""
        with self._lock:
            self._first = [other for other in self._first if other is not queued]

    def wait(self, messages: int, seconds: float) -> None:
        """Wait until so many messages may be sent, but not longer than this."""
        end = self._now() + seconds
        while not self.take(messages) and self._now() < end:
            time.sleep(0.05)
