"""Runs inside a run: a plan that a notebook job runs belongs to it, and takes effect once however often it is tried."""

from __future__ import annotations

import dataclasses
import itertools
import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from datapipe.engine.options import RunOptions
from datapipe.plan import Plan, TableTarget
from datapipe.settings import settings
from datapipe.surroundings import CORRELATION, PARENT

KEY = "DATAPIPE_JOB_KEY"
# The kernel's process id, set where it starts: what it starts itself inherits the key and counts for itself.
PROCESS = "DATAPIPE_JOB_PROCESS"


@dataclass(frozen=True)
class Lineage:
    """The run that whatever runs here is a part of; nothing but None where there is none."""

    run_id: str | None = None
    correlation_id: str | None = None
    key: str | None = None


def lineage() -> Lineage:
    """What the environment says of the run around this process."""
    run_id, correlation, key = (os.environ.get(name) or None for name in (PARENT, CORRELATION, KEY))
    return Lineage(run_id, correlation, key if os.environ.get(PROCESS) == str(os.getpid()) else None)


@contextmanager
def nested(options: RunOptions, plan: Plan) -> Iterator[RunOptions]:
    """The options of a run of a plan as a part of the run around it, while it lasts.

    A load without a key of its own gets one of the job, the plan, and how often the job has run that plan: when the
    job is tried again, what has been loaded is not loaded twice.
    """
    around = lineage()
    if around.run_id is None:
        yield options
        return
    found = dataclasses.replace(
        options,
        parent_run_id=options.parent_run_id or around.run_id,
        correlation_id=options.correlation_id or around.correlation_id,
    )
    has_ledger = isinstance(plan.persistence, TableTarget) and settings().ledger == "on"
    if options.idempotency_key is not None or not has_ledger or around.key is None:
        yield found
        return
    with next_key(plan.fingerprint) as key:
        yield dataclasses.replace(found, idempotency_key=key, derived_key=True)


@contextmanager
def next_key(fingerprint: str) -> Iterator[str | None]:
    """The key of the next run of something inside the run around this process; None where there is none.

    One whose run fails is free again: a notebook that tries again by itself does so under the same key.
    """
    around = lineage()
    if around.key is None:
        yield None
        return
    number = _taken.take(around.key, fingerprint)
    try:
        yield f"{around.key}/{fingerprint}/{number}"
    except BaseException:
        _taken.give_back(around.key, fingerprint, number)
        raise


class _Numbers:
    """The numbers of the runs of each plan that this process has begun for a job."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[tuple[str, str], set[int]] = defaultdict(set)

    def take(self, key: str, fingerprint: str) -> int:
        with self._lock:
            taken = self._taken[key, fingerprint]
            number = next(number for number in itertools.count(1) if number not in taken)
            taken.add(number)
            return number

    def give_back(self, key: str, fingerprint: str, number: int) -> None:
        with self._lock:
            self._taken[key, fingerprint].discard(number)


_taken = _Numbers()  # of this process: a kernel runs one job
