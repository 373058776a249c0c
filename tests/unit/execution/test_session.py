"""What an execution tells while it lasts, and how it ends, whatever comes first."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from workerside import until

from datapipe.execution import __main__ as main
from datapipe.execution import guard
from datapipe.execution.kernels import KernelProcess, channels
from datapipe.execution.session import Session
from datapipe.execution.telling import Teller
from datapipe.notebooks.order import Order, Outcome

GUARD = Path(guard.__file__)
SLEEPS = [sys.executable, "-c", "import time; time.sleep(60)"]


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
    return Session(order(), told, lambda nb, states: None, dict)  # type: ignore[arg-type]  # it tells all the same


class Process:
    """A kernel's process that only notes what is done to it."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.done.append(name)


def replied(session: Session, index: int, **content: Any) -> None:
    session.cell_began(index)
    cell = type("Cell", (), {"source": "x"})
    session.replied(cell, index, {"content": {"execution_count": index + 1, **content}})


def test_cells_that_end_well(session: Session, told: Told) -> None:
    for index in (0, 2):
        replied(session, index, status="ok")
        session.cell_done(index)
    assert [event for event, _ in told] == ["cell_began", "cell_replied", "cell_ended"] * 2
    assert told[1][1] == {"cell": 0, "count": 1} and told[2][1]["state"] == "done"
    assert session.result(2) == Outcome("succeeded") and session.states == {0: "done", 2: "done"}


def test_a_cell_that_raises_ends_it(session: Session) -> None:
    replied(session, 1, status="error", ename="ValueError", evalue="no", traceback=[])
    session.cell_raised(1)
    assert session.is_over
    found = session.result(3)
    assert (found.state, found.reason, found.error and found.error["cell"]) == ("failed", None, 2)


def test_a_clean_exit_is_a_success_and_ends_it(session: Session) -> None:
    replied(session, 1, status="error", ename="SystemExit", evalue="", traceback=[])
    session.cell_raised(1)
    assert session.is_over and session.states == {1: "done"}
    assert session.result(3) == Outcome("succeeded", "the notebook ended itself in cell 2")


def test_exit_as_ipython_has_it_ends_it(session: Session) -> None:
    replied(session, 0, status="ok", payload=[{"source": "ask_exit", "keepkernel": False}])
    session.cell_done(0)
    assert session.is_over and session.result(3).state == "succeeded"


def test_the_first_end_counts(session: Session) -> None:
    replied(session, 0, status="error", ename="ValueError", evalue="no", traceback=[])
    session.cell_raised(0)
    session.cell_began(1)
    session.kernel_died(1, 1)
    session.stop(Outcome("cancelled"))
    assert session.result(1).error and session.result(1).error["type"] == "ValueError"


def test_stopping_interrupts_twice_and_then_kills(session: Session, told: Told) -> None:
    session.kernel = kernel = Process()  # type: ignore[assignment]  # it stands for one
    session.cell_began(0)
    session.stop(Outcome("cancelled"))
    until(lambda: "kill" in kernel.done, 5)
    assert kernel.done == ["interrupt", "interrupt", "kill"]
    assert session.notes == ["the kernel did not stop within 0.2 s and was killed"]
    assert session.result(1).state == "cancelled"
    assert ("stopping", {"reason": None}) in told


def test_a_kernel_that_stops_is_not_killed(session: Session) -> None:
    session.kernel = kernel = Process()  # type: ignore[assignment]  # it stands for one
    session.cell_began(0)
    session.stop(Outcome("failed", "timed_out", {"message": "slow"}))
    until(lambda: kernel.done == ["interrupt"], 5)
    replied(session, 0, status="error", ename="KeyboardInterrupt", evalue="", traceback=[])
    session.cell_raised(0)
    session.kernel_over()
    time.sleep(0.4)
    assert kernel.done == ["interrupt", "close"] and session.notes == []
    assert session.result(1) == Outcome("failed", "timed_out", {"message": "slow", "cell": 1})


def test_one_that_had_ended_before_it_could_be_stopped_has_succeeded(session: Session) -> None:
    session.kernel = Process()  # type: ignore[assignment]  # it stands for one
    replied(session, 0, status="ok")
    session.cell_done(0)
    session.stop(Outcome("cancelled"))
    assert session.result(1) == Outcome("succeeded", "it had ended before it could be stopped")
    assert session.result(2).state == "cancelled", "another cell was to come"


