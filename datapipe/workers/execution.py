"""One run in a worker's process: taken from the store, run, and put back if the worker is told to stop."""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from celery.exceptions import Ignore

from datapipe.data.cancel import CancelToken
from datapipe.engine import RunOptions, Sharing, described, place, run_claimed, told
from datapipe.errors import (
    LOADED_STAYS,
    DatapipeError,
    FatalError,
    PlanError,
    RunCancelled,
    TransientError,
    from_dict,
)
from datapipe.logs import bound, logger
from datapipe.notebooks.hosting import run_claimed_job
from datapipe.notebooks.model import parse_job
from datapipe.notebooks.running import JobOptions
from datapipe.plan import parse, to_dict
from datapipe.settings import settings
from datapipe.store import Board, RunRow, RunStore
from datapipe.workers.envelope import opened, options_of, unsigned
from datapipe.workers.helping import call_helpers, sealed_for
from datapipe.workers.notebooks import opened_job
from datapipe.workers.queue import REFUSED, needed_store, queue_of, result_of

T = TypeVar("T")
_LOG = logger("datapipe.workers")
_TRIES = 5  # to put a run back
_STOP = (signal.SIGTERM, signal.SIGQUIT)


def execute(run_id: str, worker: str, store_id: str | None) -> Mapping[str, Any]:
    """Run what the store has under an id, once.

    Parameters
    ----------
    worker : str
        The Celery name of this worker.
    store_id : str, optional
        The store that the sender has recorded the run in.

    Returns
    -------
    mapping
        The result as plain JSON values.

    Raises
    ------
    DatapipeError
        If the run fails, or has failed before.
    celery.exceptions.Ignore
        If another worker runs it right now.
    """
    store = needed_store()
    if store_id is not None and store_id != store.id:
        raise PlanError(
            f"{REFUSED} than this worker's",
            hint="Set the same DATAPIPE_METADATA_URL (or DATAPIPE_HOME) on both sides and restart the worker",
        )
    lease = str(uuid.uuid4())
    try:
        claim = store.claim(run_id, lease, worker=worker, **place())
    except TransientError as error:  # the run waits on; it will be queued again
        raise Ignore(f"run {run_id} cannot be taken: {error}") from None
    if claim is None:
        return _known(store.run(run_id))
    with bound(run_id=run_id, pipeline_id=claim.pipeline_id):
        return {**_run(store, run_id, lease, claim.message), "pipeline_id": claim.pipeline_id}


def adopt(run_id: str, pipeline_id: str | None, document: Mapping[str, Any]) -> None:
    """Record a run that came as a document, from somebody without a run store."""
    store = needed_store()
    try:
        store.run(run_id)
    except PlanError:
        plan = parse(document)
        options = RunOptions(run_id=run_id)
        store.add(
            run_id,
            state="queued",
            pipeline_id=pipeline_id or run_id,
            queue=queue_of(plan, None),
            message=unsigned(to_dict(plan), run_id, {}),
            **described(plan, options),
        )


def adopt_job(run_id: str, pipeline_id: str | None, document: Mapping[str, Any]) -> None:
    """Record a run of a notebook that came as a document, from somebody without a run store."""
    store = needed_store()
    try:
        store.run(run_id)
    except PlanError:
        plan = parse_job(document)
        message = {"job": plan.document(), "run": run_id, "options": {}}
        named = {"kind": "notebook", "name": plan.title, "source": plan.notebook.path, "document": plan.to_json()}
        queue = queue_of(plan, None)
        store.add(run_id, state="queued", pipeline_id=pipeline_id or run_id, queue=queue, message=message, **named)


def _known(row: RunRow) -> Mapping[str, Any]:
    """What there is to say of a run that is not there to take."""
    if row.state in {"succeeded", "skipped"}:
        return result_of(row)
    if row.state == "failed":
        raise from_dict(row.error or {"message": "the run failed"})
    if row.state == "cancelled":
        raise RunCancelled("the run was cancelled", hint=_unchanged(row.kind))
    raise Ignore(f"run {row.id} is with {row.worker}")


def _unchanged(kind: str) -> str:
    """What a cancelled run has changed."""
    return LOADED_STAYS if kind == "notebook" else "The target is unchanged"


