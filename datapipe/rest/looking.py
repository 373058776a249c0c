"""Plans looked at: explained and previewed here, a few at a time, and not for long."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from datapipe.data.cancel import CancelToken
from datapipe.data.jsonrows import to_json
from datapipe.data.types import describe
from datapipe.errors import TransientError
from datapipe.inspection import explain, preview
from datapipe.plan import Plan
from datapipe.secrets import redactor

_SAMPLE = 10_000  # rows of the source
_SECONDS = 30.0
_AT_A_TIME = threading.BoundedSemaphore(4)


def explained(plan: Plan) -> dict[str, Any]:
    """What a plan would do, by step."""
    with _a_while() as cancel:
        found = explain(plan, cancel)
    sections = [
        {
            "title": section.title,
            "text": redactor().text(section.text),
            "columns": [{"name": name, "type": type_} for name, type_ in section.columns],
        }
        for section in found.sections
    ]
    return {"sections": sections}


def previewed(plan: Plan, rows: int, step: int | None) -> dict[str, Any]:
    """The first rows after a step."""
    with _a_while() as cancel:
        found = preview(plan, rows, step, _SAMPLE, cancel)
    return {
        "step": found.step,
        "columns": [{"name": field.name, "type": describe(field)} for field in found.table.schema],
        "rows": [json.loads(text) for text in _texts(found.table)],
        "rows_read": found.source_rows,
        "sampled": found.sampled,
    }


def _texts(table: pa.Table) -> list[str]:
    return [text for batch in table.combine_chunks().to_batches() for text in to_json(batch, table.schema).to_pylist()]


@contextmanager
def _a_while() -> Iterator[CancelToken]:
    """Room for one of a few, and a limit to its time.

    Raises
    ------
    TransientError
        If there is no room.
    """
    if not _AT_A_TIME.acquire(blocking=False):  # whoever waited would keep a thread from others
        raise TransientError("several plans are being looked at already", hint="Try again in a moment")
    cancel = CancelToken()
    late = TransientError(f"the plan took longer than {_SECONDS:g} s to look at", hint="Run it: POST /pipelines")
    timer = threading.Timer(_SECONDS, cancel.cancel, [late])
    timer.daemon = True
    timer.start()
    try:
        yield cancel
    finally:
        timer.cancel()
        _AT_A_TIME.release()
