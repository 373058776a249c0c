"""Runs that got lost are found and queued again: the run store knows what was accepted, whatever Redis forgets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from datapipe.errors import DatapipeError
from datapipe.logs import logger
from datapipe.store import RunRow, RunStore, seconds_between
from datapipe.workers.broker import BrokerState, broker_client, look
from datapipe.workers.queue import about, publish
from datapipe.workers.requests import CAP

LOST_AFTER = 20.0  # seconds without a sign of life after which a worker's run is given to another one
_STRANDED_AFTER = 10.0  # seconds after which a run that waits is looked for in the broker
_HELD_AFTER = 30.0  # seconds in which a worker begins what it has taken
_SLACK = 5.0  # seconds by which runs may overtake each other on their way to the broker
_LOG = logger("datapipe.workers")


def reconcile(store: RunStore, worker: str, running: Mapping[str, int], *, take_over: bool = True) -> None:
    """One round: vouch for the runs of this worker, take over those of dead ones, queue again what the broker lost.

    Any number of workers may do this at the same time: every step is taken by one of them only.

    Parameters
    ----------
    running : mapping of str to int
        The process of each run that this worker is at.
    take_over : bool
        Not after the store was away: then others have not been able to give a sign of life.

    Raises
    ------
    DatapipeError, redis.exceptions.RedisError
        If the store or the broker does not answer; the next round tries again.
    """
    store.vouch(worker, running)
    for row in store.silent(LOST_AFTER) if take_over else ():
        after = store.lose(row.id, row.lease, CAP, LOST_AFTER)
        if after is not None:
            with about(row.id, row.correlation_id, row.pipeline_id):
                _LOG.warning(
                    "run %s gave no sign of life for %.0f s on %s: %s", row.id, LOST_AFTER, row.worker, after.state
                )
            _queue_again(store, after)
    waiting = store.waiting(_STRANDED_AFTER)
    if waiting:
        with broker_client() as client:
            state = look(client, sorted({str(row.queue) for row in waiting}))
        times = store.queued_at([run_id for queue in state.queues.values() for run_id in queue.head])
        for row in stranded(waiting, state, times):
            with about(row.id, row.correlation_id, row.pipeline_id):
                _LOG.warning("run %s is not in the broker any more and is queued again", row.id)
            if store.queued_again(row.id, str(row.queued)):
                _queue_again(store, row)


def stranded(waiting: Sequence[RunRow], state: BrokerState, times: Mapping[str, str]) -> Iterator[RunRow]:
    """Those of the waiting runs that no worker will ever be given.

    A queue is first in, first out: what was queued before its next message is not in it any more. What a worker
    has taken and not begun went down with that worker.

    Parameters
    ----------
    times : mapping of str to str
        When the runs at the head of the queues were put there.
    """
    for row in waiting:
        if row.id in state.held:
            if state.held[row.id] > _HELD_AFTER:
                yield row
            continue
        queue = state.queues[str(row.queue)]
        known = [times[run_id] for run_id in queue.head if run_id in times]
        overtaken = bool(known) and seconds_between(str(row.queued), min(known)) > _SLACK
        if row.id not in queue.head and (overtaken or not queue.depth):
            yield row


def _queue_again(store: RunStore, row: RunRow) -> None:
    if row.state != "queued" or row.queue is None:
        return
    try:
        with about(row.id, row.correlation_id, row.pipeline_id):
            publish(store, row.id, row.queue, kind=row.kind)
    except DatapipeError as error:
        with about(row.id, row.correlation_id, row.pipeline_id):
            _LOG.warning("run %s could not be queued again: %s", row.id, error)  # it waits, so the next rounds try