def _run(store: RunStore, run_id: str, lease: str, message: Mapping[str, Any]) -> dict[str, Any]:
    found = settings()

    def work(cancel: CancelToken) -> dict[str, Any]:
        if "job" in message:
            job = opened_job(message, run_id, key=found.signing_key, folders=found.notebook_folders)
            how = JobOptions(**{**options_of(message, JobOptions), "run_id": run_id, "cancel": cancel})
            return run_claimed_job(job, how, store, lease).to_dict()
        plan = opened(message, run_id, key=found.signing_key, modules=found.function_modules)
        call = functools.partial(call_helpers, store, run_id)
        sharing = Sharing(Board(store, run_id, lease, lease), call, functools.partial(sealed_for, run_id))
        own = {"run_id": run_id, "cancel": cancel, "sharing": sharing}
        options = RunOptions(**{**options_of(message, RunOptions), **own, "only": None})
        return run_claimed(plan, options, store, lease).to_dict()

    return held(store, run_id, lease, work)


def held(store: RunStore, run_id: str, lease: str, work: Callable[[CancelToken], T]) -> T:
    """Do the work of a run that this process has taken: with a time limit, and back into the queue if it must stop.

    Raises
    ------
    DatapipeError
        If the work fails, which is on record then.
    SystemExit
        If the worker stops.
    """
    cancel = CancelToken()
    with _stoppable(store, run_id, lease, cancel) as stopped, _limited(settings().run_timeout, cancel):
        try:
            return work(cancel)
        except KeyboardInterrupt:  # how a cancelled run leaves a user's function
            unchanged = RunCancelled("the run was cancelled", hint="The target is unchanged")
            raise cancel.reason or unchanged from None
        except Exception as error:
            if not stopped.is_set():
                _fail(store, run_id, lease, error)
            if isinstance(error, (DatapipeError, Ignore)):
                raise
            failed = FatalError(f"{type(error).__name__}: {error}")
            failed.outside = failed.message
            raise failed from error
        finally:
            if stopped.is_set():
                # Whatever came of it: to Celery, the process was told to end.
                raise SystemExit("the worker stops; the run is queued again")


def _fail(store: RunStore, run_id: str, lease: str, error: Exception) -> None:
    """Record an error; of a run that has ended nothing is changed.

    Raises
    ------
    celery.exceptions.Ignore
        If another worker has taken the run over.
    """
    with suppress(DatapipeError):
        if not store.end(run_id, lease, (), state="failed", error=told(error)):
            row = store.run(run_id)
            if row.lease != lease and not row.ended_for_good:
                raise Ignore(f"run {run_id} is with another worker")


def whole_text(work: Callable[[], T]) -> T:
    """Do a task's work; its error becomes one whose first argument is its whole text, which is what Celery keeps."""
    try:
        return work()
    except DatapipeError as error:
        if error.result is None:  # else its run has told
            _LOG.error("task failed", extra={"error": error.discreet()})
        flat = type(error)(str(error))
    raise flat


@contextmanager
def _stoppable(store: RunStore, run_id: str, lease: str, cancel: CancelToken) -> Iterator[threading.Event]:
    """While this lasts, a worker that stops puts the run back into its queue first."""
    stopped = threading.Event()

    def give_back() -> None:
        for _ in range(_TRIES):
            try:
                store.give_back(run_id, lease)
            except DatapipeError:
                time.sleep(1)
                continue
            cancel.cancel()
            return
        os._exit(1)  # a run that nobody cancelled must not end as cancelled: its silence will be noticed

    def on_stop(*_: object) -> None:
        if not stopped.is_set():
            stopped.set()
            # Not here: the main thread may hold the very lock that the store needs.
            threading.Thread(target=give_back, name="datapipe stop").start()

    def on_interrupt(*_: object) -> None:
        if cancel.cancelled:  # else it is Ctrl-C in the worker's terminal, which the worker itself sees to
            raise KeyboardInterrupt

    before = {number: signal.signal(number, on_stop) for number in _STOP}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _limited(seconds: float, cancel: CancelToken) -> Iterator[None]:
    """Cancel a run that takes longer."""
    error = FatalError(
        f"the run took longer than {seconds:g} s", hint="Split it, or raise DATAPIPE_RUN_TIMEOUT on the workers"
    )
    timer = threading.Timer(seconds, cancel.cancel, [error])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
