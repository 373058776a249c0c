"""The one handler of a program of ours."""

from __future__ import annotations

import json
import logging
import sys
import time
from contextlib import suppress
from typing import Literal, TextIO

from datapipe.logs.loggers import RUNS
from datapipe.secrets import Redactor, redactor

_FRESH = 1.0  # seconds in which a secret that is new may go unnoticed
_PROGRAMS = ("uvicorn", "uvicorn.error", "uvicorn.access")  # they may have handlers of their own


def configure_logs(
    level: str = "INFO",
    form: Literal["json", "text", "console"] = "json",
    stream: TextIO | None = None,
    *,
    runs: bool = True,
) -> None:
    """Have everything that is logged in this process go to one stream, in one form. For programs, not for libraries.

    Whatever handlers the root logger had are replaced; Python's warnings are logged, too. Calling it again changes
    level, form and stream.

    Parameters
    ----------
    level : str
        DEBUG, INFO, WARNING, ERROR or CRITICAL. DEBUG is for datapipe's own lines: those of drivers may quote rows.
    form : {"json", "text", "console"}
        One JSON object a line; one line of text; for people, in colours on a terminal.
    stream : text file, optional
        What ``sys.stderr`` is at the time, if left out.
    runs : bool
        Whether how runs go is logged, too; not where the program shows that itself.

    Notes
    -----
    A server that uvicorn runs calls this first, and starts uvicorn with ``log_config=None``: ``uvicorn.error`` and
    ``uvicorn.access`` then go through the same handler. What belongs to a request is put on its lines by
    :func:`bound`, around the request.

    With the first line, structlog is configured, too, if nobody has done so: its loggers write the same lines.

    Examples
    --------
    >>> configure_logs("INFO", "text")  # doctest: +SKIP
    >>> logging.getLogger("shop").info("three eggs")  # doctest: +SKIP
    2026-01-31T09:30:00.125Z INFO shop: three eggs
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    handler = _Handler(form, stream)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(number, logging.INFO))
    logging.captureWarnings(True)
    logging.getLogger("datapipe").setLevel(number)
    logging.getLogger(RUNS).setLevel(logging.NOTSET if runs else logging.CRITICAL + 1)
    for name in _PROGRAMS:
        found = logging.getLogger(name)
        found.handlers, found.propagate = [], True


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to what ``sys.stderr`` is at the time, unless it is given a stream."""

    def __init__(self, form: Literal["json", "text", "console"], stream: TextIO | None) -> None:
        logging.Handler.__init__(self)
        self._form, self._given = form, stream
        self._redactor, self._made, self._making = Redactor(), -_FRESH, False

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # of StreamHandler it is an attribute
        return self._given or sys.stderr

    def format(self, record: logging.LogRecord) -> str:
        if self.formatter is None:
            from datapipe.logs.lines import formatter  # structlog takes 0.2 s, which a program that says nothing saves

            self.formatter = formatter(self._form, self._secrets, colours=self.stream.isatty())
        return self.formatter.format(_fitting(record))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # as logging calls it
        """Tell that a line could not be written; Python would print it as it is, with the values in it."""
        error = {"level": "ERROR", "logger": record.name, "message": "a line could not be written"}
        with suppress(Exception):
            self.stream.write(json.dumps(error) + "\n")

    def _secrets(self) -> Redactor:
        """What leaves out the secrets; for what is logged while it is made anew, such as a warning, the one before."""
        if not self._making and time.monotonic() - self._made > _FRESH:
            self._making = True
            try:
                self._redactor, self._made = redactor(), time.monotonic()
            finally:
                self._making = False
        return self._redactor


def _fitting(record: logging.LogRecord) -> logging.LogRecord:
    """The record; one whose values do not fit its message, without them: Python would print them as they are."""
    try:
        record.getMessage()
    except Exception:  # noqa: BLE001  # of whatever a value's own text raises
        return logging.makeLogRecord({**vars(record), "msg": str(record.msg), "args": ()})
    return record
