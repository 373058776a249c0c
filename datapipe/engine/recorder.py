"""Runs on record: what happens to one is written to the run store, once a second, beside the run itself."""

from __future__ import annotations

import dataclasses
import functools
import getpass
import logging
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from datapipe.data.cancel import CancelToken
from datapipe.engine.events import Event
from datapipe.engine.result import RunResult
from datapipe.engine.runner import RunOptions, run_plan
from datapipe.errors import DatapipeError, NotPortableError
from datapipe.plan import Plan, document
from datapipe.store import RunStore, StepRow, store_or_none

_EVERY = 1.0  # seconds between two signs of life
_PATIENCE = 10.0  # seconds that the end of a run waits for a store that does not answer


def run_recorded(plan: Plan, options: RunOptions) -> RunResult:
    """Run a plan here, and keep a record of it; without one where the store is off or cannot be written.

    Raises
    ------
    DatapipeError, KeyboardInterrupt
        As :func:`~datapipe.engine.run_plan` does.
    """
    store = store_or_none()
    if store is None:
        return run_plan(plan, options)
    recorder = Recorder(store, options.run_id, options.cancel)
    recorder.begin(plan, options)
    try:
        result = run_plan(plan, dataclasses.replace(options, listeners=(*options.listeners, recorder)))
    except BaseException as error:
        recorder.finish(getattr(error, "result", None), error)
        raise
    recorder.finish(result)
    return result


class Recorder:
    """A listener that writes a run to the store, and passes on the wish to cancel it.

    Its thread gives a sign of life even while the caller's thread is in a user's function. A store that fails
    in the middle of a run costs one warning; the next write is tried all the same.
    """

    def __init__(self, store: RunStore, run_id: str, cancel: CancelToken) -> None:
        self._store, self._run_id, self._cancel = store, run_id, cancel
        self._steps: dict[str, StepRow] = {}
        self._changed = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="datapipe record", daemon=True)
        self._warned = False

    def begin(self, plan: Plan, options: RunOptions) -> None:
        """Record that the run begins."""
        target = plan.persistence
        self._try(
            lambda: self._store.add(
                self._run_id,
                state="running",
                name=plan.name,
                fingerprint=plan.fingerprint,
                correlation_id=options.correlation_id or options.run_id,
                parent_run_id=options.parent_run_id,
                source=plan.ingestion.label,
                target=target.label if target else None,
                document=_portable(plan),
                **_place(),
            )
        )
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if event.kind in {"notice", "attempt_failed"} and event.message:
            message, kind, step = event.message, event.kind, event.step
            self._try(lambda: self._store.say(self._run_id, kind, message, step))
        if event.step is not None:
            with self._changed:
                known = self._steps.get(event.step) or StepRow(len(self._steps), event.step)
                self._steps[event.step] = dataclasses.replace(
                    known, rows_in=event.rows_in, rows_out=event.rows_out, total=event.total
                )

    def finish(self, result: RunResult | None, error: BaseException | None = None) -> None:
        """Record how the run ended."""
        self._ended.set()
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            self._warn("the store does not answer")
            return
        if result is not None:
            steps = [
                StepRow(i, s.name, s.version, s.rows_in, s.rows_out, None, s.seconds)
                for i, s in enumerate(result.steps)
            ]
            self._try(lambda: self._store.beat(self._run_id, steps))
        interrupted = isinstance(error, KeyboardInterrupt)  # for the second time, which does not wait
        state = result.state if result is not None else "cancelled" if interrupted else "failed"
        found: dict[str, Any] = {"rows_read": result.rows_read, "rows_written": result.rows_written} if result else {}
        found |= {"attempts": result.attempts, "result": result.to_dict()} if result else {}
        if result is None and interrupted:
            found["reason"] = "its end was not awaited"
        if result is not None and result.replayed:
            found |= {"reason": f"run {result.run_id} had done it", "rows_written": 0}
        if isinstance(error, DatapipeError):
            found["error"] = error.to_dict()
        elif error is not None and (state == "failed" or result is None):
            found["error"] = {"type": type(error).__name__, "message": str(error) or "interrupted"}
        self._try(lambda: self._store.change(self._run_id, state=state, **found))

    def _beat(self) -> None:
        while not self._ended.wait(_EVERY):
            with self._changed:
                steps = list(self._steps.values())
            if self._try(functools.partial(self._store.beat, self._run_id, steps)):
                self._cancel.cancel()

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


def _portable(plan: Plan) -> str | None:
    try:
        return document.to_json(plan)
    except NotPortableError:
        return None


def _place() -> dict[str, Any]:
    """Who runs, and where."""
    found: dict[str, Any] = {"host": socket.gethostname(), "process": os.getpid()}
    with suppress(KeyError, OSError):  # an account without a name
        found["owner"] = getpass.getuser()
    return found
