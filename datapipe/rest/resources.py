"""What is answered about runs: rows of the run store as plain JSON values, without secrets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from datapipe.rest.callers import Caller
from datapipe.rest.problems import Refused
from datapipe.secrets import redactor
from datapipe.store import LogRow, RunRow, RunStore

_BRIEF = (
    "pipeline_id", "kind", "name", "state", "reason", "source", "target", "owner", "via", "worker", "queue",
    "correlation_id", "parent_run_id", "created", "queued", "started", "ended", "attempts", "rows_read", "rows_written",
)  # fmt: skip
_ERROR = ("type", "message", "step", "hint")  # a traceback is for whoever has the log


def summary(row: Mapping[str, Any]) -> dict[str, Any]:
    """A run in a list."""
    return {
        "run_id": row["id"],
        "task_id": row["id"],
        **{name: row[name] for name in _BRIEF},
        "error": _error(row["error"]),
    }


def summaries(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The runs of a list; what a driver or a user's function had to say is told without secrets."""
    found = [summary(row) for row in rows]
    failed = [one for one in found if one["error"] or one["reason"]]
    if failed:  # to know all secrets takes a while
        known = redactor()
        for one in failed:
            one.update(known.data({"error": one["error"], "reason": one["reason"]}))
    return found


def detail(row: RunRow) -> dict[str, Any]:
    """A run by itself."""
    found = summary(vars(row)) | {
        "seconds": row.seconds,
        "cancel_requested": row.cancel_requested,
        "steps": [dataclasses.asdict(step) for step in row.steps],
        "result": row.result,
    }
    told: dict[str, Any] = redactor().data(found)
    return told | {"links": links(row.id)}


def links(run_id: str) -> dict[str, str]:
    """Where there is more about a run, and what can be done with it."""
    base = f"/runs/{quote(run_id, safe='')}"
    named = {name: f"{base}/{name}" for name in ("card", "events", "logs", "artifacts", "cancel", "retry")}
    return {"self": base, "page": f"/ui{base}", **named}


def log_lines(rows: list[LogRow]) -> list[dict[str, Any]]:
    """Lines of a log."""
    found: list[dict[str, Any]] = redactor().data([dataclasses.asdict(row) for row in rows])
    return found


def found_run(store: RunStore, run_id: str, caller: Caller) -> RunRow:
    """A run that the caller may see.

    Raises
    ------
    Refused
        With 404 if there is none, or it is somebody else's: which of both is nobody's business.
    """
    try:
        row = store.run(run_id)
    except ValueError:
        row = None
    if row is None or not caller.may_see(row):
        raise Refused(404, "there is no run of this id", "GET /runs lists those there are")
    return row


def _error(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {name: error.get(name) for name in _ERROR} if error else None
