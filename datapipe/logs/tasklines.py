"""Celery's own lines about tasks: without what a task returned or raised, which may quote a row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def is_its(logger: str) -> bool:
    """Whether a logger is one of Celery's."""
    return logger == "celery" or logger.startswith("celery.")


def told(logger: str, data: Any) -> dict[str, Any] | None:
    """What a line about a task has to tell, from what Celery gives with it; None of any other line.

    Examples
    --------
    >>> data = {"id": "t1", "name": "datapipe.ingest", "return_value": "{'id': 3}", "runtime": 1.25}
    >>> told("celery.app.trace", data)["message"]
    'Task datapipe.ingest[t1] succeeded in 1.250s'
    """
    if not isinstance(data, Mapping) or not {"id", "name"} <= set(data):
        return None
    found: dict[str, Any] = {"task_id": data["id"], "task_name": data["name"], "run_id": data["id"]}
    task = f"Task {data['name']}[{data['id']}]"
    if "return_value" in data:
        seconds = float(data["runtime"])
        return {**found, "message": f"{task} succeeded in {seconds:.3f}s", "seconds": round(seconds, 3)}
    if "exc" in data:
        kind = re.match(r"\w+", str(data["exc"]))
        how = data.get("description") or "is to be tried again"
        return {**found, "message": f"{task} {how}: {kind.group() if kind else 'an error'}"}
    if logger == "celery.worker.strategy":
        return {**found, "message": f"{task} received"}
    return {**found, "message": f"{task} {data.get('description') or 'is passed over'}"}
