"""Workers that help with a run of another one: they compute partitions of it, as long as there are some."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from celery import Task, group

from datapipe.data.cancel import CancelToken
from datapipe.data.stream import Stream, Workspace
from datapipe.engine import RunOptions, fingerprint, outcome_of, shares, stream_plan
from datapipe.errors import DatapipeError, PlanError, TransientError
from datapipe.ingestion import Range, Snapshot
from datapipe.logs import bound, ids, logger
from datapipe.persistence import Stages, drop_part, stage
from datapipe.plan import Plan, TableTarget
from datapipe.settings import settings
from datapipe.store import Board, Part, RunStore, shared_about
from datapipe.workers.app import app
from datapipe.workers.envelope import opened, signed, verify
from datapipe.workers.queue import HIDDEN, REFUSED, needed_store, reaching_broker, with_ids
from datapipe.workers.requests import HelpRequest

TASK = "datapipe.help_run"
_MOST = 16  # helpers of a run
_EVERY = 1.0  # seconds between two signs of life


def sealed_for(run_id: str, about: Mapping[str, Any]) -> Mapping[str, Any]:
    """What helpers need to know of a run, signed as its plan is: parts of it go to the source as SQL."""
    return signed({**about, "run": run_id}, key=settings().signing_key)


class HelpTask(Task):  # type: ignore[misc]  # Celery has no types
    """A task of a helper."""

    Request = HelpRequest


_OPTIONS = {
    "bind": True,
    "base": HelpTask,
    "throws": (DatapipeError,),
    "ignore_result": True,
    "shared": False,
    "reject_on_worker_lost": False,  # the run's own worker does what a helper that died has left
}
_LOG = logger("datapipe.workers")


def call_helpers(store: RunStore, run_id: str, count: int) -> None:
    """Ask the workers of a run's queue for help. Whoever comes late finds nothing to do."""
    call = app.signature(TASK, kwargs={"run_id": run_id, "store": store.id})
    try:
        with reaching_broker():
            queue = store.run(run_id).queue or settings().queue
            group([call.clone() for _ in range(min(count, _MOST))], app=app).apply_async(
                queue=queue, **with_ids(HIDDEN), add_to_parent=False
            )
    except TransientError as error:  # its own worker does it alone
        _LOG.warning("no helpers for run %s: %s", run_id, error)


@app.task(name=TASK, **_OPTIONS)  # type: ignore[untyped-decorator]  # Celery has no types
def help_run(self: Any, run_id: str, store: str) -> None:
    """Compute partitions of a run until none is left.

    The plan is that of the run's record, held to the same signature as there. What goes wrong is left to the run's own
    worker, which does the partition again and tells.

    Parameters
    ----------
    run_id : str
    store : str
        The run store that the run is recorded in.

    Raises
    ------
    PlanError
        If this worker has another run store.
    """
    found = needed_store()
    if store != found.id:
        hint = "Set the same DATAPIPE_METADATA_URL (or DATAPIPE_HOME) on all workers and restart this one"
        raise PlanError(f"{REFUSED} than this worker's", hint=hint)
    shared = shared_about(found, run_id)
    if shared is not None:
        with bound(run_id=run_id):
            _help(Board(found, run_id, shared[0], str(self.request.id)), shared[1])


def _help(board: Board, about: Mapping[str, Any]) -> None:
    own = settings()
    verify(about, board.run_id, key=own.signing_key)
    if about["share"] != board.share:
        raise PlanError("what is known of the run is another attempt's")
    message = board.store.message(board.run_id) or {}
    plan = opened(message, board.run_id, key=own.signing_key, modules=own.function_modules)
    while (part := board.take()) is not None:
        try:
            _compute(board, part, plan, about)
        except BaseException as error:  # whatever it is, the run's own worker meets it too; or this process ends
            _LOG.warning("partition %s of run %s is left to its worker: %s", part.number, board.run_id, _shown(error))
            with suppress(DatapipeError):
                board.give_back(part)
            if not isinstance(error, Exception):
                raise
            return


def _compute(board: Board, part: Part, plan: Plan, about: Mapping[str, Any]) -> None:
    target, table = plan.persistence, Stages(board.run_id, board.share).table(part.number, part.attempt)
    if not isinstance(target, TableTarget):
        raise PlanError("only tables are staged")
    staged: list[int] = []

    def take(stream: Stream, work: Workspace) -> None:
        if fingerprint(stream.schema) != about["schema"]:
            raise PlanError("a function gives other types for these rows")
        staged.append(stage(target, stream, work, table)[0])

    conditions = about["conditions"]
    only = Range(Snapshot(about["snapshot"]), conditions[part.number - 1], part.number, len(conditions))
    memory = int(about["memory"]) * shares(plan)  # the same for each step as in the run's own worker
    with _beating(board, part) as cancel:
        named = ids().get("correlation_id")
        options = RunOptions(memory=memory, run_id=board.run_id, correlation_id=named, cancel=cancel, only=only)
        result = stream_plan(plan, options, take)
        if not board.done(part, outcome_of(part, staged[-1], result.steps)):
            drop_part(target, Workspace(), table)


@contextmanager
def _beating(board: Board, part: Part) -> Iterator[CancelToken]:
    """Give signs of life, and stop when nobody wants the partition from here any more."""
    cancel, over = CancelToken(), threading.Event()

    def beat() -> None:
        while not over.wait(_EVERY):
            with suppress(TransientError):  # a store that does not answer
                if not board.beat(part):
                    cancel.cancel()
                    return

    thread = threading.Thread(target=beat, name="datapipe help", daemon=True)
    thread.start()
    try:
        yield cancel
    finally:
        over.set()
        thread.join()


def _shown(error: BaseException) -> str:
    return error.discreet() if isinstance(error, DatapipeError) else type(error).__name__
