"""Runs on record: what happens to one is written to the run store, once a second, beside the run itself."""

from __future__ import annotations

import dataclasses
import functools
import getpass
import logging
import os
import socket
import threading
import time
import traceback
import uuid
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from datapipe.display import view_of_plan
from datapipe.engine.events import Event
from datapipe.engine.result import RunResult
from datapipe.engine.runner import RunOptions, Taker, run_plan, stream_plan
from datapipe.errors import DatapipeError, Interrupted, NotPortableError, PlanError
from datapipe.plan import Plan, document
from datapipe.schemas import SchemaRegistry
from datapipe.store import NOT_AWAITED, Note, RunStore, StepRow, open_store, store_or_none
from datapipe.surroundings import via
from datapipe.traces import is_ours, masked

_EVERY = 1.0  # seconds between two signs of life
_EVERY_CLAIMED = 0.5  # of a run on a worker, which nothing but the store can tell to stop
_AGAIN = 0.3  # seconds between two tries to record an end
_LONGEST = 20_000  # characters of a traceback
_PATIENCE = 10.0  # seconds that the end of a run waits for a store that does not answer


def run_recorded(plan: Plan, options: RunOptions, take: Taker | None = None) -> RunResult:
    """Run a plan here, and keep a record of it; without one where the store is off or cannot be written.

    Parameters
    ----------
    take : callable, optional
        Gets the rows in place of the plan's target, as for :func:`~datapipe.engine.stream_plan`.

    Raises
    ------
    DatapipeError, KeyboardInterrupt
        As :func:`~datapipe.engine.run_plan` does.
    """
    store = store_or_none()
    if store is None:
        return _run(plan, options, take)
    recorder = Recorder(store, options, str(uuid.uuid4()))
    recorder.begin(plan)
    return recorder.run(plan, take)


def begin_recorded(plan: Plan, options: RunOptions) -> Callable[[RunOptions], RunResult]:
    """Record that a run begins, and give back what runs it, with the listeners it is to have.

    Raises
    ------
    PlanError
        If runs are not recorded.
    """
    store = open_store()
    if store is None:
        raise PlanError("a run in the background is known by its record, and DATAPIPE_METADATA_URL is off")
    lease = str(uuid.uuid4())
    store.add(options.run_id, state="running", **described(plan, options), **place(), lease=lease)
    return lambda listening: Recorder(store, listening, lease).run(plan)


def run_claimed(plan: Plan, options: RunOptions, store: RunStore, lease: str, take: Taker | None = None) -> RunResult:
    """Run a plan that a worker has taken from its queue, under the lease it took it with.

    Raises
    ------
    DatapipeError
        As :func:`~datapipe.engine.run_plan` does.
    """
    return Recorder(store, options, lease, _EVERY_CLAIMED).run(plan, take)


def _run(plan: Plan, options: RunOptions, take: Taker | None) -> RunResult:
    return run_plan(plan, options) if take is None else stream_plan(plan, options, take)