def test_a_cell_that_was_interrupted_and_ended_all_the_same_has_not_succeeded(session: Session) -> None:
    session.kernel = kernel = Process()  # type: ignore[assignment]  # it stands for one
    session.cell_began(0)
    session.stop(Outcome("cancelled"))
    until(lambda: kernel.done != [], 5)
    session.replied(type("Cell", (), {"source": "x"}), 0, {"content": {"execution_count": 1, "status": "ok"}})
    session.cell_done(0)
    assert session.result(1).state == "cancelled"


def test_an_exit_while_it_is_stopped_is_no_success(session: Session) -> None:
    session.kernel = Process()  # type: ignore[assignment]  # it stands for one
    session.cell_began(0)
    session.stop(Outcome("cancelled"))
    session.replied(type("Cell", (), {"source": "x"}), 0, {"content": {"ename": "SystemExit", "evalue": "", "traceback": []}})
    session.cell_raised(0)
    assert session.result(1).state == "cancelled"


def test_a_kernel_that_is_not_there_is_told_by_name(session: Session) -> None:
    session.not_started(RuntimeError("no"), None)
    found = session.result(1)
    assert found.state == "failed" and found.error
    assert found.error["message"] == "the kernel 'cobol' cannot be started" and "jupyter kernelspec list" in found.error["hint"]


def test_a_kernel_that_does_not_answer_is_told(session: Session) -> None:
    session.kernel = Process()  # type: ignore[assignment]  # it stands for one
    session.not_started(RuntimeError("timeout"), None)
    found = session.result(1)
    assert found.error and found.error["message"] == "the kernel did not answer within 120 s of its start"
    assert found.reason == "kernel_died"


def test_outputs_are_told_and_the_last_of_a_name_counts(session: Session, told: Told) -> None:
    from datapipe.notebooks.outputs import MIME

    session.displayed({"text/plain": "1"})
    for value in (1, 2):
        session.displayed({MIME: {"name": "x", "value": value}})
    assert session.outputs == {"x": {"name": "x", "value": 2}} and len(told) == 2


def test_the_environment_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JPY_SESSION_NAME", "VSCODE_PID", "BOTH", "OURS"):
        monkeypatch.setenv(name, "outer")
    one = order(defaults={"BOTH": "file", "FILE": "file"}, environment={"OURS": "given"})
    found = Session(one, Told(), lambda *_: None, dict).kernel_environment()  # type: ignore[arg-type]  # it tells all the same
    assert not {"JPY_SESSION_NAME", "VSCODE_PID"} & set(found)
    assert (found["BOTH"], found["FILE"], found["OURS"]) == ("outer", "file", "given")
    assert found["DATAPIPE_OUTPUT_FOLDER"] == "/scratch/outputs"


