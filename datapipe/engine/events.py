"""What happens during a run, as frozen values. Logs, terminals and cards are listeners; none of them steers."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from datapipe.logs import logger

_LOG = logger("datapipe.engine")
Kind = Literal["run_started", "step_started", "progress", "notice", "attempt_failed", "step_finished", "run_finished"]
State = Literal["running", "succeeded", "failed", "cancelled", "skipped"]


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Parameters
    ----------
    kind : str
        ``run_started``, ``step_started``, ``progress``, ``notice``, ``attempt_failed``, ``step_finished`` or
        ``run_finished``.
    run_id, correlation_id : str
    sequence : int
        Counts the events of a run from 1.
    time : float
        Seconds since the epoch.
    step : str, optional
        The step's name, such as ``transformation step 1 (sql)``.
    rows_in, rows_out : int
        Rows so far.
    rejected : int
        Rows that a validation has kept from the next step so far.
    deleted : int
        At the end of a run, the target's rows that its source no longer has.
    total : int, optional
        The rows the step will hand on, where they are known.
    state : str
    message : str, optional
        The error's message, when the run or an attempt failed; the note of a ``notice``.
    discreet : str, optional
        The message as a log has it: without what a user's function has said, which may quote a row.
    seconds : float, optional
        How long the step or the run took; of ``attempt_failed``, the pause before the next attempt.

    Examples
    --------
    >>> Event("progress", "r1", "c1", 3, 0.0, step="ingestion", rows_out=10).to_dict()["rows_out"]
    10
    """

    kind: Kind
    run_id: str
    correlation_id: str
    sequence: int
    time: float
    parent_run_id: str | None = None
    step: str | None = None
    rows_in: int = 0
    rows_out: int = 0
    rejected: int = 0
    deleted: int = 0
    total: int | None = None
    state: State = "running"
    message: str | None = None
    discreet: str | None = None
    seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The event as plain JSON values."""
        return dataclasses.asdict(self)


Listener = Callable[[Event], object]


class Emitter:
    """Numbers the events of one run and hands them to its listeners, in the thread that called ``run()``."""

    def __init__(self, run_id: str, correlation_id: str, parent_run_id: str | None, listeners: Iterable[Listener]):
        self._ids = (run_id, correlation_id)
        self._parent = parent_run_id
        self._listeners = tuple(listeners)
        self._numbers: Iterator[int] = itertools.count(1)

    def emit(self, kind: Kind, **details: Any) -> None:
        """Tell every listener."""
        event = Event(kind, *self._ids, next(self._numbers), time.time(), parent_run_id=self._parent, **details)
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:  # noqa: BLE001  # a listener does not steer
                _LOG.exception("a listener failed")
