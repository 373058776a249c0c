"""What is told of counters that other threads write: each change once, in an order in which nothing surprises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from datapipe.engine.chain import Counter
from datapipe.engine.events import Kind

_Standing = tuple[bool, int, int, int]
_START: _Standing = (False, 0, 0, 0)


def _standing(counter: Counter) -> _Standing:
    """Whether it has ended, which is read first as nothing changes afterwards; the rows in, out and rejected."""
    return bool(counter.ended), counter.rows_in, counter.rows_out, counter.rejected


class Telling:
    """What was told of each step, so that only what has changed since is told.

    Examples
    --------
    >>> telling, step = Telling(), Counter("ingestion", rows_out=2, ended=1.0)
    >>> [kind for kind, _ in telling.changes([step])], [kind for kind, _ in telling.changes([step])]
    (['step_started', 'step_finished'], [])
    """

    def __init__(self) -> None:
        self._seen: dict[str, _Standing] = {}

    def changes(self, counters: Sequence[Counter]) -> Iterator[tuple[Kind, Counter]]:
        """The kinds of the events that are due, and the steps that they are about."""
        # From the target to the source: what has come to a step is not seen before it has left the one before.
        found = [(counter, _standing(counter)) for counter in reversed(counters)]
        for counter, now in reversed(found):
            before = self._seen.get(counter.name)
            if now == (before or _START):
                continue
            self._seen[counter.name] = now
            if before is None:
                yield "step_started", counter
            has_ended = now[0]  # one that has ended since is told the next time, and once
            yield "step_finished" if has_ended else "progress", counter
