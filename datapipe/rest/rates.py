"""How many requests a caller may make: a bucket of tokens for each, which fills again with time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

_MOST = 10_000  # callers that are remembered


@dataclass
class Rates:
    """Buckets of tokens, by caller.

    Parameters
    ----------
    per_minute : int
        Requests of one caller in a minute; as many at once.
    clock : callable
        Seconds, which only go up.

    Examples
    --------
    >>> rates = Rates(1, clock=lambda: 0.0)
    >>> rates.wait("ann"), rates.wait("ann"), rates.wait("bob")
    (0.0, 60.0, 0.0)
    """

    per_minute: int
    clock: Callable[[], float] = time.monotonic
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict, repr=False)

    def wait(self, caller: str) -> float:
        """Take a token; 0 if there was one, else the seconds until there is."""
        now = self.clock()
        tokens, since = self._buckets.pop(caller, (float(self.per_minute), now))
        tokens = min(float(self.per_minute), tokens + (now - since) * self.per_minute / 60)
        has_one = tokens >= 1
        self._buckets[caller] = (tokens - 1 if has_one else tokens, now)
        while len(self._buckets) > _MOST:
            self._buckets.popitem(last=False)
        return 0.0 if has_one else (1 - tokens) * 60 / self.per_minute