class Recorder:
    """A listener that writes a run to the store, and passes on the wish to cancel it.

    Its thread gives a sign of life even while the caller's thread is in a user's function. A store that fails
    in the middle of a run costs one warning; the next write is tried all the same.
    """

    def __init__(self, store: RunStore, options: RunOptions, lease: str, every: float = _EVERY) -> None:
        self._store, self._options, self._run_id, self._lease = store, options, options.run_id, lease
        self._every, self._claimed = every, every == _EVERY_CLAIMED
        self._steps: dict[str, StepRow] = {}
        self._notes: deque[Note] = deque()  # not written yet
        self._changed = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="datapipe record", daemon=True)
        self._warned = False

    def begin(self, plan: Plan) -> None:
        """Record that a run begins which nobody knows yet."""
        values = {**described(plan, self._options), **place(), "lease": self._lease}
        self._try(lambda: self._store.add(self._run_id, state="running", **values))

    def run(self, plan: Plan, take: Taker | None = None) -> RunResult:
        """Run the plan, and record how that goes and ends."""
        self._thread.start()
        options = dataclasses.replace(self._options, listeners=(*self._options.listeners, self))
        try:
            result = _run(plan, options, take)
        except BaseException as error:
            self.finish(getattr(error, "result", None), error)
            raise
        self.finish(result)
        return result

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if event.kind in {"notice", "attempt_failed"} and event.message:
            self._notes.append(Note(event.kind, event.message, event.step))
        if event.step is not None:
            with self._changed:
                known = self._steps.get(event.step) or StepRow(len(self._steps), event.step)
                self._steps[event.step] = dataclasses.replace(
                    known,
                    rows_in=event.rows_in,
                    rows_out=event.rows_out,
                    total=event.total,
                    rejected=event.rejected,
                )

    def finish(self, result: RunResult | None, error: BaseException | None = None) -> None:
        """Record how the run ended."""
        if isinstance(error, Interrupted):
            error = error.unknown or error
        self._ended.set()
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            self._warn("the store does not answer")
            return
        steps = [
            StepRow(
                i, s.name, s.version, s.rows_in, s.rows_out, None, s.seconds if s.done else None, s.rejected, s.busy
            )
            for i, s in enumerate(result.steps if result else ())
        ]
        found, notes = _ended(self._run_id, result, error), tuple(self._notes)
        if result is not None and result.subject and result.columns and error is None:
            found["schema_version"] = self._try(functools.partial(self._register, result.subject, result))
        until = time.monotonic() + (_PATIENCE if self._claimed else 0)
        while self._try(functools.partial(self._store.end, self._run_id, self._lease, steps, notes, **found)) is None:
            if not steps and not notes and time.monotonic() > until:
                return  # a worker's run is taken over then, and the ledger knows what it did
            steps, notes = [], ()  # the end alone, in case they are what the store does not take
            time.sleep(_AGAIN)

    def _register(self, subject: str, result: RunResult) -> int:
        """The number of the schema that the run has left its target with."""
        registry = SchemaRegistry(self._store)
        # What an earlier run has left may not be the latest any more.
        known = registry.number(subject, result.schema_version) if result.replayed else None
        return known or registry.register(subject, result.columns, result.run_id)

    def _beat(self) -> None:
        while not self._ended.wait(self._every):
            with self._changed:
                steps = list(self._steps.values())
            notes = tuple(self._notes)
            told = self._try(functools.partial(self._store.beat, self._run_id, steps, self._lease, notes))
            if told is None:
                continue
            for _ in notes:
                self._notes.popleft()
            if told:
                self._options.cancel.cancel()

    def _try(self, write: Callable[[], Any]) -> Any:
        try:
            return write()
        except Exception as error:  # noqa: BLE001  # a record does not steer a run
            self._warn(str(error))
            return None

    def _warn(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            logging.getLogger("datapipe").warning("the record of run %s is incomplete: %s", self._run_id, why)


def _ended(run_id: str, result: RunResult | None, error: BaseException | None) -> dict[str, Any]:
    """The columns that say how a run ended."""
    interrupted = isinstance(error, KeyboardInterrupt)  # for the second time, which does not wait
    state = result.state if result is not None else "cancelled" if interrupted else "failed"
    found: dict[str, Any] = {"state": state}
    if result is not None:
        found |= {"rows_read": result.rows_read, "rows_written": result.rows_written}
        found |= {"attempts": result.attempts, "result": result.to_dict()}
    elif interrupted:
        found["reason"] = NOT_AWAITED
    if result is not None and result.replayed and result.run_id != run_id:
        found |= {"reason": f"run {result.run_id} had done it", "rows_written": 0}
    if error is not None and (state == "failed" or result is None):
        found["error"] = told(error)
    return found


def told(error: BaseException) -> dict[str, Any]:
    """An error as plain JSON values, with where it came from."""
    if isinstance(error, DatapipeError):
        found = error.to_dict()
    else:
        found = {"type": type(error).__name__, "message": masked(str(error)) or "interrupted"}
    return {**found, "traceback": _lines(error)[-_LONGEST:]}


def _lines(error: BaseException) -> str:
    """Where an error came from: the user's function, if it was that. A driver's message is left out, as in errors."""
    cause = error.__cause__
    users = (
        [frame for frame in traceback.extract_tb(cause.__traceback__) if not is_ours(frame.filename)] if cause else []
    )
    found = users or traceback.extract_tb(error.__traceback__)
    return masked("".join([*traceback.format_list(found), f"{type(error).__name__}: {error}"]))


def described(plan: Plan, options: RunOptions) -> dict[str, Any]:
    """The columns that say what a run is about."""
    target = plan.persistence
    return {
        "name": plan.name,
        "fingerprint": plan.fingerprint,
        "correlation_id": options.correlation_id or options.run_id,
        "parent_run_id": options.parent_run_id,
        "source": plan.ingestion.label,
        "target": target.label if target else None,
        "document": _portable(plan),
        "outline": [[step.verb, step.what, step.where] for step in view_of_plan(plan, "", options.places).steps],
        "via": via(),
    }


def _portable(plan: Plan) -> str | None:
    try:
        return document.to_json(plan)
    except NotPortableError:
        return None


def place() -> dict[str, Any]:
    """Who runs, and where."""
    found: dict[str, Any] = {"host": socket.gethostname(), "process": os.getpid()}
    with suppress(KeyError, OSError):  # an account without a name
        found["owner"] = getpass.getuser()
    return found
