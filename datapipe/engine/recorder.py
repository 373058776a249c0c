"""Runs of plans on record: what happens to one is written to the run store."""

from __future__ import annotations

import dataclasses
import functools
import getpass
import os
import socket
import traceback
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

from datapipe.display import view_of_plan
from datapipe.engine.events import Event
from datapipe.engine.options import RunOptions
from datapipe.engine.record import Record
from datapipe.engine.result import RunResult
from datapipe.engine.runlog import logged
from datapipe.engine.runner import Taker, run_plan, stream_plan
from datapipe.errors import DatapipeError, Interrupted, NotPortableError, PlanError
from datapipe.logs import of_run
from datapipe.plan import Plan, document
from datapipe.schemas import SchemaRegistry
from datapipe.secrets import redactor
from datapipe.store import NOT_AWAITED, Note, RunStore, StepRow, open_store, store_or_none
from datapipe.surroundings import via
from datapipe.traces import is_ours

_LONGEST = 20_000  # characters of a traceback


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
    with _about(options):
        store = store_or_none()
        if store is None:
            return _run(plan, options, take)
        recorder = Recorder(store, options, str(uuid.uuid4()))
        recorder.begin(plan)
        return recorder.run(plan, take)


def _about(options: RunOptions) -> AbstractContextManager[None]:
    return of_run(options.run_id, options.correlation_id or options.run_id, options.parent_run_id)


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
    return Recorder(store, options, lease, claimed=True).run(plan, take)


def _run(plan: Plan, options: RunOptions, take: Taker | None) -> RunResult:
    options = dataclasses.replace(options, listeners=(*options.listeners, logged(plan)))
    return run_plan(plan, options) if take is None else stream_plan(plan, options, take)


class Recorder:
    """A listener that records what it hears of a run of a plan."""

    def __init__(self, store: RunStore, options: RunOptions, lease: str, *, claimed: bool = False) -> None:
        self._store, self._options = store, options
        self._record = Record(store, options.run_id, lease, options.cancel, claimed=claimed)

    def begin(self, plan: Plan) -> None:
        """Record that a run begins which nobody knows yet."""
        self._record.add(**described(plan, self._options), **place())

    def run(self, plan: Plan, take: Taker | None = None) -> RunResult:
        """Run the plan, and record how that goes and ends."""
        with _about(self._options):
            return self._recorded(plan, take)

    def _recorded(self, plan: Plan, take: Taker | None) -> RunResult:
        self._record.start()
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
            self._record.say(Note(event.kind, event.message, event.step))
        if event.step is not None:
            names = ("rows_in", "rows_out", "total", "rejected")
            values: dict[str, Any] = {name: getattr(event, name) for name in names}
            self._record.step(event.step, lambda known: dataclasses.replace(known, **values))

    def finish(self, result: RunResult | None, error: BaseException | None = None) -> None:
        """Record how the run ended."""
        if isinstance(error, Interrupted):
            error = error.unknown or error
        steps = [
            StepRow(
                number=number,
                name=step.name,
                version=step.version,
                rows_in=step.rows_in,
                rows_out=step.rows_out,
                total=None,
                seconds=step.seconds if step.done else None,
                rejected=step.rejected,
                busy=step.busy,
            )
            for number, step in enumerate(result.steps if result else ())
        ]
        register = None
        if result is not None and result.subject and result.columns and error is None:
            register = functools.partial(self._register, result)
        self._record.end(steps, register, **_ended(self._options.run_id, result, error))

    def _register(self, result: RunResult) -> int:
        """The number of the schema that the run has left its target with."""
        registry, subject = SchemaRegistry(self._store), str(result.subject)
        # What an earlier run has left may not be the latest any more.
        known = registry.number(subject, result.schema_version) if result.replayed else None
        return known or registry.register(subject, result.columns, result.run_id)


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
        found = redactor().data(error.to_dict())
    else:
        found = {"type": type(error).__name__, "message": redactor().text(str(error)) or "interrupted"}
    return {**found, "traceback": _lines(error)[-_LONGEST:]}


def _lines(error: BaseException) -> str:
    """Where an error came from: the user's function, if it was that. A driver's message is left out, as in errors."""
    cause = error.__cause__
    users = (
        [frame for frame in traceback.extract_tb(cause.__traceback__) if not is_ours(frame.filename)] if cause else []
    )
    found = users or traceback.extract_tb(error.__traceback__)
    return redactor().text("".join([*traceback.format_list(found), f"{type(error).__name__}: {error}"]))


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
