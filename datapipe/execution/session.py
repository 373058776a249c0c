"""One execution: what has become of each cell so far, and of the kernel; what there is to tell of it, and to keep."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from datapipe.errors import DatapipeError
from datapipe.execution.kernels import KernelProcess
from datapipe.execution.replies import is_clean_exit, raised
from datapipe.execution.telling import Teller
from datapipe.notebooks.order import FOLDER, LOG, MIME, Order, Outcome

_INTERACTIVE = ("JPY_SESSION_NAME", "VSCODE_PID")  # signs of somebody who looks at the kernel


class Session:
    """What the engine tells its progress to; safe to be asked to stop from any thread.

    Parameters
    ----------
    order : Order
    tell : Teller
    save : callable
        Takes the notebook whenever it has changed.
    keep : callable
        Takes an output as a cell shows it, and gives it back as it may be told.
    """

    def __init__(
        self,
        order: Order,
        tell: Teller,
        save: Callable[[Any, Mapping[int, str]], None],
        keep: Callable[[Mapping[str, Any]], dict[str, Any]],
    ) -> None:
        self.order, self._tell, self._save, self._keep = order, tell, save, keep
        self.states: dict[int, str] = {}
        self.outputs: dict[str, Any] = {}
        self.notes: list[str] = []
        self.outcome: Outcome | None = None
        self.kernel: KernelProcess | None = None
        self._stop: Outcome | None = None
        self._cut_short = False  # whether a cell was interrupted
        self._current = 0
        self._began: dict[int, float] = {}
        self._sources: dict[int, str] = {}  # of the cells by their execution counts
        self._reply: Mapping[str, Any] = {}
        self._ended = threading.Event()

    # --- how the cells go -------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether no further cell is to be executed."""
        return self.outcome is not None or self._stop is not None

    def changed(self, nb: Any) -> None:
        """The notebook has changed."""
        self._save(nb, self.states)

    def cell_began(self, number: int) -> None:
        """A cell is about to be executed."""
        self.states[number], self._began[number], self._reply = "running", time.monotonic(), {}
        self._current = number
        self._tell("cell_began", cell=number)

    def replied(self, cell: Any, execute_reply: Mapping[str, Any], **_: Any) -> None:
        """The kernel has replied to a cell."""
        self._reply = execute_reply["content"]
        count = self._reply.get("execution_count")
        if count is not None:
            self._sources[int(count)] = cell.source
        self._tell("cell_replied", cell=self._current, count=count)

    def cell_done(self, number: int) -> None:
        """A cell has ended well, unless it was told to stop and has taken no notice."""
        self._end_cell(number, "failed" if self._cut_short else "done")
        if any(found.get("source") == "ask_exit" for found in self._reply.get("payload") or ()):
            self._end(Outcome("succeeded", f"the notebook ended itself in cell {number}"))

    def cell_raised(self, number: int) -> None:
        """A cell has raised an error."""
        if self._stop is None and is_clean_exit(self._reply.get("ename"), self._reply.get("evalue")):
            self._end_cell(number, "done")
            self._end(Outcome("succeeded", f"the notebook ended itself in cell {number}"))
            return
        self._end_cell(number, "failed")
        self._end(Outcome("failed", None, raised(self._reply, number, self._sources)))

    def displayed(self, data: Mapping[str, Any]) -> None:
        """A cell shows something."""
        if MIME not in data:
            return
        given = data[MIME]
        if not (isinstance(given, Mapping) and {"name", "shown"} <= set(given)):
            self._stop_for("it shows an output that datapipe.output has not made", "Call datapipe.output(name, value)")
            return
        try:
            found = self._keep(given)
        except (DatapipeError, OSError) as error:
            said = getattr(error, "message", None) or getattr(error, "strerror", None) or type(error).__name__
            hint = getattr(error, "hint", None) or "Check the place of the artifacts: DATAPIPE_ARTIFACTS_URL"
            self._stop_for(f"the output {given['name']!r} could not be kept: {said}", hint)
            return
        self.outputs[str(found["name"])] = found
        self._tell("output", output=found)

    def _stop_for(self, message: str, hint: str) -> None:
        self.stop(Outcome("failed", None, {"type": "OutputFailed", "message": message, "hint": hint}))

    def note(self, text: str) -> None:
        """Something to be known of the execution."""
        self.notes.append(text)
        self._tell("note", text=text)

    def _end_cell(self, number: int, state: str) -> None:
        self.states[number] = state
        self._tell("cell_ended", cell=number, state=state, seconds=time.monotonic() - self._began[number])

    def _end(self, outcome: Outcome) -> None:
        self.outcome = self.outcome or outcome

    # --- the kernel -------------------------------------------------------------------------------------------

    def kernel_environment(self) -> dict[str, str]:
        """What the kernel finds in its environment."""
        found = {name: value for name, value in os.environ.items() if name not in _INTERACTIVE}
        outputs = {FOLDER: str(Path(self.order.scratch, "outputs"))}
        return {**self.order.defaults, **found, **outputs, **self.order.environment}

    def launched(self, pid: int) -> None:
        """Its process is there."""
        self.kernel = KernelProcess(pid, self.order.memory)
        self._tell("kernel", pid=pid)

    def kernel_died(self, number: int, code: int | None) -> None:
        """It died while it executed a cell."""
        self._end_cell(number, "failed")
        self._end(self._death(code, cell=number))

    def not_started(self, error: Exception, code: int | None) -> None:
        """It could not be started, or died between two cells."""
        if self.is_over:
            return
        if self.kernel is None:
            hint = (
                "Install it, or name another one: notebook(…, kernel=…). jupyter kernelspec list shows those there are"
            )
            found = {
                "type": "PlanError",
                "message": f"the kernel {self.order.kernel!r} cannot be started",
                "hint": hint,
            }
            self._end(Outcome("failed", None, {**found, "traceback": f"{type(error).__name__}: {error}"}))
        elif not self.states:
            how = f"ended before the first cell, with exit code {code}"
            how = how if code is not None else f"did not answer within {self.order.start_timeout:g} s of its start"
            message = f"the kernel {self.order.kernel!r} {how}"
            self._end(Outcome("failed", None, {"type": "KernelDied", "message": message, "hint": self._log_hint()}))
        else:
            self._end(self._death(code, cell=None))

    def kernel_over(self) -> None:
        """Its processes are ended, whatever became of it."""
        self._ended.set()
        if self.kernel is not None:
            self.kernel.close()

    def _death(self, code: int | None, cell: int | None) -> Outcome:
        if self.kernel is None:
            return Outcome("failed", "kernel_died", {"type": "KernelDied", "message": "the kernel died"})
        death = self.kernel.death(code)
        hint = " ".join(filter(None, (death.hint, self._log_hint())))
        error = {"type": "KernelDied", "message": death.message, "hint": hint, "cell": cell, "code": code}
        return Outcome("failed", death.reason, error)

    def _log_hint(self) -> str:
        """Where to look, if the kernel has left something there."""
        log = Path(self.order.scratch, LOG)
        return f"See {LOG} among the artifacts" if log.is_file() and log.stat().st_size else ""

    # --- stopping ---------------------------------------------------------------------------------------------

    def stop(self, outcome: Outcome) -> None:
        """Stop in the way a notebook's user would, then harder; how it ends then. The first one to ask is heard."""
        if self.is_over:
            return
        self._stop, self._cut_short = outcome, "running" in self.states.values()
        self._tell("stopping", reason=outcome.reason)
        threading.Thread(target=self._stop_kernel, name="datapipe stop", daemon=True).start()

    def _stop_kernel(self) -> None:
        """Interrupt the cell; again, as the first may have come between two cells; then kill the kernel."""
        for _ in range(2):
            if self.kernel is not None:
                self.kernel.interrupt()
            if self._ended.wait(self.order.grace / 2):
                return
        self.note(f"the kernel did not stop within {self.order.grace:g} s and was killed")
        if self.kernel is not None:
            self.kernel.kill()
        else:
            os._exit(1)  # it is stuck before there is a kernel

    def result(self, cells: int) -> Outcome:
        """How it has ended, of a notebook with so many cells of code."""
        if self._stop is None:
            return self.outcome or Outcome("succeeded")
        if not self._cut_short and list(self.states.values()).count("done") == cells:
            return Outcome("succeeded", "it had ended before it could be stopped")
        where = next((number for number, state in self.states.items() if state == "failed"), None)
        error = self._stop.error
        return self._stop if error is None else Outcome(self._stop.state, self._stop.reason, {**error, "cell": where})
