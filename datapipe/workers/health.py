"""Whether all that runs depend on can be used, asked all at once. Without the extra ``workers``, what is left of it."""

from __future__ import annotations

from datapipe.errors import DatapipeError, PlanError
from datapipe.hosts import part
from datapipe.secrets import redactor
from datapipe.settings import settings
from datapipe.workers.checks import Finding, checks
from datapipe.workers.deadline import Outcome, together
from datapipe.workers.values import Health, Part

PATIENCE = 3.0  # seconds for what should answer at once


def health(*, workers: bool = True, timeout: float = 1.0) -> Health:
    """Whether broker, result backend, run store and every database that has a name can be used.

    Parameters
    ----------
    workers : bool
        Count the workers online, too.
    timeout : float
        Seconds that workers have to answer.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> with patch.dict("os.environ", BATCH_SIZE="many"):
    ...     [(part.name, part.state) for part in health(workers=False).parts]
    [('settings', 'failed')]
    """
    try:
        settings()
    except PlanError as error:  # without them nothing else can be asked
        return Health((_failed("settings", error),))

    def answers() -> object:
        return part("datapipe.workers.asking", "workers").answers(timeout)

    asked = checks()
    outcomes = together({**asked, **({"workers": answers} if workers else {})}, timeout + PATIENCE)
    # Another program's workers may answer, too, and some of ours take from other queues alone.
    found = (outcomes["workers"].value or {}).values() if workers else ()
    online = sum(settings().queue in answer.queues for answer in found) if workers else None
    return Health(tuple(_part(name, outcomes[name]) for name in asked), online)


def _part(name: str, outcome: Outcome) -> Part:
    if outcome.error is not None:
        return _failed(name, outcome.error)
    found: Finding = outcome.value
    took = None if found.seconds is None else round(found.seconds * 1000, 2)
    return Part(name, found.state, took, found.message, found.hint)


def _failed(name: str, error: Exception) -> Part:
    clean = redactor().text
    if not isinstance(error, DatapipeError):
        return Part(name, "failed", None, reason(error), "datapipe config show tells what is set")
    where = f"{error.step}: " if error.step and error.step != name else ""
    return Part(name, "failed", None, clean(f"{where}{error.message}"), clean(error.hint or ""))


def reason(error: Exception | None) -> str:
    """An error in one line, without passwords."""
    lines = str(error).strip().splitlines()
    return redactor().text(lines[0] if lines else type(error).__name__)
