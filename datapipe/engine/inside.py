"""The runs of plans inside a notebook's run, as its card shows them."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from datapipe.display import RunView, kept_pace, view_of_row
from datapipe.errors import DatapipeError
from datapipe.store import RunRow, RunStore

_EVERY = 0.5  # seconds between two looks
_PATIENCE = 10.0  # seconds that its last look may take
_SHARE = 10  # how much longer than a look takes to wait for the next one


class Inside:
    """The views of the runs that a run has begun, the oldest first; as young as the store is quick.

    Parameters
    ----------
    store : RunStore, optional
        There are none without it.
    """

    def __init__(self, store: RunStore | None, run_id: str) -> None:
        self._store, self._run_id = store, run_id
        self._rows: dict[str, RunRow] = {}
        self._looking = threading.Lock()
        self._ended = threading.Event()
        self._looked = 0.0
        self._thread: threading.Thread | None = None
        self.views: tuple[RunView, ...] = ()

    def look(self) -> tuple[RunView, ...]:
        """Their views, which are no older than half a second."""
        if time.monotonic() - self._looked > _EVERY:
            self._look()
        return self.views

    def start(self) -> None:
        """Look from now on, until the end, in a thread: the store may be slow."""
        if self._store is not None and self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="datapipe inside", daemon=True)
            self._thread.start()

    def stop(self) -> tuple[RunView, ...]:
        """Look for the last time."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE)
        self._look()
        return self.views

    @property
    def replayed(self) -> list[RunRow]:
        """Those that have done nothing, since an earlier attempt had done the same."""
        return [row for row in self._rows.values() if (row.result or {}).get("replayed")]

    def loaded(self) -> bool:
        """Whether one of them may have changed something, as the store has it now."""
        self._look()
        return any(view.state not in {"failed", "cancelled", "skipped"} for view in self.views)

    def _watch(self) -> None:
        pause = _EVERY
        while not self._ended.wait(pause):
            began = time.monotonic()
            self._look()
            pause = max(_EVERY, (time.monotonic() - began) * _SHARE)

    def _look(self) -> None:
        if self._store is None:
            return
        with self._looking, suppress(DatapipeError):
            ended = [row.id for row in self._rows.values() if row.ended_for_good]
            for row in self._store.children(self._run_id, known=ended):
                self._rows[row.id] = row
            views = [view_of_row(row) for row in sorted(self._rows.values(), key=lambda row: (row.created, row.id))]
            self.views = kept_pace(self.views, views)
        self._looked = time.monotonic()
