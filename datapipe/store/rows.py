"""What the run store knows of a run, as frozen values."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

NOT_AWAITED = "its end was not awaited"  # why a run counts as cancelled whose user interrupted it twice
FINAL = frozenset({"succeeded", "failed", "cancelled", "skipped"})


@dataclass(frozen=True)
class StepRow:
    """How far a step is.

    Parameters
    ----------
    number : int
        Its place in the plan, from 0: the source.
    name : str
    version : str, optional
        The content hash of a transformation.
    rows_in, rows_out : int
    total : int, optional
        The rows it will hand on, where they are known.
    seconds : float, optional
        From its first row to its last, once it has ended.
    rejected : int
        Rows that a validation has kept from the next step.
    busy : float, optional
        Seconds in which it was at work.
    """

    number: int
    name: str
    version: str | None = None
    rows_in: int = 0
    rows_out: int = 0
    total: int | None = None
    seconds: float | None = None
    rejected: int = 0
    busy: float | None = None


@dataclass(frozen=True)
class Note:
    """What a run has to say, on its way to its log."""

    kind: str
    message: str
    step: str | None = None


@dataclass(frozen=True)
class Claim:
    """A queued run that somebody has taken: the caller's name for it, and what it needs to run."""

    pipeline_id: str
    message: dict[str, Any]


@dataclass(frozen=True)
class LogRow:
    """A line of a run's log."""

    id: int
    time: str
    kind: str
    step: str | None
    message: str


@dataclass(frozen=True)
class SchemaRow:
    """One version of a subject's schema, its columns as JSON values."""

    subject: str
    version: int
    fingerprint: str
    columns: tuple[dict[str, Any], ...]
    created: str
    run_id: str | None


@dataclass(frozen=True)
class RunRow:
    """A run as the store has it. Times are ISO 8601 in UTC, by the store's clock."""

    id: str
    pipeline_id: str
    name: str | None
    state: str
    reason: str | None
    fingerprint: str | None
    correlation_id: str | None
    parent_run_id: str | None
    source: str | None
    target: str | None
    document: str | None
    owner: str | None
    host: str | None
    process: int | None
    created: str
    started: str | None
    heartbeat: str | None
    ended: str | None
    attempts: int
    rows_read: int
    rows_written: int
    cancel_requested: str | None
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    lease: str | None
    queue: str | None
    queued: str | None
    worker: str | None
    losses: int
    schema_version: int | None
    outline: tuple[tuple[str, str, str], ...]
    via: str | None
    kind: str
    now: str
    steps: tuple[StepRow, ...] = ()

    @property
    def waiting(self) -> float | None:
        """Seconds since it was put into its queue; None for a run that waits for no worker."""
        return seconds_between(self.queued, self.now) if self.queued and self.state == "queued" else None

    @property
    def ended_for_good(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in FINAL

    @property
    def silence(self) -> float | None:
        """Seconds since it last gave a sign of life; None for a run that has ended or has not begun."""
        return None if self.heartbeat is None or self.ended_for_good else seconds_between(self.heartbeat, self.now)

    @property
    def seconds(self) -> float | None:
        """How long it took, or takes so far."""
        last = self.heartbeat if self.state == "lost" else None
        return seconds_between(self.started, self.ended or last or self.now) if self.started else None


def seconds_between(first: str, last: str) -> float:
    """From one of the store's times to another."""
    return (dt.datetime.fromisoformat(last) - dt.datetime.fromisoformat(first)).total_seconds()
