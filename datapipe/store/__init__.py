"""The metadata database: runs, their steps, progress and logs."""

from __future__ import annotations

from datapipe.store.rows import FINAL, Claim, LogRow, Note, RunRow, StepRow, seconds_between
from datapipe.store.store import RunStore, open_store, store_or_none

__all__ = [
    "FINAL",
    "Claim",
    "LogRow",
    "Note",
    "RunRow",
    "RunStore",
    "StepRow",
    "open_store",
    "seconds_between",
    "store_or_none",
]
