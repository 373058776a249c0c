"""One execution seen from outside: a process of ours that behaves as told, and whoever waits for it."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from workerside import until

from datapipe.data.cancel import CancelToken
from datapipe.errors import FatalError
from datapipe.notebooks import attempt as attempts
from datapipe.notebooks.attempt import Heard, Limits, attempt
from datapipe.notebooks.order import Order, Outcome

# What stands in for the process: it notes its orders, then does what the test has written.
PROGRAM = """
import json, os, signal, sys, time
order = json.loads(sys.stdin.readline())
with open({notes!r}, "a") as notes:
    notes.write(json.dumps(order.get("past")) + "\\n")
if "past" in order:
    sys.exit()
def tell(event, **found):
    print(json.dumps({{"event": event, "time": time.time(), **found}}), flush=True)
def told():
    return json.loads(sys.stdin.readline())
"""
CELL = "tell('cell_began', cell=1)\n"
NEXT = "tell('cell_began', cell=2)\n"
ENDS = "tell('ended', state='succeeded', reason=None, error=None)\n"
NONE = Limits()
Attempt = Callable[..., tuple[Outcome, list[Mapping[str, Any]]]]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


@pytest.fixture
def run(tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch) -> Attempt:
    """Execute a notebook by a program, and give back the outcome and what was heard."""
    monkeypatch.setattr(attempts, "_SAVING", 1.0)
    scratch = tmp_path / "scratch"

    def executed(
        source: str,
        limits: Limits = NONE,
        cancel: CancelToken | None = None,
        hear: Callable[[Mapping[str, Any]], object] | None = None,
    ) -> tuple[Outcome, list[Mapping[str, Any]]]:
        scratch.mkdir(exist_ok=True)
        program = tmp_path / "program.py"
        program.write_text(PROGRAM.format(notes=str(notes)) + source)
        monkeypatch.setattr(attempts, "_COMMAND", (sys.executable, str(program)))
        heard: list[Mapping[str, Any]] = []

        def take(event: Mapping[str, Any]) -> None:
            heard.append(event)
            if hear is not None:
                hear(event)

        order = Order({}, "a.ipynb", "python3", ".", "root", "place", str(scratch), grace=0.3)
        return attempt(order, cancel or CancelToken(), limits, take), heard

    return executed


def past(notes: Path) -> Any:
    """What a second process was told of the dead one; None if there was none."""
    found = [json.loads(line) for line in notes.read_text().splitlines()]
    return found[1] if len(found) > 1 else None


OTHERS: list[psutil.Process] = []  # servers of other tests


@pytest.fixture(autouse=True)
def _others() -> None:
    OTHERS[:] = psutil.Process().children(recursive=True)


def here() -> list[psutil.Process]:
    """The processes that a test has started and not ended."""
    found = [one for one in psutil.Process().children(recursive=True) if one.status() != "zombie"]
    return [one for one in found if one not in OTHERS]


def test_it_is_heard_to_its_end(run: Attempt, notes: Path) -> None:
    outcome, heard = run(f"{CELL}tell('cell_ended', cell=1, state='done', seconds=1.0)\n{ENDS}")
    assert outcome == Outcome("succeeded")
    assert [event["event"] for event in heard if event["event"] != "nothing"] == ["cell_began", "cell_ended", "ended"]
    assert past(notes) is None and here() == []


def test_it_says_how_it_ended(run: Attempt) -> None:
    error = {"type": "ValueError", "message": "no", "cell": 2}
    outcome, _ = run(f"tell('ended', state='failed', reason='r', error={error!r})")
    assert outcome == Outcome("failed", "r", error)


def test_what_could_not_be_kept_is_noted(run: Attempt) -> None:
    _, heard = run("tell('ended', state='succeeded', not_kept='the folder is full')")
    assert heard[-1]["event"] == "note" and heard[-1]["text"] == "the folder is full"


def test_time_passes_while_nothing_is_told(run: Attempt) -> None:
    _, heard = run(f"time.sleep(0.4)\n{ENDS}")
    assert [event["event"] for event in heard].count("nothing") >= 3


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "the process that executed the notebook was killed (SIGKILL)"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "the process that executed the notebook was killed (SIGTERM)"),
        ("print('no JSON', flush=True)\ntime.sleep(60)", "the process that executed the notebook"),
    ],
)
def test_one_that_dies_is_finished_by_another(source: str, message: str, run: Attempt, notes: Path) -> None:
    shown = "tell('output', output={'name': 'x', 'value': 1})\n"
    outcome, _ = run(f"{CELL}tell('cell_ended', cell=1, state='done', seconds=1)\n{shown}{NEXT}{source}")
    assert (outcome.state, outcome.reason) == ("failed", "kernel_died")
    assert outcome.error and outcome.error["message"].startswith(message) and outcome.error["cell"] == 2
    told = past(notes)
    assert told["states"] == {"1": "done", "2": "running"} and told["outputs"] == {"x": {"name": "x", "value": 1}}
    assert {name: told[name] for name in ("state", "reason", "error")} == outcome.to_dict()
    assert here() == []


def test_its_kernel_ends_with_it(run: Attempt) -> None:
    # A kernel does not have the executor's own output, so its end is heard while the kernel lives.
    begun = "subprocess.Popen(['sleep', '60'], start_new_session=True, stdout=subprocess.DEVNULL)"
    starts = f"import subprocess\nkernel = {begun}\ntell('kernel', pid=kernel.pid)\n"
    kernels: list[int] = []
    began = time.monotonic()
    run(
        f"{starts}os.kill(os.getpid(), signal.SIGKILL)",
        hear=lambda event: kernels.append(event["pid"]) if event["event"] == "kernel" else None,
    )
    until(lambda: not psutil.pid_exists(kernels[0]) or psutil.Process(kernels[0]).status() == "zombie", 3)
    assert time.monotonic() - began < 30, "it did not end by itself"


def test_a_wish_is_passed_on_and_heard_of(run: Attempt, notes: Path) -> None:
    cancel = CancelToken()
    threading.Timer(0.3, cancel.cancel).start()
    outcome, _ = run(f"{CELL}wish = told()\ntell('ended', **wish)", cancel=cancel)
    assert outcome == Outcome("cancelled") and past(notes) is None


def test_the_reason_of_a_wish_is_passed_on(run: Attempt) -> None:
    cancel = CancelToken()
    cancel.cancel(FatalError("the worker's time is up"))
    outcome, _ = run("tell('ended', **told())", cancel=cancel)
    assert (outcome.state, outcome.reason) == ("failed", "timed_out")
    assert outcome.error and outcome.error["message"] == "the worker's time is up"


@pytest.mark.parametrize(
    ("limits", "message", "hint"),
    [
        (Limits(cell=0.3), "cell 1 took longer than 0.3 s", "Split the work, or give the job a greater cell_timeout"),
        (Limits(until=0.0, whole=5.0), "the notebook took longer than 5 s", "Split the work, or give the job a greater timeout"),
    ],
)  # fmt: skip
def test_time_is_up(limits: Limits, message: str, hint: str, run: Attempt) -> None:
    outcome, _ = run(f"{CELL}tell('ended', **told())", limits)
    assert (outcome.state, outcome.reason) == ("failed", "timed_out")
    assert outcome.error and (outcome.error["message"], outcome.error["hint"]) == (message, hint)


def test_the_time_of_a_cell_is_its_own(run: Attempt) -> None:
    cell = "tell('cell_began', cell={0})\ntime.sleep(0.3)\ntell('cell_ended', cell={0}, state='done', seconds=0.3)\n"
    outcome, _ = run("".join(map(cell.format, range(4))) + ENDS, Limits(cell=0.8))
    assert outcome.state == "succeeded"


def test_one_that_does_not_stop_is_killed_and_finished(run: Attempt, notes: Path) -> None:
    cancel = CancelToken()
    cancel.cancel()
    began = time.monotonic()
    outcome, _ = run(f"{CELL}signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)", cancel=cancel)
    assert outcome.state == "cancelled" and time.monotonic() - began < 10
    assert past(notes)["state"] == "cancelled" and here() == []


def test_ctrl_c_stops_it_and_a_second_does_not_wait(run: Attempt, notes: Path) -> None:
    cancel, left = CancelToken(), [1]

    def interrupted(event: Mapping[str, Any]) -> None:
        if event["event"] == "cell_began" or (event["event"] == "stopping" and left.pop()):
            raise KeyboardInterrupt

    began = time.monotonic()
    outcome, _ = run(f"{CELL}told()\ntell('stopping')\ntime.sleep(60)", cancel=cancel, hear=interrupted)
    assert outcome == Outcome("cancelled", "interrupted") and cancel.cancelled
    assert time.monotonic() - began < 10 and past(notes)["reason"] == "interrupted" and here() == []


def test_an_error_of_whoever_listens_ends_it(run: Attempt) -> None:
    def fails(event: Mapping[str, Any]) -> None:
        raise ValueError("the card")

    with pytest.raises(ValueError, match="the card"):
        run(f"{CELL}time.sleep(60)", hear=fails)
    assert here() == []


def test_the_scratch_folder_may_be_gone(run: Attempt, tmp_path: Path) -> None:
    outcome, _ = run("import shutil\nshutil.rmtree(os.path.dirname(sys.argv[0]) + '/scratch')\nsys.exit(1)")
    assert outcome.error and outcome.error["type"] == "ExecutionFailed" and (tmp_path / "scratch").is_dir()


def test_one_that_ends_by_itself_is_told_with_the_last_line_of_its_log(run: Attempt, notes: Path) -> None:
    outcome, _ = run(f"{CELL}print('first', file=sys.stderr)\nsys.exit('no module named x')")
    message = "the process that executes notebooks ended with 1: no module named x"
    assert (outcome.state, outcome.reason) == ("failed", None) and outcome.error is not None
    assert (outcome.error["type"], outcome.error["message"], outcome.error["cell"]) == ("ExecutionFailed", message, 1)
    assert outcome.error["traceback"].endswith("first\nno module named x")
    assert past(notes)["error"] == outcome.error


def test_a_fault_of_the_process_itself_is_told(run: Attempt) -> None:
    error = {"type": "ExecutionFailed", "message": "the notebook could not be executed: OSError: no", "hint": "Do"}
    outcome, _ = run(f"tell('crashed', error={error!r})\nsys.exit(1)")
    assert outcome == Outcome("failed", None, error)


def test_an_outcome_stays_when_its_artifacts_cannot_be_kept(run: Attempt, notes: Path) -> None:
    told = "tell('outcome', state='succeeded', reason=None, error=None)\n"
    outcome, heard = run(f"{told}os.kill(os.getpid(), signal.SIGKILL)")
    assert outcome == Outcome("succeeded") and past(notes)["state"] == "succeeded"
    assert heard[-1]["event"] == "note" and heard[-1]["text"].startswith("the artifacts could not be kept")


def test_a_cell_that_is_heard_of_late_began_when_it_did() -> None:
    heard = Heard()
    heard.take({"event": "cell_began", "cell": 1, "time": time.time() - 50})
    assert 49 < time.monotonic() - heard.began < 60


def test_what_is_heard_adds_up() -> None:
    heard = Heard()
    for event in (
        {"event": "kernel", "pid": 7},
        {"event": "cell_began", "cell": 3, "time": time.time()},
        {"event": "output", "output": {"name": "x", "value": 1}},
        {"event": "output", "output": {"name": "x", "value": 2}},
        {"event": "unheard of"},
    ):
        heard.take(event)
    assert (heard.kernel, heard.cell, heard.states, heard.outputs["x"]["value"]) == (7, 3, {3: "running"}, 2)
    heard.take({"event": "cell_ended", "cell": 3, "state": "done"})
    heard.take({"event": "ended", "state": "succeeded"})
    assert heard.cell is None and heard.states == {3: "done"} and heard.ended is not None
