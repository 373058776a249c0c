"""Those who ask for the same at the same time are answered together, and nobody gets an older answer for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from anyio import to_thread

T = TypeVar("T")


@dataclass
class Together(Generic[T]):
    """Looks, each for all who asked before it began.

    While one goes on, whoever comes waits for the next one: what it finds is never older than the question.

    Examples
    --------
    >>> async def both():
    ...     together = Together()
    ...     looks = iter("ab")
    ...     return await asyncio.gather(*(together("runs", lambda: next(looks)) for _ in range(2)))
    >>> asyncio.run(both())
    ['a', 'a']
    """

    _next: dict[Hashable, asyncio.Task[T]] = field(default_factory=dict, repr=False)
    _last: dict[Hashable, asyncio.Task[T]] = field(default_factory=dict, repr=False)

    async def __call__(self, key: Hashable, look: Callable[[], T]) -> T:
        """What ``look`` finds, in a thread; that of another who asks under the same key will do as well."""
        task = self._next.get(key)
        if task is None:
            task = asyncio.create_task(self._look(key, look, self._last.get(key)))
            self._next[key] = self._last[key] = task
        return await asyncio.shield(task)  # who hangs up takes the answer from nobody

    async def _look(self, key: Hashable, look: Callable[[], T], before: asyncio.Task[T] | None) -> T:
        try:
            if before is not None:
                await asyncio.wait([before])
            del self._next[key]
            return await to_thread.run_sync(look)
        finally:
            if self._last.get(key) is asyncio.current_task():
                del self._last[key]
