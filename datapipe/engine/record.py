"""The record of one run while it lasts, which a thread writes to the run store, once a second."""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from datapipe.data.cancel import CancelToken
from datapipe.logs import bound, carried, logger
from datapipe.store import Note, RunStore, StepRow

_EVERY = 1.0  # seconds between two signs of life
_EVERY_CLAIMED = 0.5  # of a run on a worker, which nothing but the store can tell to stop
_AGAIN = 0.3  # seconds between two tries to record an end
_PATIENCE = 10.0  # seconds that the end of a run waits for a store that does not answer
_PATIENCE_KEYED = 120.0
_LOG = logger("datapipe.engine")


class Record:
    """Writes how far a run is, and passes on the wish to cancel it.

    Its thread gives a sign of life even while the caller's thread is in a user's function. A store that fails
    in the middle of a run costs one warning; the next write is tried all the same.

    Parameters
    ----------
    lease : str
        Under which the run is this process's.
    cancel : CancelToken
        Is cancelled when somebody asks for it, or has taken the run over.
    claimed : bool
        Whether it was taken from a worker's queue.
    keyed : bool
        Whether the record itself tells that a key has been used, so that it may not be missing.
    """

    def __init__(
        self,
        store: RunStore,
        run_id: str,
        lease: str,
        cancel: CancelToken,
        *,
        claimed: bool = False,
        keyed: bool = False,
    ) -> None:
        self._store, self._run_id, self._lease, self._cancel = store, run_id, lease, cancel
        self._every, self._keyed = _EVERY_CLAIMED if claimed else _EVERY, keyed
        self._patience = _PATIENCE_KEYED if keyed else _PATIENCE if claimed else 0.0
        self._steps: dict[str, StepRow] = {}
        self._moved: set[str] = set()  # the steps that have changed since they were last written
        self._notes: deque[Note] = deque()  # not written yet
        self._changed = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread
        self._warned = False

    def add(self, **values: Any) -> None:
        """Record that a run begins which nobody knows yet; ``values`` are columns of the table of runs.

        Raises
        ------
        DatapipeError
            If that fails, and the run has a key.
        """
        add = functools.partial(self._store.add, self._run_id, state="running", lease=self._lease, **values)
        if self._keyed:
            add()
        else:
            self.attempt(add)

    def start(self) -> None:
        """Give signs of life from now on."""
        self._thread = threading.Thread(target=carried(self._beat), name="datapipe record", daemon=True)
        self._thread.start()

    def say(self, note: Note) -> None:
        """Add a line to the run's log."""
        self._notes.append(note)

    def step(self, name: str, change: Callable[[StepRow], StepRow]) -> None:
        """Change what is known of a step, which gets the next number if it is new."""
        with self._changed:
            self._steps[name] = change(self._steps.get(name) or StepRow(len(self._steps), name))
            self._moved.add(name)

    def end(self, steps: Iterable[StepRow], register: Callable[[], Any] | None = None, **values: Any) -> None:
        """Record how the run ended.

        Parameters
        ----------
        register : callable, optional
            Gives the number of the schema that it has left, while the store answers.
        """
        self._ended.set()
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            self._warn("the store does not answer")
            return
        if register is not None:
            values["schema_version"] = self.attempt(register)
        steps, notes = list(steps), list(self._notes)
        until = time.monotonic() + self._patience
        end = functools.partial(self._store.end, self._run_id, self._lease, **values)
        while self.attempt(functools.partial(end, steps=steps, notes=notes)) is None:
            if not steps and not notes and time.monotonic() > until:
                if self._keyed:
                    self._warn("its end is not on record, so its key is free again")
                return  # a worker's run is taken over then; of a plan, the ledger knows what it did
            steps, notes = [], []  # the end alone, in case they are what the store does not take
            time.sleep(_AGAIN)

    def attempt(self, write: Callable[[], Any]) -> Any:
        """The result of a write; None, and a warning, if it fails: a record does not steer a run."""
        try:
            return write()
        except Exception as error:  # noqa: BLE001  # as above
            self._warn(str(error))
            return None

    def _beat(self) -> None:
        while not self._ended.wait(self._every):
            with self._changed:
                moved, self._moved = self._moved, set()
                steps = [self._steps[name] for name in moved]
            notes = tuple(self._notes)
            told = self.attempt(functools.partial(self._store.beat, self._run_id, steps, self._lease, notes))
            if told is None:
                with self._changed:
                    self._moved |= moved
                continue
            for _ in notes:
                self._notes.popleft()
            if told:
                self._cancel.cancel()

    def _warn(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            with bound(run_id=self._run_id):
                _LOG.warning("the record of run %s is incomplete: %s", self._run_id, why)
