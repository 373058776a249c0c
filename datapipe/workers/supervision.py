"""What a worker does beside running: it looks after runs that got lost, after its processes, and after itself."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from celery import bootsteps
from celery.signals import worker_shutting_down
from celery.worker import state
from redis.exceptions import RedisError

from datapipe.errors import DatapipeError
from datapipe.logs import logger
from datapipe.settings import settings
from datapipe.workers.broker import broker_client, look
from datapipe.workers.queue import needed_store
from datapipe.workers.reconciler import reconcile
from datapipe.workers.spool import sweep_spool

_EVERY = 5.0  # seconds between two rounds
_SWEEP_EVERY = 3600.0  # seconds between two looks for rows that no task came for
_CALM = 2  # rounds in which the others can give a sign of life
_DEAF_AFTER = 30.0  # seconds without a message, though some wait and there is room, after which a worker restarts
_ENDING = 5.0  # seconds that runs have to be put back before a restart
_LOG = logger("datapipe.workers")


class Supervision(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """A step of Celery's worker, in its main process: a thread that does a round every few seconds."""

    requires = ("celery.worker.components:Pool",)

    def start(self, parent: Any) -> None:
        """Called when the worker starts."""

        draining = threading.Event()

        def stopping(**_: object) -> None:
            draining.set()
            threading.Thread(target=_stop_runs, args=(parent,), name="datapipe grace", daemon=True).start()

        worker_shutting_down.connect(stopping, weak=False)
        threading.Thread(target=_watch, args=(parent, draining), name="datapipe supervision", daemon=True).start()


def processes(worker: Any) -> list[int]:
    """The ids of a worker's processes."""
    pool = getattr(worker.pool, "_pool", None)
    return [process.pid for process in list(getattr(pool, "_pool", ())) if process.pid]


def _watch(worker: Any, draining: threading.Event) -> None:
    queues = tuple(worker.app.amqp.queues.consume_from)
    hearing, swept, warned = Hearing(time.monotonic()), 0.0, False
    calm = _CALM  # rounds since the store was away
    while True:
        time.sleep(_EVERY)
        try:
            running = {request.id: request.worker_pid for request in list(state.active_requests)}
            reconcile(needed_store(), worker.hostname, running, take_over=calm >= _CALM)
            calm += 1
            hearing = _listened(hearing, worker, queues)
            if not swept or time.monotonic() - swept > _SWEEP_EVERY:
                swept = time.monotonic()
                sweep_spool()
            warned = False
        except (DatapipeError, RedisError) as error:
            if not warned:  # once for each outage
                _LOG.warning("the worker cannot look after lost runs: %s", error)
            calm = calm if isinstance(error, RedisError) else 0
            warned, hearing = True, Hearing(time.monotonic())
        except Exception:  # noqa: BLE001  # a round must not be the last one
            _LOG.exception("a round of the worker's supervision failed")
            hearing = Hearing(time.monotonic())
        if time.monotonic() - hearing.since > _DEAF_AFTER and not draining.is_set():
            _LOG.error("the worker takes no messages, though %s wait: it restarts", ", ".join(queues))
            _restart(worker)


@dataclass(frozen=True)
class Hearing:
    """Since when a worker has taken no message that it could have taken; how many it had taken by then."""

    since: float
    taken: int = -1


def _listened(before: Hearing, worker: Any, queues: Sequence[str]) -> Hearing:
    taken, now = sum(state.total_count.values()), time.monotonic()
    if taken != before.taken or len(state.reserved_requests) >= worker.concurrency:
        return Hearing(now, taken)
    with broker_client() as client:
        waits = any(queue.depth for queue in look(client, queues).queues.values())
    return before if waits else Hearing(now, taken)


def _restart(worker: Any, wait: Callable[[float], None] = time.sleep) -> None:
    """Become a new worker with the same arguments and the same process id."""
    ended = processes(worker)
    _signal(ended, signal.SIGTERM)
    wait(_ENDING)
    _signal(ended, signal.SIGKILL)
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606  # no shell: the very arguments of this process


def _stop_runs(worker: Any) -> None:
    """Tell the runs that have not ended in time to go back into their queue."""
    time.sleep(settings().shutdown_grace)
    _signal(processes(worker), signal.SIGTERM)


def _signal(ids: Sequence[int], number: signal.Signals) -> None:
    for process in ids:
        with suppress(ProcessLookupError):
            os.kill(process, number)
