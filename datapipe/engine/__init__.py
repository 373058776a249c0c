"""How a plan runs: threads, cancellation, events, results."""

from datapipe.engine.events import Event, Listener
from datapipe.engine.recorder import run_recorded
from datapipe.engine.result import RunResult, StepResult
from datapipe.engine.retry import retry_with_backoff
from datapipe.engine.runner import Outline, RunOptions, collect_plan, outline_plan, run_plan

__all__ = [
    "Event",
    "Listener",
    "Outline",
    "RunOptions",
    "RunResult",
    "StepResult",
    "collect_plan",
    "outline_plan",
    "retry_with_backoff",
    "run_plan",
    "run_recorded",
]
