"""How a notebook job goes, as log lines. What a cell has said in its error may quote a row, so it is left out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from datapipe.engine.runlog import LEVELS, rounded
from datapipe.logs import RUNS, logger
from datapipe.notebooks.failures import discreet
from datapipe.notebooks.order import Outcome

_LOG = logger(RUNS)


def log_start(notebook: str, name: str) -> None:
    """A job begins."""
    _say(logging.INFO, "run started", notebook=notebook, plan=name)


def log_event(event: Mapping[str, Any]) -> None:
    """What the process that executes it has told."""
    kind, step = event["event"], f"cell {event.get('cell')}"
    if kind == "cell_began":
        _say(logging.INFO, "step started", step=step)
    elif kind == "cell_ended":
        _say(logging.INFO, "step finished", step=step, state=event["state"], seconds=rounded(event.get("seconds")))
    elif kind == "output":
        _say(logging.INFO, "output given", output=event["output"]["name"])


def log_attempt(outcome: Outcome, pause: float) -> None:
    """An attempt has failed, and another one is to follow."""
    _say(logging.WARNING, "attempt failed", error=discreet(outcome), pause=rounded(pause))


def log_notice(text: str) -> None:
    """Something to be known of it."""
    _say(logging.INFO, text)


def log_end(outcome: Outcome, seconds: float) -> None:
    """It has ended."""
    told = discreet(outcome) if outcome.error else None
    found = {"state": outcome.state, "reason": outcome.reason, "seconds": rounded(seconds), "error": told}
    _say(LEVELS.get(outcome.state, logging.INFO), f"run {outcome.state}", **found)


def _say(level: int, text: str, **fields: Any) -> None:
    if _LOG.hasHandlers():  # a card and an error tell, too
        _LOG.log(level, text, extra={name: value for name, value in fields.items() if value is not None})
