"""One run of a notebook, from its key to its result: attempts, retries, its record, and what its card shows."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Literal

import tenacity

from datapipe.data.cancel import CancelToken
from datapipe.display import RunView
from datapipe.engine import CellResult, FrameOutput, Inside, NotebookResult, Record, policy, told
from datapipe.errors import DatapipeError, Interrupted, PlanError, RunCancelled
from datapipe.logs import logger, of_run
from datapipe.notebooks import following
from datapipe.notebooks.artifacts import Artifacts, artifacts_of, artifacts_root, sweep
from datapipe.notebooks.attempt import Limits, attempt
from datapipe.notebooks.failures import failure, may_pass, problem, sentence
from datapipe.notebooks.joblog import log_attempt, log_end, log_event, log_notice, log_start
from datapipe.notebooks.keys import claimed
from datapipe.notebooks.order import Outcome
from datapipe.notebooks.orders import order_for, scratch_folder
from datapipe.notebooks.prepared import Prepared
from datapipe.plan.values import decode, thawed
from datapipe.settings import settings
from datapipe.store import NOT_AWAITED, Note, RunRow, RunStore, StepRow
from datapipe.surroundings import via

_LOG = logger("datapipe.notebooks")
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
    row : RunRow, optional
        What is known of it, if other processes may have begun it before.
    """

    def __init__(
        self,
        job: Prepared,
        options: JobOptions,
        store: RunStore | None,
        record: Record | None,
        show: Show,
        row: RunRow | None = None,
    ) -> None:
        self._job, self._options, self._store, self._record, self._shows = job, options, store, record, show
        self._clock = time.monotonic()
        self._started = dt.datetime.now(dt.UTC)
        self._first = dt.datetime.fromisoformat(row.created) if row is not None else self._started
        self._before = row.attempts if row is not None else 0  # attempts of other processes
        self._begun_before = row is not None and bool(row.steps)
        self._attempts = self._number = 0
        self._last: Outcome | None = None  # of an attempt
        self._inside = Inside(store, options.run_id)
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
        options = self._options
        with of_run(options.run_id, options.correlation_id or options.run_id, options.parent_run_id):
            return self._finish()

    def _finish(self) -> NotebookResult:
        log_start(self._job.plan.notebook.path, self._job.plan.title)
        if self._record is not None:
            self._record.start()
        self._inside.start()
        try:
            result, outcome, error = self._run()
        except BaseException as raised:  # such as a second Ctrl-C
            self._end(None, _outcome_of(raised))
            raise
        finally:
            self._inside.stop()
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
        found = policy(max_retries=retries, budget=math.inf)  # the job's own timeout bounds it
        retrying = tenacity.Retrying(
            stop=found["stop"],
            wait=found["wait"],
            retry=tenacity.retry_if_result(self._is_tried_again),
            sleep=self._pause,
            before_sleep=self._tell_again,
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        outcome: Outcome = retrying(self._attempt)
        return outcome

    def _is_tried_again(self, outcome: Outcome) -> bool:
        """Whether there is another attempt: after a load, code around it may not stand to be run twice."""
        self._last = outcome
        if not may_pass(outcome) or self._options.cancel.cancelled or self._left <= 0:
            return False
        if self._job.plan.notebook.retries is None and self._inside.loaded():
            self._say("notice", "a pipeline inside had ended, so it was not tried again: retries= says that it may be")
            return False
        return True

    def _attempt(self) -> Outcome:
        if self._options.cancel.cancelled:
            return Outcome("cancelled")
        if self._last is not None and self._left <= 0:
            return self._last
        self._attempts += 1
        self._outputs = {}
        if self._attempts > 1:
            self.view = following.begun_again(self.view, self._before + self._attempts)
        if self._record is not None and (self._attempts > 1 or self._begun_before):
            for step in self.view.steps:
                self._record.step(step.name, lambda known: StepRow(known.number, known.name))
        spec, options = self._job.plan.notebook, self._options
        self._artifacts = self._next_artifacts(artifacts_root(spec.artifacts))
        until = None if spec.timeout is None else self._clock + spec.timeout
        with scratch_folder() as scratch:
            order = order_for(
                self._job,
                self._artifacts,
                scratch,
                run_id=options.run_id,
                correlation_id=options.correlation_id or options.run_id,
                key=options.idempotency_key or options.run_id,
                attempt=self._number,
            )
            return attempt(order, options.cancel, Limits(spec.cell_timeout, until, spec.timeout), self._hear)

    def _next_artifacts(self, root: str) -> Artifacts:
        """The place of the next attempt: another worker may have begun some before its process died."""
        while True:
            self._number += 1
            found = artifacts_of(root, self._job.plan.title, self._options.run_id, self._number, self._first.date())
            if not found.names():
                return found

    @property
    def _left(self) -> float:
        """Seconds until all of it must have ended."""
        timeout = self._job.plan.notebook.timeout
        return math.inf if timeout is None else self._clock + timeout - time.monotonic()

    def _pause(self, seconds: float) -> None:
        self._options.cancel.wait(min(seconds, max(0.0, self._left)))

    def _tell_again(self, state: tenacity.RetryCallState) -> None:
        outcome = state.outcome.result() if state.outcome else None
        why = self._sentence(outcome) if outcome else ""
        self._say("attempt_failed", f"{why}; trying again in {state.upcoming_sleep:.1f} s")
        if outcome:
            log_attempt(outcome, state.upcoming_sleep)

    # --- what is heard ----------------------------------------------------------------------------------------

    def _hear(self, event: Mapping[str, Any]) -> None:
        """Take what the process tells, or that some time has passed."""
        kind = event["event"]
        log_event(event)
        self.view = following.followed(self.view, event, time.monotonic() - self._clock)
        if kind == "output":
            self._outputs[str(event["output"]["name"])] = event["output"]
        if kind == "note":
            self._note(str(event["text"]))
        if kind in {"cell_began", "cell_ended"} and self._record is not None:
            seconds = event.get("seconds")
            self._record.step(f"cell {event['cell']}", lambda known: _cell(known, seconds))
        self.view = dataclasses.replace(self.view, children=self._inside.views)
        self._show()

    def _show(self) -> None:
        """Show how it is; what cannot be shown goes on all the same."""
        try:
            self._shows(self.view)
        except Exception:  # noqa: BLE001  # as above
            self._shows = lambda _: None
            _LOG.exception("the card of run %s failed", self._options.run_id)

    def _say(self, kind: str, text: str) -> None:
        self.view = following.noted(self.view, text, time.time())
        self._note(text, kind)
        self._show()

    def _note(self, text: str, kind: str = "notice") -> None:
        if kind == "notice":
            log_notice(text)
        if self._record is not None:
            self._record.say(Note(kind, text))

    # --- the end ----------------------------------------------------------------------------------------------

    def _result(self, outcome: Outcome) -> NotebookResult:
        self.view = dataclasses.replace(self.view, children=self._inside.stop())
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
            attempts=self._before + max(1, self._attempts),
            error=self._sentence(outcome) if outcome.error else None,
            notices=(*map(str, job.warnings), *(note.text for note in self.view.notes), *self._not_loaded_again()),
        )

    def _not_loaded_again(self) -> Iterator[str]:
        for row in self._inside.replayed:
            earlier = str((row.result or {}).get("run_id", ""))[:8]
            yield f"{row.name or row.target} had been loaded before, by run {earlier}, and was not loaded again"

    def _sentence(self, outcome: Outcome) -> str:
        name = (problem(outcome) or {}).get("step")
        return sentence(outcome, next((step.what for step in self.view.steps if step.name == name), ""))

    def _sweep(self) -> None:
        found = settings()
        with suppress(DatapipeError, OSError):  # what is not removed now is removed after the next run
            root = artifacts_root(self._job.plan.notebook.artifacts)
            sweep(root, self._job.plan.title, days=found.artifacts_days, runs=found.artifacts_runs)

    def _end(self, result: NotebookResult | None, outcome: Outcome) -> NotebookResult:
        """Record, log and show how it ended."""
        log_end(outcome, time.monotonic() - self._clock)
        self.view = following.ended(self.view, result, outcome)
        if self._record is not None:
            steps = [
                StepRow(number, step.name, None, int(step.state != "waiting"), 0, None, step.seconds, 0, step.busy)
                for number, step in enumerate(self.view.steps)
            ]
            found: dict[str, Any] = {"state": outcome.state, "reason": outcome.reason, "error": problem(outcome)}
            found |= {
                "result": result.to_dict() if result is not None else None,
                "attempts": self._before + max(1, self._attempts),
            }
            if result is not None and result.replayed:
                steps, found["reason"] = [], f"run {result.run_id} had done it"
            found["outline"] = [[step.verb, step.what, step.where] for step in self.view.steps]
            self._record.end(steps, None, **found)
        self._show()
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
