"""What a worker does beside running: looking after runs that got lost, after its processes, and after itself."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from contextlib import suppress
from typing import Any

from celery import bootsteps
from celery.signals import worker_shutting_down

from datapipe.settings import settings

_LOG = logging.getLogger("datapipe")


class Supervision(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """A step of Celery's worker that starts after its processes and ends before them."""

    requires = ("celery.worker.components:Pool",)

    def start(self, parent: Any) -> None:
        """Called once, in the worker's main process."""

        def stopping(**_: object) -> None:
            threading.Thread(target=self._stop_runs, args=(parent,), name="datapipe grace", daemon=True).start()

        worker_shutting_down.connect(stopping, weak=False)

    def _stop_runs(self, parent: Any) -> None:
        """Tell the runs that have not ended in time to go back into their queue."""
        time.sleep(settings().shutdown_grace)
        for process in processes(parent):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)


def processes(worker: Any) -> list[int]:
    """The ids of a worker's processes."""
    pool = getattr(worker.pool, "_pool", None)
    return [process.pid for process in list(getattr(pool, "_pool", ())) if process.pid]
