"""A watch over a connection: a wait for a server that answers no more, or for a cancelled run, is ended."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from datapipe.data.cancel import CancelToken
from datapipe.data.sockets import Line
from datapipe.errors import TransientError

T = TypeVar("T")
STALLED = "Check the network; for a slow one, raise DATAPIPE_NETWORK_TIMEOUT"  # what to do about it
_LOOKS = 8  # a timeout
_QUIET_LOOKS = 3  # before the server is asked
_GRACE = 0.7  # seconds in which an interrupted statement must end
_AGAIN = 0.1  # seconds between two interruptions: one that comes between two statements finds nothing to interrupt


class Deadline:
    """When something must be over: after some seconds, or as soon as nobody wants it any more.

    Examples
    --------
    >>> Deadline(60).left() > 59
    True
    """

    def __init__(self, seconds: float, unwanted: threading.Event | None = None) -> None:
        self._end = time.monotonic() + seconds
        self._unwanted = unwanted

    def left(self) -> float:
        """The seconds left.

        Raises
        ------
        TimeoutError
            If there are none.
        """
        seconds = self._end - time.monotonic()
        if seconds <= 0 or (self._unwanted is not None and self._unwanted.is_set()):
            raise TimeoutError
        return seconds


class Peer(Protocol):
    """The server's side of a connection, reached over other connections.

    Each method gives up at its deadline with TimeoutError, and raises ConnectionError if the server is not reached.
    """

    @property
    def name(self) -> str:
        """The server, for people."""

    def busy(self, deadline: Deadline) -> bool:
        """Whether the server is at work for this connection, rather than waiting for us or without a trace of it."""

    def interrupt(self, deadline: Deadline) -> None:
        """End the statement it is at."""

    def end(self, deadline: Deadline) -> None:
        """End its session."""


class Watch:
    """Marks waits for a server, and looks at those that take long; see :func:`watched`."""

    def __init__(self, peer: Peer, line: Line, timeout: float) -> None:
        self._peer = peer
        self._line = line
        self._timeout = timeout
        self._since: float | None = None  # when the wait began, if there is one
        self._stalled: str | None = None
        self._failed: Exception | None = None  # in what was to be sent: all that follows is to clean up
        self._woken, self._closed = threading.Event(), threading.Event()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Mark a call that waits for the server and for nothing else.

        Raises
        ------
        TransientError
            If the call failed because the network stalled.
        """
        outer, self._since = self._since, time.monotonic()
        try:
            yield
        except Exception as error:
            if self._stalled is None or error is self._failed:
                raise
            raise TransientError(self._stalled, hint=STALLED) from None
        finally:
            self._since = outer

    def pausing(self, items: Iterable[T]) -> Iterator[T]:
        """The same items, pulled within a wait: meanwhile the server owes us nothing."""
        iterator = iter(items)
        while True:
            self._since = None
            try:
                item = next(iterator)
            except StopIteration:
                return
            except Exception as error:
                self._failed = error
                raise
            finally:
                self._since = time.monotonic()
            yield item

    def stop(self) -> None:
        """Interrupt this wait, and those that follow."""
        self._woken.set()

    def close(self) -> None:
        """Look no more."""
        self._closed.set()
        self._woken.set()

    def look(self) -> None:
        """Look at the waits until the watch is closed, or has cut the connection off."""
        if self._seen_stalled():
            with contextlib.suppress(OSError):
                self._peer.end(Deadline(self._timeout / _LOOKS, self._closed))
            self._line.shut()
            return
        while not self._closed.wait(_AGAIN):
            if self._since is not None and not self._interrupted(self._since):
                self._line.shut()
                return

    def _seen_stalled(self) -> bool:
        """Look until a wait is one for nothing, or until the watch is woken."""
        seen, moved = object(), 0.0
        looks = doubts = 0  # since something moved
        while not self._woken.wait(self._timeout / _LOOKS):
            state = self._since, self._line.moved()
            if state != seen or self._since is None:
                seen, moved, looks, doubts = state, time.monotonic(), 0, 0
                continue
            looks += 1
            if looks < _QUIET_LOOKS and self._failed is None:
                continue
            doubt, why = self._doubt()
            doubts += doubt
            if not doubt:
                moved, looks, doubts = time.monotonic(), 0, 0
            elif doubts > 1 and state == (self._since, self._line.moved()) and not self._woken.is_set():
                quiet = time.monotonic() - moved
                self._stalled = f"the network to {self._peer.name} stalled for {quiet:.0f} s: the server {why}"
                return True
        return False

    def _doubt(self) -> tuple[int, str]:
        """How much speaks against a wait, of 2 that are enough, and what."""
        if self._failed is not None:
            return 2, "does not end the transaction"
        try:
            is_busy = self._peer.busy(Deadline(self._timeout * _QUIET_LOOKS / _LOOKS, self._woken))
        except TimeoutError:
            return 2, "does not answer a second connection either"
        except ConnectionError:
            return 1, "cannot be reached"
        # An idle one may have answered just now.
        return (0, "") if is_busy else (1, "waits for us as we wait for it")

    def _interrupted(self, wait: float) -> bool:
        """Interrupt the statement until its wait is over; whether that came soon enough."""
        grace = Deadline(_GRACE, self._closed)
        while self._since == wait:
            try:
                with contextlib.suppress(ConnectionError):
                    self._peer.interrupt(grace)
                self._closed.wait(min(_AGAIN, grace.left()))
            except TimeoutError:
                return self._closed.is_set()
        return True


@contextmanager
def watched(peer: Peer, line: Line, cancel: CancelToken, timeout: float) -> Iterator[Watch]:
    """Watch a connection by a thread.

    A wait in which nothing moves on the line for about half of ``timeout`` makes it ask the server. If that works,
    the wait goes on, however long. If it does not, or cannot be asked, the session is ended and the line is cut.

    Parameters
    ----------
    peer : Peer
    line : Line
        Closed at the end; the connection stays open.
    cancel : CancelToken
        When it is set, waits are interrupted; those that go on are cut off.
    timeout : float
        Seconds in which a stall must be noticed.

    Examples
    --------
    >>> class Server:
    ...     name = "example"
    ...     def busy(self, deadline): return True
    ...     def interrupt(self, deadline): pass
    ...     def end(self, deadline): pass
    >>> with watched(Server(), Line(lambda: None), CancelToken(), 30) as watch:
    ...     with watch.waiting():
    ...         answer = "what the blocking call returns"
    """
    watch = Watch(peer, line, timeout)
    thread = threading.Thread(target=watch.look, name="datapipe watch", daemon=True)
    with contextlib.closing(line), cancel.hook(watch.stop):
        thread.start()
        try:
            yield watch
        finally:
            watch.close()
            thread.join()
