"""One flag that stops a run, and the hooks that wake whatever is waiting."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from datapipe.errors import RunCancelled

Hook = Callable[[], object]


class CancelToken:
    """Set once, from any thread; whoever does slow work registers how to interrupt it.

    Examples
    --------
    >>> token = CancelToken()
    >>> with token.hook(lambda: print("stopping")):
    ...     token.cancel()
    stopping
    >>> token.cancelled
    True
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._hooks: list[Hook] = []

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked to stop."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise RunCancelled if somebody asked to stop."""
        if self.cancelled:
            raise RunCancelled("the run was cancelled", hint="The target is unchanged")

    def wait(self, seconds: float) -> bool:
        """Sleep, but not past a cancellation; returns whether there was one."""
        return self._event.wait(seconds)

    def cancel(self) -> None:
        """Set the flag and call every hook, once. A hook that fails does not stop the others."""
        with self._lock:
            if self._event.is_set():
                return
            self._event.set()
            hooks = list(self._hooks)
        for hook in hooks:
            with contextlib.suppress(Exception):
                hook()

    @contextlib.contextmanager
    def hook(self, hook: Hook) -> Iterator[None]:
        """Call ``hook`` if the run is cancelled inside this block, and never after it."""
        with self._lock:
            late = self._event.is_set()
            if not late:
                self._hooks.append(hook)
        if late:
            with contextlib.suppress(Exception):
                hook()
        try:
            yield
        finally:
            with self._lock:
                if hook in self._hooks:
                    self._hooks.remove(hook)
