"""What an execution tells while it lasts, and how it ends, whatever comes first."""

from __future__ import annotations

import time
from typing import Any

import pytest
from workerside import until

from datapipe.execution.session import Session
from datapipe.notebooks.order import Order, Outcome


def order(**values: Any) -> Order:
    given: dict[str, Any] = {"notebook": {}, "path": "p", "kernel": "cobol", "folder": ".", "root": "r", "place": "p"}
    return Order(**{**given, "scratch": "/scratch", "grace": 0.2, **values})


class Told(list[tuple[str, dict[str, Any]]]):
    """What a session tells, as a list."""

    def __call__(self, event: str, **found: Any) -> None:
        self.append((event, found))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def session(told: Told) -> Session:
    return Session(order(), told, lambda *_: None, dict)  # type: ignore[arg-type]  # it tells all the same


class Process:
    """A kernel's process that only notes what is done to it."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.done.append(name)


CELL = type("Cell", (), {"source": "x"})


def replied(session: Session, number: int, **content: Any) -> None:
    session.cell_began(number)
    session.replied(CELL, {"content": {"execution_count": number, **content}}, cell_index=number + 3)


def test_cells_that_end_well(session: Session, told: Told) -> None:
    for number in (1, 2):
        replied(session, number, status="ok")
        session.cell_done(number)
    assert [event for event, _ in told] == ["cell_began", "cell_replied", "cell_ended"] * 2
    assert told[1][1] == {"cell": 1, "count": 1} and told[2][1]["state"] == "done"
    assert session.result(2) == Outcome("succeeded") and session.states == {1: "done", 2: "done"}


def test_a_cell_that_raises_ends_it(session: Session) -> None:
    replied(session, 2, status="error", ename="ValueError", evalue="no", traceback=[])
    session.cell_raised(2)
    assert session.is_over
    found = session.result(3)
    assert (found.state, found.reason, found.error and found.error["cell"]) == ("failed", None, 2)


def test_a_clean_exit_is_a_success_and_ends_it(session: Session) -> None:
    replied(session, 2, status="error", ename="SystemExit", evalue="", traceback=[])
    session.cell_raised(2)
    assert session.is_over and session.states == {2: "done"}
    assert session.result(3) == Outcome("succeeded", "the notebook ended itself in cell 2")


def test_exit_as_ipython_has_it_ends_it(session: Session) -> None:
    replied(session, 1, status="ok", payload=[{"source": "ask_exit", "keepkernel": False}])
    session.cell_done(1)
    assert session.is_over and session.result(3).state == "succeeded"


def test_the_first_end_counts(session: Session) -> None:
    replied(session, 1, status="error", ename="ValueError", evalue="no", traceback=[])
    session.cell_raised(1)
    session.cell_began(2)
    session.kernel_died(2, 1)
    session.stop(Outcome("cancelled"))
    assert session.result(1).error and session.result(1).error["type"] == "ValueError"


def test_stopping_interrupts_twice_and_then_kills(session: Session, told: Told) -> None:
    session.kernel = kernel = Process()  # type: ignore[assignment]  # it stands for one
    session.cell_began(1)
    session.stop(Outcome("cancelled"))
    until(lambda: "kill" in kernel.done, 5)
    assert kernel.done == ["interrupt", "interrupt", "kill"]
    assert session.notes == ["the kernel did not stop within 0.2 s and was killed"]
    assert session.result(1).state == "cancelled"
    assert ("stopping", {"reason": None}) in told


def test_a_kernel_that_stops_is_not_killed(session: Session) -> None:
    session.kernel = kernel = Process()  # type: ignore[assignment]  # it stands for one
    session.cell_began(1)
    session.stop(Outcome("failed", "timed_out", {"message": "slow"}))
    until(lambda: kernel.done == ["interrupt"], 5)
    replied(session, 1, status="error", ename="KeyboardInterrupt", evalue="", traceback=[])
    session.cell_raised(1)
    session.kernel_over()
    time.sleep(0.4)
    assert kernel.done == ["interrupt", "close"] and session.notes == []
    assert session.result(1) == Outcome("failed", "timed_out", {"message": "slow", "cell": 1})


def test_one_that_had_ended_before_it_could_be_stopped_has_succeeded(session: Session) -> None:
    session.kernel = Process()  # type: ignore[assignment]  # it stands for one
    replied(session, 1, status="ok")
    session.cell_done(1)
    session.stop(Outcome("cancelled"))
    assert session.result(1) == Outcome("succeeded", "it had ended before it could be stopped")
    assert session.result(2).state == "cancelled", "another cell was to come"


def test_a_cell_that_was_interrupted_and_ended_all_the_same_has_not_succeeded(session: Session) -> None:
    session.kernel = kernel = Process()  # type: ignore[assignment]  # it stands for one
    session.cell_began(1)
    session.stop(Outcome("cancelled"))
    until(lambda: kernel.done != [], 5)
    session.replied(CELL, {"content": {"execution_count": 1, "status": "ok"}})
    session.cell_done(1)
    assert session.result(1).state == "cancelled"


def test_an_exit_while_it_is_stopped_is_no_success(session: Session) -> None:
    session.kernel = Process()  # type: ignore[assignment]  # it stands for one
    session.cell_began(1)
    session.stop(Outcome("cancelled"))
    session.replied(CELL, {"content": {"ename": "SystemExit", "evalue": "", "traceback": []}})
    session.cell_raised(1)
    assert session.result(1).state == "cancelled"


def test_a_kernel_that_is_not_there_is_told_by_name(session: Session) -> None:
    session.not_started(RuntimeError("no"), None)
    found = session.result(1)
    assert found.state == "failed" and found.error
    assert (
        found.error["message"] == "the kernel 'cobol' cannot be started"
        and "jupyter kernelspec list" in found.error["hint"]
    )


def test_a_kernel_that_does_not_answer_is_told(session: Session) -> None:
    session.kernel = Process()  # type: ignore[assignment]  # it stands for one
    session.not_started(RuntimeError("timeout"), None)
    found = session.result(1)
    assert found.error and found.error["message"] == "the kernel 'cobol' did not answer within 120 s of its start"
    assert (found.error["type"], found.reason) == ("KernelDied", None)


def test_outputs_are_told_and_the_last_of_a_name_counts(session: Session, told: Told) -> None:
    from datapipe.notebooks.order import MIME

    session.displayed({"text/plain": "1"})
    for value in (1, 2):
        session.displayed({MIME: {"name": "x", "value": value, "shown": str(value)}})
    assert session.outputs == {"x": {"name": "x", "value": 2, "shown": "2"}} and len(told) == 2
    assert not session.is_over


def test_an_output_that_is_none_of_ours_ends_it(session: Session) -> None:
    from datapipe.notebooks.order import MIME

    session.kernel = Process()  # type: ignore[assignment]  # it stands for one
    session.cell_began(1)
    session.displayed({MIME: {"name": "x"}})
    found = session.result(1)
    assert (found.state, found.error and found.error["type"]) == ("failed", "OutputFailed")
    session.kernel_over()


def test_one_that_is_stuck_before_there_is_a_kernel_ends_with_its_process(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []
    monkeypatch.setattr("datapipe.execution.session.os._exit", codes.append)
    session.stop(Outcome("cancelled"))
    until(lambda: codes == [1], 5)


def test_the_environment_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JPY_SESSION_NAME", "VSCODE_PID", "BOTH", "OURS"):
        monkeypatch.setenv(name, "outer")
    one = order(defaults={"BOTH": "file", "FILE": "file"}, environment={"OURS": "given"})
    found = Session(one, Told(), lambda *_: None, dict).kernel_environment()  # type: ignore[arg-type]  # it tells all the same
    assert not {"JPY_SESSION_NAME", "VSCODE_PID"} & set(found)
    assert (found["BOTH"], found["FILE"], found["OURS"]) == ("outer", "file", "given")
    assert found["DATAPIPE_OUTPUT_FOLDER"] == "/scratch/outputs"
