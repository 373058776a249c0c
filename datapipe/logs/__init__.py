"""Log lines: which run they are about, and how a program writes them.

The library logs through ``logging``, to loggers below ``datapipe``, and configures nothing: an application has the
lines go where its own go. On datapipe's own lines the ids are attributes of the record, as those of ``extra=``; for
other ones, :func:`ids` knows them. A program of ours (the command line, a worker, the REST server) calls
:func:`configure_logs` once, when it starts.
"""

from __future__ import annotations

from datapipe.logs.context import bound, carried, ids, of_run, session_name
from datapipe.logs.handler import configure_logs
from datapipe.logs.loggers import RUNS, logger

__all__ = ["RUNS", "bound", "carried", "configure_logs", "ids", "logger", "of_run", "session_name"]
