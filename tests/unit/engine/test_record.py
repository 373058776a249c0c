"""The record of a run: what may be missing from it, and what may not."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest

from datapipe.data.cancel import CancelToken
from datapipe.engine import record as records
from datapipe.engine.record import Record
from datapipe.errors import TransientError
from datapipe.store import StepRow


class Store:
    """A run store that fails so often, and then notes what it is given."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.given = failures, list[tuple[str, Any]]()

    def _take(self, name: str, given: Any) -> bool:
        self.failures -= 1
        if self.failures >= 0:
            raise TransientError("the run store fails: it is away")
        self.given.append((name, given))
        return True

    def add(self, *_: Any, **values: Any) -> None:
        self._take("add", values)

    def beat(self, _: str, steps: Any, *__: Any) -> bool:
        self._take("beat", sorted(step.name for step in steps))
        return False

    def end(self, *_: Any, steps: Any, **__: Any) -> bool:
        return self._take("end", [step.name for step in steps])


def record(store: Store, **options: Any) -> Record:
    return Record(store, "r", "lease", CancelToken(), **options)  # type: ignore[arg-type]  # it stands for one


def test_a_run_with_a_key_does_not_begin_without_a_record(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(TransientError):
        record(Store(1), keyed=True).add(kind="notebook")
    record(Store(1)).add(kind="notebook")
    assert "is incomplete: the run store fails" in caplog.text


def test_only_what_has_changed_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_EVERY", 0.1)
    store = Store()
    one = record(store)
    one.step("a", lambda known: known)
    one.step("b", lambda known: known)
    one.start()
    until_beats(store, 2)
    one.step("b", lambda known: dataclasses.replace(known, rows_in=1))
    until_beats(store, len(store.given) + 2)
    one.end([])
    told = [steps for name, steps in store.given if name == "beat" and steps]
    assert told == [["a", "b"], ["b"]]


def until_beats(store: Store, number: int) -> None:
    until = time.monotonic() + 10
    while len(store.given) < number and time.monotonic() < until:
        time.sleep(0.01)


@pytest.mark.parametrize("options", [{"keyed": True}, {"claimed": True}])
def test_the_end_of_a_run_that_others_wait_for_is_tried_again(
    options: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "_AGAIN", 0.01)
    store = Store(5)
    one = record(store, **options)
    one._thread = type("Thread", (), {"join": lambda *_: None, "is_alive": lambda _: False})()  # it never beats
    one.end([StepRow(0, "a")], state="succeeded")
    assert store.given == [("end", [])], "the end alone, as its steps may be what is not taken"
