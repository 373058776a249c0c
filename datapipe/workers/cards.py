"""Workers, queues and health as text and as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datapipe.display.html import line, table, titled
from datapipe.display.words import aligned
from datapipe.settings import settings

if TYPE_CHECKING:
    from datapipe.workers.values import Health, Overview, Part, QueueStatus, WorkerStatus

_WORKER = ("worker", "state", "runs", "done in a day", "failed", "rows/s", "queues", "up")
_QUEUE = ("queue", "workers", "waiting", "unacknowledged", "queued runs", "oldest")
_PART = ("part", "state", "ms", "where")


def overview_text(found: Overview) -> str:
    """Two tables, and what could not be asked."""
    parts = [aligned([_WORKER, *map(_worker, found.workers)]) if found.workers else _nobody(found)]
    parts += [aligned([_QUEUE, *map(_queue, found.queues)])] if found.queues else []
    return "\n\n".join([*parts, *found.problems])


def overview_html(found: Overview) -> str:
    """The same as HTML."""
    shown = map(_worker, found.workers)
    workers = table(_WORKER, shown, numbers=(3, 4, 5), caption="Workers") if found.workers else line(_nobody(found))
    queues = table(_QUEUE, map(_queue, found.queues), numbers=(1, 2, 3, 4), caption="Queues")
    return workers + queues + "".join(map(line, found.problems))


def health_text(found: Health) -> str:
    """A line for each part, and one for the workers."""
    return "\n".join([aligned([_PART, *map(_part, found.parts)]), _online(found)])


def health_html(found: Health) -> str:
    """The same as HTML."""
    return titled(_online(found), table(_PART, map(_part, found.parts), numbers=(2,)))


def duration(seconds: float | None) -> str:
    """Seconds for people.

    Examples
    --------
    >>> duration(4.2), duration(3_700), duration(200_000), duration(None)
    ('4 s', '1 h', '2 d', '-')
    """
    if seconds is None:
        return "-"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _worker(found: WorkerStatus) -> tuple[str, ...]:
    state = found.state if found.state == "online" else f"{found.state}, last heard of {duration(found.silence)} ago"
    runs = f"{len(found.active)} of {found.concurrency}" if found.concurrency else str(len(found.active))
    rate = "-" if found.rows_per_second is None else f"{found.rows_per_second:,.0f}"
    counts = (_count(found.processed), _count(found.failed))
    return found.name, state, runs, *counts, rate, ", ".join(found.queues) or "-", duration(found.uptime)


def _queue(found: QueueStatus) -> tuple[str, ...]:
    counts = (found.workers, found.waiting, found.unacknowledged, found.queued)
    return found.name, *map(_count, counts), duration(found.oldest)


def _part(found: Part) -> tuple[str, ...]:
    took = "-" if found.milliseconds is None else f"{found.milliseconds:.1f}"
    return found.name, found.state, took, ". ".join(text.rstrip(".") for text in (found.message, found.hint) if text)


def _nobody(found: Overview) -> str:
    return "no worker is known" if found.problems else "no worker is online"


def _online(found: Health) -> str:
    if found.workers is None:
        return "workers were not asked for"
    if not found.workers and any(part.name == "broker" and part.state != "ok" for part in found.parts):
        return "workers cannot be asked"
    where = "" if found.workers else f" for the queue {settings().queue}"
    return f"{found.workers or 'no'} worker{'s are' if found.workers > 1 else ' is'} online{where}"


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"
