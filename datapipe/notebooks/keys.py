"""Runs of one idempotency key: one does it, the others return its result."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from datapipe.engine import NotebookResult
from datapipe.errors import IdempotencyConflict, InProgress, PlanError, TransientError
from datapipe.settings import settings
from datapipe.store import RunRow, RunStore, take_key

_LOOK = 0.5  # seconds


@contextmanager
def claimed(store: RunStore | None, fingerprint: str, options: Any) -> Iterator[NotebookResult | None]:
    """Take a run's key; what an earlier run did under it, if one has.

    Raises
    ------
    PlanError
        If runs are not recorded.
    IdempotencyConflict
        If another notebook, or one with other parameters, has done something under the key.
    InProgress
        If another run has the key, and ``if_running`` or the time does not let this one wait.
    RunCancelled
        If the run was cancelled while it waited.
    """
    key = options.idempotency_key
    if key is None:
        yield None
        return
    if store is None:
        hint = "Unset DATAPIPE_METADATA_URL, or leave the key out"
        raise PlanError("the key of a notebook's run is kept in the record of runs, which is off", hint=hint)
    waited = 0.0
    while (holder := _holder(store, key, options.run_id)) is not None:
        if holder.state == "succeeded":
            yield _earlier(holder, fingerprint)
            return
        if options.if_running == "skip":
            yield _skipped(holder, options.run_id)
            return
        if options.if_running == "fail" or waited > settings().lock_timeout:
            hint = "Wait for it, or use if_running='wait' or 'skip'"
            raise InProgress(f"run {holder.id} has the idempotency key and is {holder.state}", hint=hint)
        options.cancel.wait(_LOOK)
        options.cancel.check()
        waited += _LOOK
    yield None


def _holder(store: RunStore, key: str, run_id: str) -> RunRow | None:
    """The run that has the key, if that lives or has succeeded; None if it is this run's now."""
    with suppress(TransientError):  # somebody else may write
        store.find_lost()
    return take_key(store, key, run_id)


def _earlier(row: RunRow, fingerprint: str) -> NotebookResult:
    if row.fingerprint != fingerprint:
        raise IdempotencyConflict(
            f"run {row.id} has done something else under this idempotency key",
            hint="The notebook or its parameters are others: take another key",
        )
    return dataclasses.replace(NotebookResult.from_dict(row.result or {}), replayed=True)


def _skipped(row: RunRow, run_id: str) -> NotebookResult:
    note = f"run {row.id} has the idempotency key; this run left it to that one"
    return NotebookResult(run_id, run_id, "skipped", str(row.source), str(row.name), notices=(note,))
