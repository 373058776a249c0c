"""Runs inside a run: a plan that a notebook job runs belongs to it, and takes effect once however often it is tried."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections import Counter
from dataclasses import dataclass

from datapipe.engine.runner import RunOptions
from datapipe.plan import Plan, TableTarget, WriteStrategy
from datapipe.settings import settings

PARENT, CORRELATION, KEY = "DATAPIPE_PARENT_RUN_ID", "DATAPIPE_CORRELATION_ID", "DATAPIPE_JOB_KEY"
_ADDING = {WriteStrategy.APPEND, WriteStrategy.INSERT}  # what other strategies do twice is as if done once
# How often this process has run each plan for a job: the second run of a loop is another load than the first.
_counts: Counter[tuple[str, str]] = Counter()
_counting = threading.Lock()


@dataclass(frozen=True)
class Lineage:
    """The run that whatever runs here is a part of; nothing but None where there is none."""

    run_id: str | None = None
    correlation_id: str | None = None
    key: str | None = None


def lineage() -> Lineage:
    """What the environment says of the run around this process."""
    return Lineage(*(os.environ.get(name) or None for name in (PARENT, CORRELATION, KEY)))


def nested(options: RunOptions, plan: Plan) -> RunOptions:
    """The options of a run of a plan as a part of the run around it.

    A load that adds rows, and has no key of its own, gets one of the job, the plan, and how often the job has run that
    plan: when the job is tried again, what has been added is not added twice.
    """
    around = lineage()
    if around.run_id is None:
        return options
    found = dataclasses.replace(
        options,
        parent_run_id=options.parent_run_id or around.run_id,
        correlation_id=options.correlation_id or around.correlation_id,
    )
    target = plan.persistence
    adds = isinstance(target, TableTarget) and target.strategy in _ADDING and settings().ledger == "on"
    if options.idempotency_key is not None or not adds:
        return found
    return dataclasses.replace(found, idempotency_key=next_key(plan.fingerprint))


def next_key(fingerprint: str) -> str | None:
    """The key of the next run of something inside the run around this process; None where there is none."""
    around = lineage()
    if around.key is None:
        return None
    with _counting:
        _counts[around.key, fingerprint] += 1
        return f"{around.key}/{fingerprint}/{_counts[around.key, fingerprint]}"
