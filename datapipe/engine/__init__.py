"""How a plan runs: threads, cancellation, events, results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datapipe.engine.nested import Lineage, lineage, nested, next_key
from datapipe.engine.shares import shares
from datapipe.lazily import lazily

if TYPE_CHECKING:
    from datapipe.engine.events import Event, Listener
    from datapipe.engine.following import Follower, view_of_result
    from datapipe.engine.identity import stream_of
    from datapipe.engine.inside import Inside
    from datapipe.engine.jobs import CellResult, FrameOutput, NotebookResult
    from datapipe.engine.options import RunOptions, run_options
    from datapipe.engine.record import Record
    from datapipe.engine.recorder import begin_recorded, described, place, run_claimed, run_recorded, told
    from datapipe.engine.result import RunResult, StepResult
    from datapipe.engine.runner import Outline, Taker, collect_plan, outline_plan, run_plan, stream_plan
    from datapipe.engine.spread import Sharing, fingerprint, outcome_of, outline_of_partitions
    from datapipe.retries import policy, retry_with_backoff
else:
    __getattr__ = lazily(
        __name__,
        {
            "events": "Event Listener",
            "following": "Follower view_of_result",
            "identity": "stream_of",
            "inside": "Inside",
            "jobs": "CellResult FrameOutput NotebookResult",
            "options": "RunOptions run_options",
            "record": "Record",
            "recorder": "begin_recorded described place run_claimed run_recorded told",
            "result": "RunResult StepResult",
            "runner": "Outline Taker collect_plan outline_plan run_plan stream_plan",
            "spread": "Sharing fingerprint outcome_of outline_of_partitions",
            ".retries": "policy retry_with_backoff",
        },
    )

__all__ = [
    "CellResult",
    "Event",
    "Follower",
    "FrameOutput",
    "Inside",
    "Lineage",
    "Listener",
    "NotebookResult",
    "Outline",
    "Record",
    "RunOptions",
    "RunResult",
    "Sharing",
    "StepResult",
    "Taker",
    "begin_recorded",
    "collect_plan",
    "described",
    "fingerprint",
    "lineage",
    "nested",
    "next_key",
    "outcome_of",
    "outline_of_partitions",
    "outline_plan",
    "place",
    "policy",
    "retry_with_backoff",
    "run_claimed",
    "run_options",
    "run_plan",
    "run_recorded",
    "shares",
    "stream_of",
    "stream_plan",
    "told",
    "view_of_result",
]
