"""How a run goes, as log lines: a listener like any other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from datapipe.engine.events import Event, Listener
from datapipe.logs import RUNS, logger
from datapipe.plan import Plan

_LOG = logger(RUNS)
# How loud the end of a run is; it is INFO where it is none of these.
LEVELS: Mapping[str, int] = {"failed": logging.ERROR, "lost": logging.ERROR, "cancelled": logging.WARNING}
_Line = tuple[int, str, dict[str, Any]]


def logged(plan: Plan) -> Listener:
    """A listener that logs a run of a plan; nothing where nobody has set up logging: a card and an error tell, too."""
    target = plan.persistence.label if plan.persistence else None
    about = {"plan": plan.name, "source": plan.ingestion.label, "target": target}

    def log(event: Event) -> None:
        if not _LOG.hasHandlers() or event.kind not in _LINES:
            return
        level, text, fields = _LINES[event.kind](event)
        further = about if event.kind == "run_started" else {"step": event.step}
        found = {name: value for name, value in {**further, **fields}.items() if value is not None}
        _LOG.log(level, text, extra=found)

    return log


def _finished(event: Event) -> _Line:
    rows = {"rows_read": event.rows_in, "rows_written": event.rows_out, "rows_deleted": event.deleted or None}
    found = {"state": event.state, **rows, "seconds": rounded(event.seconds), "error": event.discreet}
    return LEVELS.get(event.state, logging.INFO), f"run {event.state}", found


def _step(event: Event) -> dict[str, Any]:
    rows = {"rows_in": event.rows_in, "rows_out": event.rows_out, "rejected": event.rejected or None}
    return {**rows, "seconds": rounded(event.seconds)}


def rounded(seconds: float | None) -> float | None:
    """Seconds as lines of a log have them."""
    return None if seconds is None else round(seconds, 3)


_LINES: Mapping[str, Callable[[Event], _Line]] = {
    "run_started": lambda _: (logging.INFO, "run started", {}),
    "step_started": lambda _: (logging.INFO, "step started", {}),
    "progress": lambda event: (logging.DEBUG, "progress", _step(event)),
    "step_finished": lambda event: (logging.INFO, "step finished", _step(event)),
    "notice": lambda event: (logging.INFO, str(event.message), {}),
    "attempt_failed": lambda event: (
        logging.WARNING,
        "attempt failed",
        {"error": event.discreet, "pause": rounded(event.seconds)},
    ),
    "run_finished": _finished,
}
