"""What is told of a step while its thread still writes its counter."""

from __future__ import annotations

import pytest

from datapipe.engine.chain import Counter
from datapipe.engine.telling import Telling


class Ending(Counter):
    """The counter of a step that hands its last row on and ends as soon as one number was read so many times."""

    def __init__(self, number: str, times: int) -> None:
        super().__init__("ingestion", rows_out=1)
        self._left = {number: times}

    def __getattribute__(self, name: str) -> object:
        found = super().__getattribute__(name)
        left = super().__getattribute__("__dict__").get("_left", {})
        if name in left:
            left[name] -= 1
            if left[name] == 0:
                self.rows_out, self.ended = 2, 1.0
        return found


@pytest.mark.parametrize("number", ["ended", "rows_in", "rows_out", "rejected"])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_an_end_is_told_once_whenever_it_comes(number: str, times: int) -> None:
    step, telling, told = Ending(number, times), Telling(), []
    for _ in range(5):
        told += [(kind, counter.rows_out) for kind, counter in telling.changes([step])]
    assert told[-1] == ("step_finished", 2)
    assert [kind for kind, _ in told].count("step_started") == 1
    assert [kind for kind, _ in told].count("step_finished") == 1


def test_what_has_not_changed_is_not_told() -> None:
    steps, telling = [Counter("ingestion"), Counter("persistence", rows_in=1)], Telling()
    assert [(kind, step.name) for kind, step in telling.changes(steps)] == [
        ("step_started", "persistence"),
        ("progress", "persistence"),
    ]
    assert list(telling.changes(steps)) == []


def test_what_has_come_to_a_step_has_left_the_one_before() -> None:
    """A row that moves while the counters are read is not yet seen to arrive, however late the first one is read."""
    first, second, telling = Counter("ingestion"), Moving("persistence"), Telling()
    second.before = first
    changed = list(telling.changes([first, second]))
    assert [(kind, step.name) for kind, step in changed] == [("step_started", "ingestion"), ("progress", "ingestion")]


class Moving(Counter):
    """The counter of a step that is handed a row just after its own was read."""

    before: Counter

    def __getattribute__(self, name: str) -> object:
        found = super().__getattribute__(name)
        if name == "rejected":
            self.before.rows_out, self.rows_in = 1, 1
        return found