# --- the kernel's process ------------------------------------------------------------------------------------------


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, with a child."""
    found = subprocess.Popen(["sh", "-c", "sleep 60 & sleep 60"], start_new_session=True)
    yield found
    found.kill()
    found.wait()


def test_a_process_ends_with_all_it_has_started(process: subprocess.Popen[bytes]) -> None:
    import psutil

    until(lambda: len(psutil.Process(process.pid).children()) == 2, 5)
    children = psutil.Process(process.pid).children()
    kernel = KernelProcess(process.pid)
    kernel.close()
    assert process.wait(5) == -signal.SIGKILL
    until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children), 5)
    kernel.interrupt()  # of what is gone, does nothing


def test_a_process_beyond_its_memory_is_killed() -> None:
    source = "import time\nfound = b'x' * (100 << 20)\ntime.sleep(60)"
    found = subprocess.Popen([sys.executable, "-c", source], start_new_session=True)
    kernel = KernelProcess(found.pid, limit=60 << 20)
    assert found.wait(10) == -signal.SIGKILL
    death = kernel.death(found.returncode)
    assert (death.reason, death.message) == ("out_of_memory", "the kernel took more than 60 MB of memory")
    assert kernel.peak > 60 << 20
    kernel.close()


def test_a_process_within_its_memory_is_left_alone(process: subprocess.Popen[bytes]) -> None:
    kernel = KernelProcess(process.pid, limit=1 << 30)
    time.sleep(0.5)
    assert process.poll() is None and 0 < kernel.peak < 100 << 20
    kernel.close()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (-9, "the kernel was killed (SIGKILL); it had used up to 2.0 GB of memory"),
        (-11, "the kernel died of signal 11 (SIGSEGV); it had used up to 2.0 GB of memory"),
        (-250, "the kernel died of signal 250; it had used up to 2.0 GB of memory"),
        (3, "the kernel's process ended by itself with exit code 3"),
    ],
)
def test_a_death_is_told_by_its_code(code: int, message: str, process: subprocess.Popen[bytes]) -> None:
    kernel = KernelProcess(process.pid)
    kernel.close()
    kernel.peak = 2 << 30
    found = kernel.death(code)
    assert (found.reason, found.message, found.code) == ("kernel_died", message, code) and found.hint


def test_a_kill_for_want_of_memory_is_told(process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 1\noom_kill 1\n")
    monkeypatch.setattr("datapipe.execution.kernels._EVENTS", events)
    kernel = KernelProcess(process.pid)
    kernel.close()
    assert kernel.death(-9).reason == "kernel_died"
    events.write_text("low 0\noom 1\noom_kill 2\n")
    assert kernel.death(-9).reason == "out_of_memory" and "the system killed the kernel" in kernel.death(-9).message
    assert kernel.death(-11).reason == "kernel_died"


def test_sockets_are_in_our_folder_where_its_path_is_short() -> None:
    assert channels("/tmp/x")["transport"] == "ipc"
    assert channels("/" + "x" * 90) == {"transport": "tcp"}


# --- the guard ------------------------------------------------------------------------------------------------------


def test_the_guard_becomes_its_command() -> None:
    command = [sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), "sh", "-c", "echo $0 $1; exit 7", "a b", "c"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (7, "a b c\n")


def test_the_guard_starts_nothing_when_its_parent_is_gone() -> None:
    command = [sys.executable, "-I", "-S", str(GUARD), "1", "sh", "-c", "echo no"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (1, "")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel itself looks for its parent")
def test_what_is_guarded_ends_with_its_parent() -> None:
    import psutil

    inner = f"import os, subprocess, sys, time\np = subprocess.Popen([sys.executable, '-I', '-S', {str(GUARD)!r}, str(os.getpid()), 'sleep', '60'])\nprint(p.pid, flush=True)\ntime.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", inner], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        guarded = psutil.Process(int(parent.stdout.readline()))
        until(lambda: guarded.name() == "sleep", 5)
        parent.kill()
    until(lambda: not guarded.is_running() or guarded.status() == "zombie", 2)


# --- what it tells, and is told -------------------------------------------------------------------------------------


def test_lines_of_many_threads_are_whole() -> None:
    stream = StringIO()
    tell = Teller(stream)
    threads = [threading.Thread(target=lambda n=n: [tell("e", n=n, text="ü\n" * 50) for _ in range(100)]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(lines) == 800 and all(line["text"] == "ü\n" * 50 and line["time"] > 0 for line in lines)


def test_telling_nobody_is_no_error() -> None:
    stream = StringIO()
    stream.close()
    Teller(stream)("ended")


def test_what_else_is_printed_goes_to_the_log() -> None:
    source = "from datapipe.execution.telling import own_output\nout = own_output()\nimport os\nprint('loud', flush=True)\nos.system('echo louder')\nout.write('told\\n')\nout.flush()"
    found = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert found.stdout == "told\n" and found.stderr == "loud\nlouder\n"


def test_an_order_travels_as_a_line() -> None:
    one = order(secrets=("A", "B"), parameters={"x": "ü\n"}, memory=5)
    assert "\n" not in one.to_json() and Order.from_json(one.to_json()) == one


def test_it_hears_wishes_and_that_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    wish = Outcome("cancelled", "interrupted")
    monkeypatch.setattr(sys, "stdin", StringIO(json.dumps(wish.to_dict()) + "\nnonsense\n"))
    heard: list[Outcome] = []
    with main._listening(heard.append):
        until(lambda: len(heard) == 2, 5)
    assert heard == [wish, Outcome("lost", "the process that had started it is gone")]
