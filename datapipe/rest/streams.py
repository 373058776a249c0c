"""Server-sent events: what changes in the run store, told as it does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from anyio import sleep, to_thread

from datapipe.errors import DatapipeError
from datapipe.rest.resources import detail, log_lines
from datapipe.store import RunStore

_POLL = 0.5  # seconds
_ALIVE = 15.0  # seconds after which a silent stream says that it lives


def event(kind: str, data: Any, event_id: str | None = None) -> str:
    """One event.

    Examples
    --------
    >>> event("log", {"a": 1}, "7")
    'id: 7\\nevent: log\\ndata: {"a": 1}\\n\\n'
    """
    first = f"id: {event_id}\n" if event_id is not None else ""
    return f"{first}event: {kind}\ndata: {json.dumps(data)}\n\n"


async def run_stream(store: RunStore, run_id: str) -> AsyncIterator[str]:
    """``run`` for each change of a run, then ``end``."""
    last, silent = "", 0.0
    while True:
        try:
            row = await to_thread.run_sync(store.run, run_id)
            found = await to_thread.run_sync(detail, row)
        except DatapipeError:  # its store is away, or it was removed: the client asks again
            return
        text = json.dumps({name: value for name, value in found.items() if name != "seconds"})
        if text != last:
            last, silent = text, 0.0
            yield event("run", found)
        if row.ended_for_good:
            yield event("end", {"run_id": run_id, "state": row.state})
            return
        silent += _POLL
        if silent >= _ALIVE:
            silent = 0.0
            yield ": still here\n\n"
        await sleep(_POLL)


async def log_stream(store: RunStore, run_id: str, after: int) -> AsyncIterator[str]:
    """``log`` for each line behind one, then ``end``."""
    silent = 0.0
    while True:
        try:
            row = await to_thread.run_sync(store.run, run_id)
            lines = await to_thread.run_sync(partial(_lines, store, run_id, after))
        except DatapipeError:
            return
        for line in lines:
            after, silent = line["id"], 0.0
            yield event("log", line, str(after))
        if row.ended_for_good:
            yield event("end", {"run_id": run_id, "state": row.state})
            return
        silent += _POLL
        if silent >= _ALIVE:
            silent = 0.0
            yield ": still here\n\n"
        await sleep(_POLL)


def _lines(store: RunStore, run_id: str, after: int) -> list[dict[str, Any]]:
    return log_lines(store.logs(run_id, after=after))
