"""One flag that stops a run, and the hooks that wake whatever is waiting."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from datapipe.errors import DatapipeError, RunCancelled
from datapipe.logs import carried

T = TypeVar("T")
_GRACE = 0.7  # seconds in which what cannot be interrupted may end by itself
_AGAIN = 0.2  # seconds between two calls of a hook


class _Hook:
    """A hook, which is never called after its block is left."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._calling = threading.Lock()
        self._left = False

    def __call__(self) -> None:
        with self._calling:
            if not self._left:
                with contextlib.suppress(Exception):
                    self._call()

    def leave(self) -> None:
        with self._calling:
            self._left = True


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
        self._reason: DatapipeError | None = None
        self._changed = threading.Condition()
        self._hooks: list[_Hook] = []
        self._repeating = False

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked to stop."""
        return self._event.is_set()

    @property
    def reason(self) -> DatapipeError | None:
        """Why, if whoever asked has said so."""
        return self._reason

    def check(self) -> None:
        """Raise RunCancelled, or the reason given, if somebody asked to stop."""
        if self.cancelled:
            if self._reason is not None:
                raise self._reason
            raise RunCancelled("the run was cancelled", hint="The target is unchanged")

    def wait(self, seconds: float) -> bool:
        """Sleep, but not past a cancellation; returns whether there was one."""
        return self._event.wait(seconds)

    def cancel(self, reason: DatapipeError | None = None) -> None:
        """Set the flag, call every hook, and call it again until its block is left.

        An interruption that comes between two statements finds nothing to interrupt, so one call is not enough.
        A hook that fails does not stop the others.

        Parameters
        ----------
        reason : DatapipeError, optional
            What :meth:`check` raises instead of RunCancelled.
        """
        with self._changed:
            if self._event.is_set():
                return
            self._reason = reason
            self._event.set()
            hooks = list(self._hooks)
        self._call(hooks)

    def _call(self, hooks: list[_Hook]) -> None:
        for hook in hooks:
            hook()
        with self._changed:
            if self._hooks and not self._repeating:
                self._repeating = True
                threading.Thread(target=self._repeat, name="cancel", daemon=True).start()

    def _repeat(self) -> None:
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: not self._hooks, timeout=_AGAIN):
                    self._repeating = False
                    return
                hooks = list(self._hooks)
            for hook in hooks:
                hook()

    @contextlib.contextmanager
    def hook(self, hook: Callable[[], object]) -> Iterator[None]:
        """Call ``hook`` if the run is cancelled inside this block, and never after it."""
        added = _Hook(hook)
        with self._changed:
            late = self._event.is_set()
            self._hooks.append(added)
        if late:
            self._call([added])
        try:
            yield
        finally:
            with self._changed:
                self._hooks.remove(added)
                self._changed.notify_all()
            added.leave()


def unless_cancelled(call: Callable[[], T], cancel: CancelToken, discard: Callable[[T], object]) -> T:
    """The result of a call that nothing interrupts; a cancelled run soon leaves it alone in its thread.

    Parameters
    ----------
    discard : callable
        Takes a result that came too late.

    Raises
    ------
    RunCancelled

    Examples
    --------
    >>> unless_cancelled(lambda: 1 + 1, CancelToken(), print)
    2
    """
    future: Future[T] = Future()
    over = threading.Event()

    thread = threading.Thread(target=carried(_call), args=(call, future, over), name="datapipe connect", daemon=True)
    with cancel.hook(over.set):
        thread.start()
        over.wait()
    thread.join(_GRACE)
    if cancel.cancelled:
        future.add_done_callback(lambda late: None if late.exception() else discard(late.result()))
        cancel.check()
    try:
        return future.result()
    finally:
        del future  # else an error would keep its own frames, and the sockets in them


def _call(call: Callable[[], T], future: Future[T], over: threading.Event) -> None:
    try:
        future.set_result(call())
    except BaseException as error:  # noqa: BLE001  # raised again by result()
        future.set_exception(error)
    over.set()
