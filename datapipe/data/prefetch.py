"""Stages that run ahead in threads of their own, as far as a budget of bytes allows."""

from __future__ import annotations

import collections
import contextvars
import threading
from collections.abc import Iterator, Sequence
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
    """Pulls batches in threads, one for each producer, and hands them over through a queue bounded in bytes.

    The batches of one producer stay in order; those of several come as they are made. An error of a producer is
    raised, as it is, at the consumer's next pull; a cancelled queue raises too. It never just ends: a consumer would
    take that for the end of the data.
    """

    def __init__(self, producers: Sequence[Iterator[B]], budget: int, cancel: CancelToken, name: str) -> None:
        self._budget = budget
        self._cancel = cancel
        self._changed = threading.Condition()
        self._queue: collections.deque[B] = collections.deque()
        self._bytes = self.peak = 0  # in the queue, now and at most
        self._error: BaseException | None = None
        self._closed = False
        self._working = len(producers)  # those that have not ended
        self._threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(self._produce, each), name=name, daemon=True)
            for each in producers
        ]

    @contextmanager
    def running(self, *, at_once: bool = True) -> Iterator[Iterator[B]]:
        """Start the threads, at once or at the first pull; on leaving, stop them and wait for their end."""
        with self._cancel.hook(self._wake):
            if at_once:
                self._start()
            try:
                yield self._consume()
            finally:
                self._close()
                for thread in self._threads:
                    if thread.ident is not None:
                        thread.join()

    def _start(self) -> None:
        for thread in self._threads:
            if thread.ident is None:
                thread.start()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _stopping(self) -> bool:
        return self._closed or self._error is not None or self._cancel.cancelled

    def _produce(self, batches: Iterator[B]) -> None:
        failed: BaseException | None = None
        try:
            for batch in batches:
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
            failed = error
        finally:
            close = getattr(batches, "close", None)
            if close is not None:
                close()
            with self._changed:
                self._working -= 1
                self._error = self._error or failed  # from here on the other producers stop
                self._changed.notify_all()

    def _close(self) -> None:
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._changed.notify_all()

    def _consume(self) -> Iterator[B]:
        self._start()
        try:
            while (batch := self._take()) is not None:
                yield batch
        finally:
            self._close()  # a consumer that has enough lets the source go

    def _take(self) -> B | None:
        with self._changed:
            while not (self._queue or not self._working or self._error is not None or self._cancel.cancelled):
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
