"""One look that does for all who ask within a moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class Recent(Generic[T]):
    """What a question was answered last, asked again once that is too old.

    Parameters
    ----------
    ask : callable
    seconds : float
        How old an answer may be.

    Examples
    --------
    >>> answers = iter("ab")
    >>> recent = Recent(lambda: next(answers), 60.0)
    >>> recent(), recent()
    ('a', 'a')
    """

    ask: Callable[[], T]
    seconds: float
    _known: tuple[float, T] | None = field(default=None, repr=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __call__(self) -> T:
        """The answer; whoever asks meanwhile waits for the same one."""
        with self._turn:
            if self._known is None or time.monotonic() - self._known[0] > self.seconds:
                self._known = time.monotonic(), self.ask()
            return self._known[1]
