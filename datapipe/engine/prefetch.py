"""A stage that runs ahead in a thread of its own, as far as a budget of bytes allows."""

from __future__ import annotations

import collections
import contextvars
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from datapipe.data.cancel import CancelToken

_POLL = 0.2  # seconds; a cancellation wakes every wait at once, this only bounds a lost wake-up


class Sized(Protocol):
    """Rows that know their size: a record batch, or a block."""

    @property
    def nbytes(self) -> int:
        """Bytes."""


B = TypeVar("B", bound=Sized)


class Prefetch(Generic[B]):
    """Pulls batches in a thread and hands them over through a queue bounded in bytes.

    An error of the producer is raised, as it is, at the consumer's next pull; a cancelled queue raises too.
    It never just ends: a consumer would take that for the end of the data.
    """

    def __init__(self, batches: Iterator[B], budget: int, cancel: CancelToken, name: str) -> None:
        self._batches = batches
        self._budget = budget
        self._cancel = cancel
        self._changed = threading.Condition()
        self._queue: collections.deque[B] = collections.deque()
        self._bytes = self.peak = 0  # in the queue, now and at most
        self._error: BaseException | None = None
        self._done = self._closed = False
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._produce,), name=name, daemon=True)

    @contextmanager
    def running(self, *, at_once: bool = True) -> Iterator[Iterator[B]]:
        """Start the thread, at once or at the first pull; on leaving, stop it and wait for its end."""
        with self._cancel.hook(self._wake):
            if at_once:
                self._thread.start()
            try:
                yield self._consume()
            finally:
                self._close()
                if self._thread.ident is not None:
                    self._thread.join()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _stopping(self) -> bool:
        return self._closed or self._cancel.cancelled

    def _produce(self) -> None:
        try:
            for batch in self._batches:
                size = max(batch.nbytes, 1)
                with self._changed:
                    # One batch larger than the whole budget may pass alone.
                    while not self._stopping() and self._queue and self._bytes + size > self._budget:
                        self._changed.wait(_POLL)
                    if self._stopping():
                        break
                    self._queue.append(batch)
                    self._bytes += size
                    self.peak = max(self.peak, self._bytes)
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001  # handed to the consumer, which raises it
            self._error = error
        finally:
            close = getattr(self._batches, "close", None)
            if close is not None:
                close()
            with self._changed:
                self._done = True
                self._changed.notify_all()

    def _close(self) -> None:
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._changed.notify_all()

    def _consume(self) -> Iterator[B]:
        if self._thread.ident is None:
            self._thread.start()
        try:
            while (batch := self._take()) is not None:
                yield batch
        finally:
            self._close()  # a consumer that has enough lets the source go

    def _take(self) -> B | None:
        with self._changed:
            while not (self._queue or self._done or self._cancel.cancelled):
                self._changed.wait(_POLL)
            if self._error is not None and not self._queue:
                raise self._error
            self._cancel.check()
            if not self._queue:
                return None
            batch = self._queue.popleft()
            self._bytes -= max(batch.nbytes, 1)
            self._changed.notify_all()
            return batch
