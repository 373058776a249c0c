"""One run's place in a notebook: shown at once, live while the run lasts, lasting when it has ended."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from datapipe.display import RunView, aged, run_card, run_card_text
from datapipe.jupyter import output
from datapipe.jupyter.budget import Budget
from datapipe.jupyter.once import shown_here
from datapipe.surroundings import surroundings

_budget = Budget(16)  # messages a second, of all the runs of this kernel
_ENDING = 5  # messages of an end
_PATIENCE = 2.0  # seconds that the last messages of a run wait for their turn
_SOON = 0.4  # seconds before a run gets widgets: many have ended by then
_FAST, _SLOW, _FIRST = 0.5, 1.0, 60.0  # seconds between two ticks, in the first minute and later
_LOG = 1.0  # seconds between two looks at the log
_SNAPSHOT = 10.0  # seconds between two copies of the card in the notebook's file
_STEP = 1.0  # seconds between two copies when a step begins or ends
_UNSEEN = 30.0  # seconds between two copies where nobody looks


@contextlib.contextmanager
def panel(view: RunView, cancel: Callable[[], object] | None, *, live: bool) -> Iterator[Callable[[RunView], None]]:
    """What shows one view of a run after the other, in the output of the cell that is being run.

    It is entered in the thread that runs the cell; it may be left in another one.

    Parameters
    ----------
    view : RunView
        The run as it is at first.
    cancel : callable, optional
        What stops the run; there is no button without it.
    live : bool
        With widgets.
    """
    found = _Panel(view, cancel, live)
    try:
        yield found.show
    finally:
        found.close()


class _Panel:
    def __init__(self, view: RunView, cancel: Callable[[], object] | None, live: bool) -> None:
        self._latest, self._at = view, time.monotonic()
        self._cancel, self._live = cancel, live
        self._asked = False
        self._card: Any = None
        self._id = uuid.uuid4().hex
        self._ended = threading.Event()
        self._copied = (_phase(view), time.monotonic())
        self._logged = self._began = time.monotonic()
        self._fixed = False
        with contextlib.suppress(Exception):  # what cannot be shown is run all the same
            self._begin()
            shown_here(view.id)
        self._thread = threading.Thread(target=self._paint, name="datapipe card", daemon=True)
        self._thread.start()

    def _begin(self) -> None:
        """Show the card for the first time; where it cannot be replaced, as widgets at once, or not before the end."""
        self._fixed = output.captured()
        if not self._fixed:
            output.put(_bundle(self._view()), self._id)
        elif self._live:
            self._make()
            output.put({**self._card.bundle, **_bundle(self._view())})

    def show(self, view: RunView) -> None:
        """Take the next view; it is painted when its time has come."""
        self._latest, self._at = view, time.monotonic()

    def close(self) -> None:
        """Paint the last view: the widgets, for pages that were loaded again, and plain HTML for the file."""
        self._ended.set()
        try:
            self._thread.join()
        finally:  # an interrupt now does not leave a card that goes on, or that others wait for
            _budget.leave(self)
            with contextlib.suppress(Exception):  # the run has ended as it has, whoever can be told of it
                self._end()

    def _end(self) -> None:
        view = self._view()
        if threading.current_thread() is not threading.main_thread():
            _budget.wait(_ENDING, _PATIENCE)
        if self._card is not None:
            self._card.end(view)
        if not self._fixed:
            output.replace(_bundle(view), self._id)
        elif self._card is None:
            output.put(_bundle(view))

    def _view(self) -> RunView:
        """The latest view, older by the time since it came."""
        view, at = self._latest, self._at
        if self._asked and view.state in {"queued", "running"}:
            view = dataclasses.replace(view, state="cancelling")
        return aged(view, time.monotonic() - at)

    def _stop(self) -> None:
        """The button was pressed: say so, and stop the run."""
        if self._cancel is not None and not self._latest.final:
            self._asked = True
            try:
                self._cancel()
            except Exception:
                self._asked = False  # the store may be away: the button is there to be pressed again
                raise
            finally:
                self._tick(now=True)

    def _paint(self) -> None:
        pause = _SOON
        while not self._ended.wait(pause):
            try:
                if self._live and self._card is None:
                    self._open()
                self._tick()
            except Exception:  # noqa: BLE001  # a front end that is gone does not stop a run
                return
            pause = _FAST if time.monotonic() - self._began < _FIRST else _SLOW

    def _open(self) -> None:
        from datapipe.jupyter.widgets import COMMS

        if _budget.take(COMMS + 1, queued=self):
            self._make()
            self._copy(self._view())

    def _make(self) -> None:
        from datapipe.jupyter.widgets import LiveCard  # needs ipywidgets

        self._card = LiveCard(self._view(), self._stop if self._cancel is not None else None)

    def _tick(self, *, now: bool = False) -> None:
        view, clock = self._view(), time.monotonic()
        if self._card is not None:
            changes = self._card.changes(view)
            if clock - self._logged > _LOG:
                self._logged = clock
                changes += self._card.log_changes(view)
            if changes and (now or _budget.take(len(changes))):
                for widget, text in changes:
                    widget.value = text
        if self._is_due(view, clock) and _budget.take():
            self._copy(view)

    def _is_due(self, view: RunView, clock: float) -> bool:
        if self._fixed:
            return False
        phase, since = self._copied[0], clock - self._copied[1]
        unseen = surroundings() == "headless"
        often = _SNAPSHOT if self._card is not None else _UNSEEN if unseen else _SLOW
        return since > often or (phase != _phase(view) and since > _STEP)

    def _copy(self, view: RunView) -> None:
        """Put the card as it is now into the notebook's file, beside the widgets."""
        self._copied = (_phase(view), time.monotonic())
        more = self._card.bundle if self._card is not None else {}
        output.replace({**more, **_bundle(view)}, self._id)


def _bundle(view: RunView) -> dict[str, str]:
    view = dataclasses.replace(view, at=time.strftime("%H:%M:%S"))
    return {"text/html": run_card(view), "text/plain": run_card_text(view)}


def _phase(view: RunView) -> tuple[object, ...]:
    """What a colleague who opens the file should find up to date."""
    return (view.state, *(step.state for step in view.steps))
