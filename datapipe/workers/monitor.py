"""What workers do: alive by what they answer, counts by the run store, which is where runs are recorded."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from datapipe.logs import logger
from datapipe.settings import settings
from datapipe.store import open_store
from datapipe.store.statistics import QueueLoad, WorkerLoad, queue_loads, worker_loads
from datapipe.workers.asking import Answer, answers, depths
from datapipe.workers.deadline import Outcome, together
from datapipe.workers.health import PATIENCE, health, reason
from datapipe.workers.values import Health, Overview, QueueStatus, WorkerStatus

_LOG = logger("datapipe.workers")


class WorkerMonitor:
    """Workers, queues and health, each time as they are now; it keeps nothing.

    Parameters
    ----------
    timeout : float
        Seconds that workers have to answer. Those that do not are ``silent``.

    Examples
    --------
    >>> monitor = WorkerMonitor()  # doctest: +SKIP
    >>> [worker.name for worker in monitor.workers() if worker.state == "online"]  # doctest: +SKIP
    ['w1@example']
    >>> monitor.health().ok  # doctest: +SKIP
    True
    """

    def __init__(self, timeout: float = 1.0) -> None:
        self._timeout = timeout

    def workers(self) -> tuple[WorkerStatus, ...]:
        """The workers that answer, and those that do not although runs are theirs.

        Where the broker or the run store does not answer, what is known without it, and a warning in the log.
        """
        return self._warned(self.overview()).workers

    def queues(self) -> tuple[QueueStatus, ...]:
        """The queues that workers take runs from, or in which runs wait; as for :meth:`workers`."""
        return self._warned(self.overview()).queues

    def overview(self) -> Overview:
        """Workers, queues, and what could not be asked."""
        first = together({"the broker": self._answers, "the run store": _loads}, self._timeout + PATIENCE)
        alive, loads = first["the broker"].value, first["the run store"].value
        workers = merged_workers(alive, loads)
        names = queue_names(workers, loads)
        # A broker that has just not answered is not waited for once more.
        second = together({"the broker's queues": lambda: depths(names)}, PATIENCE) if alive is not None else {}
        depth = second["the broker's queues"].value if second else None
        problems = [_problem(name, outcome) for name, outcome in {**first, **second}.items() if outcome.error]
        return Overview(
            workers, merged_queues(names, workers if alive is not None else None, depth, loads), tuple(problems)
        )

    def health(self, *, workers: bool = True) -> Health:
        """Whether broker, result backend, run store and every database that has a name can be used, asked all at once.

        Parameters
        ----------
        workers : bool
            Count the workers online, too.
        """
        return health(workers=workers, timeout=self._timeout)

    def _answers(self) -> Mapping[str, Answer]:
        return answers(self._timeout)

    def _warned(self, found: Overview) -> Overview:
        for problem in found.problems:
            _LOG.warning("%s", problem)
        return found

    def __repr__(self) -> str:
        return str(self.overview())

    def _repr_html_(self) -> str:
        return self.overview()._repr_html_()

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Both forms of one look: a notebook asks for each."""
        found = self.overview()
        return {"text/plain": str(found), "text/html": found._repr_html_()}


@dataclass(frozen=True)
class Loads:
    """What the run store knows of workers and queues, by name."""

    workers: Mapping[str, WorkerLoad]
    queues: Mapping[str, QueueLoad]


def _loads() -> Loads | None:
    store = open_store()
    if store is None:
        return None
    workers, queues = worker_loads(store), queue_loads(store)
    return Loads({load.worker: load for load in workers}, {load.queue: load for load in queues})


def merged_workers(alive: Mapping[str, Answer] | None, loads: Loads | None) -> tuple[WorkerStatus, ...]:
    """The workers that answer and those that have runs, by name; ``alive`` is None where nobody could be asked."""
    known = loads.workers if loads else {}
    busy = {name for name, load in known.items() if load.active}
    absent = "unknown" if alive is None else "silent"
    return tuple(
        _worker(name, (alive or {}).get(name), known.get(name, _NO_RUNS) if loads else None, absent)
        for name in sorted({*(alive or ()), *busy})
    )


_NO_RUNS = WorkerLoad("")


def _worker(name: str, answer: Answer | None, load: WorkerLoad | None, absent: str) -> WorkerStatus:
    found = WorkerStatus(name, absent, host=name.rpartition("@")[2])
    if load is not None:
        fields = ("active", "processed", "succeeded", "failed", "rows_per_second", "heartbeat", "silence")
        found = dataclasses.replace(found, **{field: getattr(load, field) for field in fields})
    if answer is None:
        return found
    return dataclasses.replace(
        found,
        state="online",
        pid=answer.pid,
        queues=answer.queues,
        concurrency=answer.concurrency,
        active=tuple(dict.fromkeys((*found.active, *answer.active))),
        reserved=answer.reserved,
        heartbeat=dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        silence=0.0,
        uptime=answer.uptime,
    )


def queue_names(workers: Iterable[WorkerStatus], loads: Loads | None) -> list[str]:
    """Every queue that is known of: the default one, those that workers serve, those in which runs wait."""
    served = {queue for worker in workers for queue in worker.queues}
    return sorted({settings().queue, *served, *(loads.queues if loads else ())})


def merged_queues(
    names: Iterable[str],
    workers: Iterable[WorkerStatus] | None,
    depth: Mapping[str, tuple[int, int | None]] | None,
    loads: Loads | None,
) -> tuple[QueueStatus, ...]:
    """What is known of each queue."""

    def queue(name: str) -> QueueStatus:
        waiting, held = (depth or {}).get(name, (None, None))
        load = loads.queues.get(name) if loads else None
        queued = load.runs if load else 0 if loads else None
        serving = None if workers is None else sum(name in worker.queues for worker in workers)
        return QueueStatus(name, waiting, held, queued, load.oldest if load else None, serving)

    return tuple(map(queue, names))


def _problem(name: str, outcome: Outcome) -> str:
    return f"{name} cannot be asked: {reason(outcome.error)}"
