"""What is looked at once for all who ask at the same time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio
from anyio import to_thread

T = TypeVar("T")


@dataclass
class Recent(Generic[T]):
    """A look that is good for a while, so that nobody can have servers asked as often as they like.

    Parameters
    ----------
    look : callable
        Looks, which may take seconds; in a thread of its own.
    seconds : float
        How long it is good for.

    Examples
    --------
    >>> recent = Recent(iter("ab").__next__, seconds=60)
    >>> anyio.run(recent), anyio.run(recent)
    ('a', 'a')
    """

    look: Callable[[], T]
    seconds: float
    _lock: anyio.Lock = field(default_factory=anyio.Lock, repr=False)
    _found: tuple[float, T] | None = field(default=None, repr=False)

    async def __call__(self) -> T:
        """What there is to see; whoever comes meanwhile waits for the same look, and takes no thread for it."""
        async with self._lock:
            if self._found is None or time.monotonic() - self._found[0] > self.seconds:
                found = await to_thread.run_sync(self.look)
                self._found = time.monotonic(), found
            return self._found[1]
