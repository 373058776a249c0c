"""Plans on Celery workers: submit, run, recover, watch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from datapipe.hosts import part

if TYPE_CHECKING:
    from datapipe.workers.idempotency import IdempotencyStore
    from datapipe.workers.monitor import WorkerMonitor

__all__ = ["IdempotencyStore", "WorkerMonitor"]

_MODULES = {
    "IdempotencyStore": "datapipe.workers.idempotency",
    "WorkerMonitor": "datapipe.workers.monitor",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(part(_MODULES[name], "workers"), name)  # loads celery or redis


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
