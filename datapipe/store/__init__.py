"""The metadata database: runs, their steps, progress and logs, and versions of schemas."""

from __future__ import annotations

from datapipe.store.forgetting import forget_runs, old_runs
from datapipe.store.keys import take_key
from datapipe.store.opening import open_store, store_at, store_or_none
from datapipe.store.partitions import Board, Part, leave, shared_about
from datapipe.store.rows import FINAL, NOT_AWAITED, Claim, LogRow, Note, RunRow, SchemaRow, StepRow, seconds_between
from datapipe.store.schemas import add_schema, schema_subjects, schemas_of
from datapipe.store.store import RunStore

__all__ = [
    "FINAL",
    "NOT_AWAITED",
    "Board",
    "Claim",
    "LogRow",
    "Note",
    "Part",
    "RunRow",
    "RunStore",
    "SchemaRow",
    "StepRow",
    "add_schema",
    "forget_runs",
    "leave",
    "old_runs",
    "open_store",
    "schema_subjects",
    "schemas_of",
    "seconds_between",
    "shared_about",
    "store_at",
    "store_or_none",
    "take_key",
]
