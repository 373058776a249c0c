"""What is known of workers, queues and the servers around them, as frozen values that show themselves."""

from __future__ import annotations

from dataclasses import dataclass

from datapipe.workers import cards


@dataclass(frozen=True)
class WorkerStatus:
    """One worker.

    Parameters
    ----------
    state : str
        ``online``: it answers. ``silent``: it does not, and has runs that have not ended. ``unknown``: it has such
        runs, and the broker cannot be reached to ask it.
    queues : tuple of str
        Those it takes runs from.
    concurrency : int, optional
        Runs that it can do at a time.
    active : tuple of str
        The ids of the runs it does.
    reserved : int, optional
        Runs it has fetched and not begun.
    processed, succeeded, failed : int, optional
        Its runs of the last day that have ended, by the run store.
    rows_per_second : float, optional
        Rows it read in the runs that ended within the last hour, by the time these took.
    heartbeat : str, optional
        Its last sign of life, in UTC.
    silence : float, optional
        Seconds since then.
    uptime : float, optional
        Seconds since it started.
    """

    name: str
    state: str
    host: str
    pid: int | None = None
    queues: tuple[str, ...] = ()
    concurrency: int | None = None
    active: tuple[str, ...] = ()
    reserved: int | None = None
    processed: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    rows_per_second: float | None = None
    heartbeat: str | None = None
    silence: float | None = None
    uptime: float | None = None


@dataclass(frozen=True)
class QueueStatus:
    """One queue.

    Parameters
    ----------
    waiting : int, optional
        Messages in the broker that no worker has fetched.
    unacknowledged : int, optional
        Messages that workers have fetched, whose runs have not ended.
    queued : int, optional
        Runs that wait for a worker, by the run store.
    oldest : float, optional
        Seconds that the first of these has waited.
    workers : int, optional
        Workers online that take runs from it.
    """

    name: str
    waiting: int | None = None
    unacknowledged: int | None = None
    queued: int | None = None
    oldest: float | None = None
    workers: int | None = None


@dataclass(frozen=True)
class Overview:
    """Workers and queues, as one look found them.

    Parameters
    ----------
    problems : tuple of str
        What could not be asked, in a sentence each.
    """

    workers: tuple[WorkerStatus, ...] = ()
    queues: tuple[QueueStatus, ...] = ()
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        return cards.overview_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return cards.overview_html(self)


@dataclass(frozen=True)
class Part:
    """A server that runs depend on.

    Parameters
    ----------
    state : str
        ``ok``, ``failed``, ``not configured``, or ``not checked`` for what only Celery knows how to reach.
    milliseconds : float, optional
        How long it took to answer one question on an open connection.
    message : str
        Where it is, or what is wrong; never a password.
    hint : str
        What to do next, if something is wrong.
    """

    name: str
    state: str
    milliseconds: float | None = None
    message: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Health:
    """The servers that runs depend on, and the workers.

    Parameters
    ----------
    workers : int, optional
        Those online; None if they were not asked for.
    """

    parts: tuple[Part, ...] = ()
    workers: int | None = None

    @property
    def ok(self) -> bool:
        """Whether all that is configured can be reached, and a worker is online."""
        return self.workers != 0 and all(part.state != "failed" for part in self.parts)

    def __str__(self) -> str:
        return cards.health_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return cards.health_html(self)
