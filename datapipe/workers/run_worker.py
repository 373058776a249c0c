"""``python -m datapipe.workers.run_worker`` and ``datapipe worker``: one worker, with what keeps it honest."""

from __future__ import annotations

import argparse
import importlib
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from datapipe import __version__
from datapipe.errors import DatapipeError
from datapipe.hosts import part
from datapipe.logs import configure_logs, logger
from datapipe.settings import settings

# Loaded before the worker's processes are forked, so that the first run of each does not wait for them.
_PRELOADED = ("pandas", "duckdb", "psycopg", "adbc_driver_postgresql.dbapi", "datapipe.workers.execution")
_LOG = logger("datapipe.workers")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker from command line arguments until it is told to stop; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m datapipe.workers.run_worker", description="Take runs from queues.")
    parser.add_argument("--concurrency", "-c", type=int, help="runs at a time; WORKER_CONCURRENCY if left out")
    parser.add_argument("--queues", "-Q", help="queues, with commas between them; DATAPIPE_QUEUE if left out")
    parser.add_argument("--name", "-n", help="the worker's name, another one for each worker of a machine")
    given = parser.parse_args(arguments)
    try:
        part("datapipe.workers.app", "workers")
        return run_worker(given.concurrency, given.queues, given.name)
    except DatapipeError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  # a program
        return 2


def run_worker(
    concurrency: int | None = None,
    queues: str | None = None,
    name: str | None = None,
    *,
    ready: Callable[[Mapping[str, Any]], object] | None = None,
) -> int:
    """Take runs from queues until told to stop.

    Ctrl-C or SIGTERM: runs that do not end within DATAPIPE_SHUTDOWN_GRACE seconds are queued again.

    Parameters
    ----------
    ready : callable, optional
        Told the worker's name, queues and concurrency once it takes runs. Nothing else is then printed, but for the
        log on standard error.
    """
    found = settings()
    from celery.signals import setup_logging, worker_ready

    from datapipe.workers.app import app
    from datapipe.workers.supervision import Supervision

    for module in _PRELOADED:
        importlib.import_module(module)
    node = f"{name or f'datapipe-{os.getpid()}'}@{socket.gethostname()}"
    # Celery, which asks for it in each of its processes, then configures nothing itself.
    setup_logging.connect(_set_up, weak=False)
    configure_logs(found.log_level, found.log_format, sys.__stderr__)
    at_a_time = concurrency or found.worker_concurrency
    options = [
        f"--concurrency={at_a_time}",
        f"--queues={queues or found.queue}",
        f"--hostname={node}",
    ]
    app.steps["worker"].add(Supervision)
    told = {"worker": node, "queues": (queues or found.queue).split(","), "concurrency": at_a_time}

    def tell(**_: object) -> None:
        if ready is not None:
            ready(told)

    worker_ready.connect(tell, weak=False)
    about = {"queues": queues or found.queue, "concurrency": at_a_time}
    _LOG.info("worker %s starts", node, extra={**about, "version": __version__})
    # Another exit code than 0 when it could not go on, so that whoever keeps it running starts it again.
    code = app.worker_main(
        ["--quiet", "worker", "--pool=prefork", "--loglevel=INFO", "--without-mingle", "--without-gossip", *options]
    )
    return int(code or 0)


def _set_up(**_: object) -> None:
    """Log as the settings say, to the process's standard error; what functions print is logged from now on, too."""
    from datapipe.workers.app import app

    found = settings()
    configure_logs(found.log_level, found.log_format, sys.__stderr__)
    app.log.redirect_stdouts("WARNING")


if __name__ == "__main__":
    raise SystemExit(main())
