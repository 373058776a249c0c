"""Server-sent events: what changes in the run store, told as it does."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from anyio import sleep, to_thread

from datapipe.errors import DatapipeError
from datapipe.rest.problems import Refused
from datapipe.rest.resources import detail, log_lines
from datapipe.store import RunRow, RunStore

_POLL = 0.5  # seconds
_ALIVE = 15.0  # seconds after which a silent stream says that it lives, and its caller is looked at again
_AT_ONCE = 1000  # lines of a log
_MOST = 100  # of one caller, each of which asks the store again and again

Look: TypeAlias = Callable[[], tuple[list[str], RunRow]]  # the events since the last one, and the run


def event(kind: str, data: Any, event_id: str | None = None) -> str:
    """One event.

    Examples
    --------
    >>> event("log", {"a": 1}, "7")
    'id: 7\\nevent: log\\ndata: {"a": 1}\\n\\n'
    """
    first = f"id: {event_id}\n" if event_id is not None else ""
    return f"{first}event: {kind}\ndata: {json.dumps(data)}\n\n"


def run_changes(store: RunStore, run_id: str) -> Look:
    """``run`` for each change of a run."""
    last: RunRow | None = None

    def look() -> tuple[list[str], RunRow]:
        nonlocal last
        row = store.run(run_id)
        # That time passes is no change; and what is told is made anew only then.
        before, last = last, dataclasses.replace(row, now="", heartbeat=None)
        return ([] if last == before else [event("run", detail(row))]), row

    return look


def log_lines_behind(store: RunStore, run_id: str, line: int) -> Look:
    """``log`` for each line behind one."""
    after = line

    def look() -> tuple[list[str], RunRow]:
        nonlocal after
        row = store.run(run_id)  # before the lines, so that the last ones are not missed
        lines = log_lines(rows) if (rows := store.logs(run_id, after=after, first=_AT_ONCE)) else []
        after = lines[-1]["id"] if lines else after
        return [event("log", line, str(line["id"])) for line in lines], row

    return look


async def followed(look: Look, goes_on: Callable[[], bool]) -> AsyncIterator[str]:
    """What there is to tell until the run ends, then ``end``.

    Parameters
    ----------
    look : callable
        Looks for events.
    goes_on : callable
        Asked every now and then whether the caller may still be told.
    """
    spoken = asked = time.monotonic()
    while True:
        now = time.monotonic()
        try:
            if now - asked >= _ALIVE:
                asked = now
                if not await to_thread.run_sync(goes_on):
                    return
            found, row = await to_thread.run_sync(look)
        except DatapipeError:  # its store is away, or it was removed: the client asks again
            return
        if not found and now - spoken >= _ALIVE:
            found = [": still here\n\n"]
        for text in found:
            spoken = now
            yield text
        if len(found) >= _AT_ONCE:  # there may be more already
            continue
        if row.ended_for_good:
            yield event("end", {"run_id": row.id, "state": row.state})
            return
        await sleep(_POLL)


@dataclass
class Streams:
    """The streams that are open, by caller.

    Parameters
    ----------
    most : int
        Of one caller.
    """

    most: int = _MOST
    _open: Counter[str] = field(default_factory=Counter, repr=False)

    def check(self, caller: str) -> None:
        """Refuse one more than there may be.

        Raises
        ------
        Refused
        """
        if self._open[caller] >= self.most:
            hint = f"End one: a caller has at most {self.most}"
            raise Refused(429, "too many streams are open", hint, {"Retry-After": "5"})

    async def counted(self, caller: str, stream: AsyncIterator[str]) -> AsyncIterator[str]:
        """The same stream; it counts as open while it is read."""
        self._open[caller] += 1
        try:
            async for text in stream:
                yield text
        finally:
            self._open[caller] -= 1
            if not self._open[caller]:
                del self._open[caller]
