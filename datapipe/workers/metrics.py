"""The same facts for Prometheus. A scrape costs one look at the workers and a few aggregates of the run store."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from datapipe.errors import FatalError
from datapipe.store import FINAL, open_store
from datapipe.store.statistics import StateTotal, totals
from datapipe.workers.deadline import together
from datapipe.workers.monitor import WorkerMonitor
from datapipe.workers.values import Health, Overview

_PATIENCE = 8.0  # seconds; Prometheus itself waits for 10 if it is not told otherwise


class Collector:
    """What a registry of prometheus_client asks. No label has more values than there are workers, queues and parts.

    Parameters
    ----------
    monitor : WorkerMonitor, optional

    Examples
    --------
    >>> registry = CollectorRegistry()
    >>> registry.register(Collector())
    """

    def __init__(self, monitor: WorkerMonitor | None = None) -> None:
        self._monitor = monitor or WorkerMonitor()
        self._counted: dict[tuple[str, str], tuple[float, float]] = {}

    def describe(self) -> list[Metric]:
        """Nothing: a registry would else collect everything once to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is now; what cannot be asked is left out, and ``datapipe_up`` says so."""
        monitor = self._monitor
        questions = {
            "runs": _totals,
            "overview": monitor.overview,
            "health": lambda: monitor.health(workers=False),
        }
        found = together(questions, _PATIENCE)
        if found["runs"].value:
            yield from runs(found["runs"].value, self._counted)
        if found["overview"].value:
            yield from fleet(found["overview"].value)
        if found["health"].value:
            yield from parts(found["health"].value)


def metrics_text(monitor: WorkerMonitor | None = None) -> bytes:
    """The metrics in the text form that Prometheus reads; :func:`texts` for who asks more than once."""
    return texts(monitor)()


def texts(monitor: WorkerMonitor | None = None) -> Callable[[], bytes]:
    """What gives :func:`metrics_text` as often as it is called, with counters that never fall."""
    return functools.partial(generate_latest, _registry(monitor))


def metrics_list(monitor: WorkerMonitor | None = None) -> list[dict[str, Any]]:
    """The metrics as plain JSON values: ``name``, ``labels`` and ``value`` of each."""
    samples = [sample for family in Collector(monitor).collect() for sample in family.samples]
    return [{"name": sample.name, "labels": dict(sample.labels), "value": sample.value} for sample in samples]


@dataclass(frozen=True)
class Served:
    """A server of metrics that runs in a thread of this process.

    Parameters
    ----------
    port : int
        Where it listens.
    """

    port: int
    _server: Any
    _thread: threading.Thread

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def serve_metrics(port: int, host: str = "127.0.0.1", monitor: WorkerMonitor | None = None) -> Served:
    """Serve ``/metrics`` in a thread of this process.

    Parameters
    ----------
    port : int
        0 for any that is free.

    Raises
    ------
    FatalError
        If it cannot listen there.
    """
    try:
        server, thread = start_http_server(port, host, _registry(monitor))
    except OSError as error:
        raise FatalError(f"cannot listen at {host}:{port}: {error.strerror}", hint="Choose another --port") from None
    return Served(server.server_port, server, thread)


def _registry(monitor: WorkerMonitor | None) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Collector(monitor))
    return registry


def _totals() -> tuple[StateTotal, ...]:
    store = open_store()
    return totals(store) if store else ()


def runs(found: Iterable[StateTotal], counted: dict[tuple[str, str], tuple[float, float]]) -> Iterator[Metric]:
    """Runs by state, and what those that have ended read, wrote and took.

    Parameters
    ----------
    counted : dict
        Of each counter, the total when it was last looked at, and its value, which this raises by what has come since.
        A failed run that is tried again is failed no more, and old runs leave the record: a total may fall, but
        Prometheus takes a counter that falls for a new one, and all of it for an increase.
    """
    known = list(found)
    yield _gauge("runs", "Runs on record, by state.", ["state"], [([t.state], t.runs) for t in known])
    for name, text, field in _OF_RUNS:
        family = CounterMetricFamily(f"datapipe_{name}", text, labels=["state"])
        for total in known:
            if total.state in FINAL:
                key = (name, total.state)
                now, (before, value) = float(getattr(total, field)), counted.get(key, (0.0, 0.0))
                counted[key] = (now, value + max(0.0, now - before))
                family.add_metric([total.state], counted[key][1])
        yield family


_OF_RUNS = (
    ("runs_finished", "Runs that have ended, by how.", "runs"),
    ("rows_read", "Rows read by runs that have ended.", "rows_read"),
    ("rows_written", "Rows written by runs that have ended.", "rows_written"),
    ("run_seconds", "How long runs that have ended took, together.", "seconds"),
)


def fleet(found: Overview) -> Iterator[Metric]:
    """Workers and queues."""
    states = [worker.state for worker in found.workers]
    by_state = [([state], states.count(state)) for state in ("online", "silent", "unknown")]
    yield _gauge("workers", "Workers, by whether they answer.", ["state"], by_state)
    for name, text, field in _OF_WORKERS:
        values = [([worker.name], getattr(worker, field)) for worker in found.workers]
        yield _gauge(name, text, ["worker"], values)
    active = [([worker.name], len(worker.active)) for worker in found.workers]
    yield _gauge("worker_active_runs", "Runs that a worker does.", ["worker"], active)
    for name, text, field in _OF_QUEUES:
        yield _gauge(name, text, ["queue"], [([queue.name], getattr(queue, field)) for queue in found.queues])


_OF_WORKERS = (
    ("worker_heartbeat_age_seconds", "Seconds since a worker's last sign of life.", "silence"),
    ("worker_concurrency", "Runs that a worker can do at a time.", "concurrency"),
    ("worker_rows_per_second", "Rows read in runs that ended within the last hour, by their time.", "rows_per_second"),
)
_OF_QUEUES = (
    ("queue_waiting", "Messages that no worker has fetched.", "waiting"),
    ("queue_unacknowledged", "Messages that workers have fetched, whose runs have not ended.", "unacknowledged"),
    ("queue_runs", "Runs that wait for a worker, by the run store.", "queued"),
    ("queue_oldest_wait_seconds", "Seconds that the first of these has waited.", "oldest"),
    ("queue_workers", "Workers online that take runs from a queue.", "workers"),
)


def parts(found: Health) -> Iterator[Metric]:
    """Whether the servers answer that are configured, and how fast."""
    asked = [part for part in found.parts if part.state in {"ok", "failed"}]
    up = [([part.name], part.state == "ok") for part in asked]
    yield _gauge("up", "Whether a part that runs depend on answers.", ["part"], up)
    took = [([part.name], part.milliseconds / 1000) for part in asked if part.milliseconds is not None]
    yield _gauge("check_seconds", "How long it took a part to answer a question.", ["part"], took)


def _gauge(name: str, text: str, labels: list[str], values: Iterable[tuple[list[str], float | None]]) -> Metric:
    family = GaugeMetricFamily(f"datapipe_{name}", text, labels=labels)
    for key, value in values:
        if value is not None:
            family.add_metric(key, value)
    return family
