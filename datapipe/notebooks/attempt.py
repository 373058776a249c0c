"""One execution of a notebook, in a process of its own: started, heard, stopped, and never left behind."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datapipe.data.cancel import CancelToken
from datapipe.notebooks.order import INTERRUPTED, LOG, Order, Outcome

_LOOK = 0.1  # seconds
_SAVING = 30.0  # seconds that it may take to keep the artifacts of a notebook that was stopped
_FINISHING = 120.0  # seconds for those of one whose process died
_COMMAND = (sys.executable, "-P", "-m", "datapipe.execution")
Hear = Callable[[Mapping[str, Any]], object]


@dataclass(frozen=True)
class Limits:
    """How long it may take: seconds for any one cell, and the time (of the monotonic clock) at which all must end."""

    cell: float | None = None
    until: float | None = None
    whole: float | None = None  # the seconds that ``until`` stands for, for people


@dataclass
class Heard:
    """What the process has told so far."""

    kernel: int | None = None
    states: dict[int, str] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    cell: int | None = None  # the one that is being executed
    began: float = 0.0  # of that cell
    ended: Mapping[str, Any] | None = None
    crashed: Outcome | None = None  # by a fault of the process itself

    def take(self, event: Mapping[str, Any]) -> None:
        """Take what it tells."""
        kind, cell = event["event"], event.get("cell")
        if kind == "kernel":
            self.kernel = int(event["pid"])
        elif kind == "cell_began":
            self.cell, self.began = cell, time.monotonic()
            self.states[int(event["cell"])] = "running"
        elif kind == "cell_ended":
            self.cell = None
            self.states[int(event["cell"])] = str(event["state"])
        elif kind == "output":
            self.outputs[str(event["output"]["name"])] = event["output"]
        elif kind == "ended":
            self.ended = event
        elif kind == "crashed":
            self.crashed = Outcome("failed", None, event["error"])


def attempt(order: Order, cancel: CancelToken, limits: Limits, hear: Hear) -> Outcome:
    """Execute a notebook as ordered, and wait; it has ended then, with its kernel.

    Parameters
    ----------
    cancel : CancelToken
        Stops it: the kernel is interrupted, and killed if that does not help; what there is is kept.
    hear : callable
        Gets what the process tells, as it comes.
    """
    child, heard = _Child(), Heard()
    try:
        child.start(order)
        _attend(child, heard, order, cancel, limits, hear)
    finally:
        child.end(None if heard.ended is not None else heard.kernel)
    if heard.ended is not None:
        if heard.ended.get("not_kept"):
            hear({"event": "note", "text": heard.ended["not_kept"], "time": time.time()})
        return Outcome(heard.ended["state"], heard.ended.get("reason"), heard.ended.get("error"))
    outcome = child.stopped or heard.crashed or _died(child.code)
    outcome, not_kept = _finished(order, heard, outcome)
    if not_kept:
        hear({"event": "note", "text": not_kept, "time": time.time()})
    return outcome


def _attend(child: _Child, heard: Heard, order: Order, cancel: CancelToken, limits: Limits, hear: Hear) -> None:
    """Hear it to its end; Ctrl-C stops it, a second one does not wait."""
    give_up = None
    while True:
        try:
            event = child.next()
            if event is not None:
                heard.take(event)
            hear(event or {"event": "nothing", "time": time.time()})
            if child.over or heard.ended is not None:
                return
            wish = child.stopped or _wish(heard, cancel, limits)
            if wish is not None and child.stopped is None:
                child.stop(wish)
                give_up = time.monotonic() + order.grace + _SAVING
            if give_up is not None and time.monotonic() > give_up:
                return
        except KeyboardInterrupt:
            if child.stopped is not None:
                return
            child.stop(Outcome("cancelled", INTERRUPTED))
            give_up = time.monotonic() + order.grace + _SAVING
            cancel.cancel()


def _wish(heard: Heard, cancel: CancelToken, limits: Limits) -> Outcome | None:
    """Why it is to be stopped, if it is."""
    now = time.monotonic()
    if cancel.cancelled:
        reason = cancel.reason
        if reason is None:
            return Outcome("cancelled")
        return Outcome("failed", "timed_out", {**reason.to_dict(), "type": type(reason).__name__})
    if limits.until is not None and now > limits.until:
        return _timed_out(f"the notebook took longer than {limits.whole:g} s", "timeout")
    if limits.cell is not None and heard.cell is not None and now - heard.began > limits.cell:
        return _timed_out(f"cell {heard.cell} took longer than {limits.cell:g} s", "cell_timeout")
    return None


def _timed_out(message: str, name: str) -> Outcome:
    hint = f"Split the work, or give the job a greater {name}"
    return Outcome("failed", "timed_out", {"type": "TimedOut", "message": message, "hint": hint})


def _died(code: int | None) -> Outcome:
    how = f"was killed ({signal.Signals(-code).name})" if code is not None and code < 0 else f"ended with {code}"
    hint = "Somebody killed it, or the system was out of memory: the system's log tells"
    error = {"type": "KernelDied", "message": f"the process that executed the notebook {how}", "hint": hint}
    return Outcome("failed", "kernel_died", error)


def _finished(order: Order, heard: Heard, outcome: Outcome) -> tuple[Outcome, str | None]:
    """Have another process keep what the dead one left; why that is not kept, if it is not."""
    where = next((number for number, state in heard.states.items() if state == "running"), None)
    if outcome.error is not None and where is not None:
        outcome = Outcome(outcome.state, outcome.reason, {**outcome.error, "cell": where})
    past = {**outcome.to_dict(), "states": heard.states, "outputs": heard.outputs}
    try:
        Path(order.scratch).mkdir(mode=0o700, exist_ok=True)
        text = json.dumps({"order": vars(order), "past": past})
        done = subprocess.run(  # noqa: S603  # our own program, no shell
            _COMMAND, input=text + "\n", text=True, capture_output=True, timeout=_FINISHING, check=True
        )
        told = json.loads(done.stdout.splitlines()[-1])
        return outcome, told.get("not_kept")
    except (OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
        return outcome, f"the artifacts could not be kept: {type(error).__name__}"


class _Child:
    """The process, in a session of its own: Ctrl-C in our terminal does not reach it, we do."""

    def __init__(self) -> None:
        self.stopped: Outcome | None = None
        self.over = False
        self._events: queue.Queue[Mapping[str, Any] | None] = queue.Queue()
        self._process: subprocess.Popen[str] | None = None

    def start(self, order: Order) -> None:
        """Start it, and give it its order."""
        with Path(order.scratch, LOG).open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own program, no shell
                _COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )
        self._send({"order": vars(order)})
        threading.Thread(target=self._hear, name="datapipe notebook", daemon=True).start()

    def next(self) -> Mapping[str, Any] | None:
        """What it tells next, if it does so soon."""
        try:
            event = self._events.get(timeout=_LOOK)
        except queue.Empty:
            return None
        self.over = event is None
        return event

    def stop(self, outcome: Outcome) -> None:
        """Tell it to stop; how it ends then."""
        self.stopped = outcome
        self._send(outcome.to_dict())

    @property
    def code(self) -> int | None:
        """Its exit code."""
        return None if self._process is None else self._process.poll()

    def end(self, kernel: int | None) -> None:
        """End it and its kernel, whatever they do."""
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_SAVING if self.over else 1.0)
        for group in (self._process.pid, kernel):
            if group is not None and (group == kernel or self._process.poll() is None):
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _send(self, found: Mapping[str, Any]) -> None:
        assert self._process is not None and self._process.stdin is not None  # noqa: S101  # it has started, with a pipe
        with suppress(OSError, ValueError):  # it may be gone
            self._process.stdin.write(json.dumps(found) + "\n")
            self._process.stdin.flush()

    def _hear(self) -> None:
        assert self._process is not None and self._process.stdout is not None  # noqa: S101  # as above
        with suppress(OSError, ValueError):
            for line in self._process.stdout:
                self._events.put(json.loads(line))
        self._events.put(None)
