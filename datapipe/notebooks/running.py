"""One run of a notebook, from its key to its result: attempts, retries, its record, and what its card shows."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import tenacity

from datapipe.data.cancel import CancelToken
from datapipe.display import RunView, kept_pace, view_of_row
from datapipe.engine import CellResult, FrameOutput, NotebookResult, Record, policy, told
from datapipe.errors import DatapipeError, Interrupted, PlanError, RunCancelled, TransientError
from datapipe.notebooks import following
from datapipe.notebooks.artifacts import Artifacts, artifacts_of, artifacts_root, sweep
from datapipe.notebooks.attempt import Limits, attempt
from datapipe.notebooks.environs import lasting
from datapipe.notebooks.failures import failure, may_pass, problem, sentence
from datapipe.notebooks.keys import claimed
from datapipe.notebooks.order import Order, Outcome
from datapipe.notebooks.prepared import Prepared
from datapipe.plan.values import decode, thawed
from datapipe.settings import data_home, environment, settings
from datapipe.store import NOT_AWAITED, Note, RunStore, StepRow
from datapipe.surroundings import via

_CHILDREN = 0.5  # seconds between two looks at the runs inside
Show = Callable[[RunView], object]


@dataclasses.dataclass(frozen=True)
class JobOptions:
    """How to run a job; nothing here changes its result.

    Parameters
    ----------
    idempotency_key : str, optional
        Runs with one key take effect once.
    if_running : {"wait", "fail", "skip"}
        What to do while another run has the key.
    cancel : CancelToken
        Stops the run, from any thread.
    """

    run_id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    correlation_id: str | None = None
    parent_run_id: str | None = None
    idempotency_key: str | None = None
    if_running: Literal["wait", "fail", "skip"] = "wait"
    cancel: CancelToken = dataclasses.field(default_factory=CancelToken)


def described_job(job: Prepared, options: JobOptions) -> dict[str, Any]:
    """The columns of the run store that say what a run is about."""
    steps = following.first_view("", "", "", job.executed).steps
    return {
        "kind": "notebook",
        "name": job.plan.title,
        "fingerprint": job.fingerprint,
        "correlation_id": options.correlation_id or options.run_id,
        "parent_run_id": options.parent_run_id,
        "source": job.plan.notebook.path,
        "document": job.portable().to_json(),
        "outline": [[step.verb, step.what, step.where] for step in steps],
        "via": via(),
    }


class JobRun:
    """A run that has begun.

    Parameters
    ----------
    store : RunStore, optional
        Where it is recorded.
    record : Record, optional
        Its record there.
    show : callable
        Gets each view of it.
    """

    def __init__(
        self, job: Prepared, options: JobOptions, store: RunStore | None, record: Record | None, show: Show
    ) -> None:
        self._job, self._options, self._store, self._record, self._show = job, options, store, record, show
        self._clock = time.monotonic()
        self._started = dt.datetime.now(dt.UTC)
        self._attempts = self._number = 0
        self._looked = 0.0
        self._artifacts: Artifacts | None = None
        self._outputs: dict[str, Any] = {}
        self.view = following.first_view(job.plan.title, job.plan.notebook.path, options.run_id, job.executed)

    def finish(self) -> NotebookResult:
        """Run it to its end, and record that.

        Raises
        ------
        DatapipeError
            If it fails, with ``result``.
        """
        if self._record is not None:
            self._record.start()
        try:
            result, outcome, error = self._run()
        except BaseException as raised:  # such as a second Ctrl-C
            self._end(None, _outcome_of(raised))
            raise
        result = self._end(result, outcome)
        if error is None:
            return result
        error.result = result
        raise error

    def _run(self) -> tuple[NotebookResult, Outcome, DatapipeError | Interrupted | None]:
        try:
            with claimed(self._store, self._job.fingerprint, self._options) as earlier:
                if earlier is not None:
                    return earlier, Outcome(earlier.state), None
                outcome = self._attempted()
        except DatapipeError as error:  # before anything was executed
            outcome = _outcome_of(error)
            return self._result(outcome), outcome, error
        self._sweep()
        return self._result(outcome), outcome, failure(outcome, self._sentence(outcome))

    # --- attempts ---------------------------------------------------------------------------------------------

    def _attempted(self) -> Outcome:
        """Every attempt, one after the other; each executes the notebook from its first cell."""
        retries = self._job.plan.notebook.retries
        passing = tenacity.retry_if_result(lambda found: may_pass(found) and not self._options.cancel.cancelled)
        found = policy(max_retries=retries)
        retrying = tenacity.Retrying(
            stop=found["stop"],
            wait=found["wait"],
            retry=passing,
            sleep=self._pause,
            before_sleep=self._tell_again,
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        outcome: Outcome = retrying(self._attempt)
        return outcome

    def _attempt(self) -> Outcome:
        if self._options.cancel.cancelled:
            return Outcome("cancelled")
        self._attempts += 1
        self._outputs = {}
        if self._attempts > 1:
            self.view = following.begun_again(self.view, self._attempts)
            self._restart_steps()
        spec = self._job.plan.notebook
        root = artifacts_root(spec.artifacts)
        self._artifacts = self._next_artifacts(root)
        until = None if spec.timeout is None else self._clock + spec.timeout
        scratch = tempfile.mkdtemp(prefix="datapipe-notebook-")
        try:
            order = self._order(root, scratch)
            return attempt(order, self._options.cancel, Limits(spec.cell_timeout, until, spec.timeout), self._hear)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _next_artifacts(self, root: str) -> Artifacts:
        """The place of the next attempt: another worker may have begun some before its process died."""
        while True:
            self._number += 1
            found = artifacts_of(root, self._job.plan.title, self._options.run_id, self._number, self._started.date())
            if not found.names():
                return found

    def _order(self, root: str, scratch: str) -> Order:
        job, options = self._job, self._options
        correlation = options.correlation_id or options.run_id
        about = {
            "run_id": options.run_id,
            "correlation_id": correlation,
            "attempt": self._number,
            "name": job.plan.title,
            "notebook": job.plan.notebook.path,
            "hash": job.notebook.hash,
            "started": self._started.isoformat(timespec="milliseconds"),
        }
        inside = {
            **lasting(environment(), Path.cwd()),
            "DATAPIPE_HOME": str(data_home()),
            "DATAPIPE_PARENT_RUN_ID": options.run_id,
            "DATAPIPE_CORRELATION_ID": correlation,
            "DATAPIPE_JOB_KEY": options.idempotency_key or options.run_id,
        }
        return Order(
            notebook=job.executed.content,
            path=job.plan.notebook.path,
            kernel=job.kernel,
            folder=str(job.folder),
            root=root,
            place=self._artifacts.path if self._artifacts else "",
            scratch=scratch,
            parameters=job.values,
            secrets=job.secrets,
            defaults={name: value for name, value in environment().items() if name not in os.environ},
            environment=inside,
            about=about,
            memory=job.plan.notebook.memory_limit,
        )

    def _pause(self, seconds: float) -> None:
        self._options.cancel.wait(seconds)

    def _tell_again(self, state: tenacity.RetryCallState) -> None:
        outcome = state.outcome.result() if state.outcome else None
        why = self._sentence(outcome) if outcome else ""
        self._say("attempt_failed", f"{why}; trying again in {state.upcoming_sleep:.1f} s")

    # --- what is heard ----------------------------------------------------------------------------------------

    def _hear(self, event: Mapping[str, Any]) -> None:
        """Take what the process tells, or that some time has passed."""
        kind = event["event"]
        self.view = following.followed(self.view, event, time.monotonic() - self._clock)
        if kind == "output":
            self._outputs[str(event["output"]["name"])] = event["output"]
        if kind == "note":
            self._note(str(event["text"]))
        if kind in {"cell_began", "cell_ended"} and self._record is not None:
            seconds = event.get("seconds")
            self._record.step(f"cell {event['cell']}", lambda known: _cell(known, seconds))
        self._look_inside()
        self._show(self.view)

    def _look_inside(self, *, now: bool = False) -> None:
        """See how the runs of plans inside are going."""
        if self._store is None or not (now or time.monotonic() - self._looked > _CHILDREN):
            return
        self._looked = time.monotonic()
        with suppress(TransientError):
            rows = self._store.children(self._options.run_id)
            inside = kept_pace(self.view.children, [view_of_row(row) for row in rows])
            self.view = dataclasses.replace(self.view, children=inside)

    def _say(self, kind: str, text: str) -> None:
        self.view = following.noted(self.view, text, time.time())
        self._note(text, kind)
        self._show(self.view)

    def _note(self, text: str, kind: str = "notice") -> None:
        if self._record is not None:
            self._record.say(Note(kind, text))

    def _restart_steps(self) -> None:
        if self._record is not None:
            for step in self.view.steps:
                self._record.step(step.name, lambda known: StepRow(known.number, known.name))

    # --- the end ----------------------------------------------------------------------------------------------

    def _result(self, outcome: Outcome) -> NotebookResult:
        self._look_inside(now=True)
        cells = tuple(
            CellResult(int(step.name.split()[1]), step.what, _state(step.state), step.seconds, _count(step.where))
            for step in following.ended(self.view, None, outcome).steps
        )
        job, options = self._job, self._options
        return NotebookResult(
            run_id=options.run_id,
            correlation_id=options.correlation_id or options.run_id,
            state=outcome.state,
            notebook=job.plan.notebook.path,
            name=job.plan.title,
            reason=outcome.reason,
            parameters=dict(job.values),
            outputs={name: _value(found) for name, found in self._outputs.items()},
            cells=cells,
            pipelines=tuple(child.id for child in self.view.children),
            artifacts=self._artifacts.label if self._artifacts else "",
            hash=job.notebook.hash,
            seconds=time.monotonic() - self._clock,
            started=self._started.isoformat(timespec="milliseconds"),
            attempts=max(1, self._attempts),
            error=self._sentence(outcome) if outcome.error else None,
            notices=(*map(str, job.warnings), *(note.text for note in self.view.notes)),
        )

    def _sentence(self, outcome: Outcome) -> str:
        name = (problem(outcome) or {}).get("step")
        return sentence(outcome, next((step.what for step in self.view.steps if step.name == name), ""))

    def _sweep(self) -> None:
        found = settings()
        with suppress(DatapipeError, OSError):  # what is not removed now is removed after the next run
            root = artifacts_root(self._job.plan.notebook.artifacts)
            sweep(root, self._job.plan.title, days=found.artifacts_days, runs=found.artifacts_runs)

    def _end(self, result: NotebookResult | None, outcome: Outcome) -> NotebookResult:
        """Show and record how it ended."""
        self.view = following.ended(self.view, result, outcome)
        self._show(self.view)
        if self._record is not None:
            steps = [
                StepRow(number, step.name, None, int(step.state != "waiting"), 0, None, step.seconds, 0, step.busy)
                for number, step in enumerate(self.view.steps)
            ]
            found: dict[str, Any] = {"state": outcome.state, "reason": outcome.reason, "error": problem(outcome)}
            found |= {"result": result.to_dict() if result is not None else None, "attempts": max(1, self._attempts)}
            if result is not None and result.replayed:
                steps, found["reason"] = [], f"run {result.run_id} had done it"
            found["outline"] = [[step.verb, step.what, step.where] for step in self.view.steps]
            self._record.end(steps, None, **found)
        return dataclasses.replace(result, view=self.view) if result is not None else self._result(outcome)


def _outcome_of(error: BaseException) -> Outcome:
    """How a run ends with an error of ours, or an interrupt."""
    if isinstance(error, (KeyboardInterrupt, RunCancelled)):
        return Outcome("cancelled", NOT_AWAITED if isinstance(error, KeyboardInterrupt) else None)
    return Outcome("failed", None, told(error))


def _cell(known: StepRow, seconds: float | None) -> StepRow:
    """A cell that has begun, which its one row tells; or ended, after so many seconds."""
    return dataclasses.replace(known, rows_in=1, seconds=seconds, busy=seconds)


def _state(state: str) -> str:
    """What a result says of a cell that a card says is running or was stopped."""
    return state if state in {"done", "failed"} else "waiting"


def _count(where: str) -> int | None:
    return int(where[3:-1]) if where.startswith("In[") else None


def _value(found: Mapping[str, Any]) -> Any:
    """An output from what the kernel has shown."""
    if "columns" not in found:
        try:
            return thawed(decode(found.get("value")))
        except PlanError:  # of another version of datapipe: as JSON has it
            return found.get("value")
    names = ("rows", "bytes", "columns", "sha256")
    return FrameOutput(str(found.get("uri", "")), **{name: found.get(name) for name in names})  # type: ignore[arg-type]  # the kernel has given them all
