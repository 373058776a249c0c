"""Runs that are, and were: a list of them, and a handle on one, from any process."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from datapipe.display import (
    RunView,
    headline,
    paced,
    run_card,
    run_card_text,
    view_of_row,
)
from datapipe.errors import (
    LOADED_STAYS,
    DatapipeError,
    FatalError,
    NotebookError,
    PlanError,
    RunCancelled,
    TransientError,
    from_dict,
)
from datapipe.hosts import host
from datapipe.plan import Plan, document
from datapipe.showing import Show, form, shown
from datapipe.store import LogRow, RunRow, RunStore, StepRow, open_store

if TYPE_CHECKING:  # load pyarrow and more, which a look at a run does without
    import pandas as pd

    from datapipe.engine import Inside, NotebookResult, RunResult

_POLL = 0.25  # seconds
_LOG = 1.0  # seconds between two looks at a log
_PREFIX = 4  # characters of an id, at least
_DOUBT = 3.0  # seconds in which a lost run may be heard of again


def attach(run_id: str) -> Run:
    """A handle on a run of this process or any other.

    Parameters
    ----------
    run_id : str
        A run's id, or as much of its beginning as no other has, such as the eight characters a card shows; or a
        pipeline's id, for its latest run.

    Raises
    ------
    PlanError
        If there is none, or there are several.

    Examples
    --------
    >>> attach("nobody")  # doctest: +SKIP
    Traceback (most recent call last):
    datapipe.errors.PlanError: no run has the id 'nobody'. datapipe runs lists those there are
    """
    store = store_of_runs()
    try:
        return Run(store.run(run_id).id, store)
    except PlanError:
        latest_of, found = store.of_pipeline(run_id), store.beginning(run_id) if len(run_id) >= _PREFIX else []
        if latest_of is None and len(found) > 1:
            raise PlanError(f"several runs have an id that begins with {run_id!r}", hint="Give more of it") from None
        if latest_of is None and not found:
            raise
        return Run(latest_of.id if latest_of is not None else found[0], store)


class Run:
    """One run, as the run store knows it; every look is a fresh one.

    Parameters
    ----------
    run_id : str
    store : RunStore, optional
        The one of the environment, if left out.
    """

    def __init__(self, run_id: str, store: RunStore | None = None) -> None:
        self.id = run_id
        self.store = store or store_of_runs()

    @property
    def row(self) -> RunRow:
        """Everything that is known of it."""
        with suppress(TransientError):  # somebody else may write
            self.store.find_lost()
        return self.store.run(self.id)

    @property
    def status(self) -> str:
        """``queued``, ``running``, ``succeeded``, ``failed``, ``cancelled``, ``skipped`` or ``lost``."""
        return self.row.state

    @property
    def progress(self) -> tuple[StepRow, ...]:
        """How far each step is."""
        return self.row.steps

    def ahead(self) -> int:
        """How many runs wait before it in its queue."""
        return self.store.ahead(self.id)

    def children(self) -> list[RunRow]:
        """The runs that it has begun itself: those of the plans in a notebook."""
        return self.store.children(self.id)

    def logs(self) -> list[LogRow]:
        """What it had to say: notes and failed attempts."""
        return self.store.logs(self.id)

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most.

        Returns
        -------
        RunResult, or NotebookResult for a run of a notebook

        Raises
        ------
        DatapipeError
            The run's own error, if it failed; RunCancelled, if it was cancelled.
        TransientError
            If it has not ended in time.
        FatalError
            If it is lost.
        """
        row = self._wait(timeout)
        if row.state == "failed":
            raise _error_of(row)
        if row.state == "cancelled":
            if row.kind == "notebook":
                raise _with_result(RunCancelled("the run was cancelled", hint=LOADED_STAYS), row)
            earlier = "An attempt whose process died may have taken effect: the ledger beside the data knows"
            raise RunCancelled("the run was cancelled", hint=earlier if row.losses else "The target is unchanged")
        if row.state == "lost":
            raise FatalError(
                f"run {self.id} is lost: {row.reason}",
                hint="Look for its process; whether its rows are there, the ledger beside them knows",
            )
        return _result_of(row)

    @property
    def view(self) -> RunView:
        """What its card shows."""
        return _Viewer(self)(self.row)

    def watch(self, timeout: float | None = None) -> str:
        """Show how it goes, in the notebook or the terminal, until it ends; its last state.

        To interrupt this does not stop the run: the card says so, and the state is that of the moment.

        Raises
        ------
        TransientError
            If it has not ended in time.
        """
        viewer, row = _Viewer(self), self.row
        with shown(viewer(row), self.cancel) as show:
            try:
                row = self._wait(timeout, lambda found: show(viewer(found)))
            except KeyboardInterrupt:
                row = self.row
                show(dataclasses.replace(viewer(row), reason="no longer watched; the run itself goes on"))
        return row.state

    def follow(self, tell: Callable[[RunRow], object], timeout: float | None = None) -> RunRow:
        """Tell what is known of it, a few times a second, until it ends; how it ended.

        Raises
        ------
        TransientError
            If it has not ended in time.
        """
        return self._wait(timeout, tell)

    def watch_behind(self) -> None:
        """Show how it goes in this cell, while other cells run."""
        if form() not in {"widget", "html"}:
            return
        viewer = _Viewer(self)
        with ExitStack() as stack:
            show = stack.enter_context(shown(viewer(self.row), self.cancel))
            left = stack.pop_all()
        threading.Thread(target=self._show_to_end, args=(left, viewer, show), daemon=True).start()

    def _show_to_end(self, left: ExitStack, viewer: _Viewer, show: Show) -> None:
        with left, suppress(DatapipeError):
            while True:
                with suppress(TransientError):  # a store that is away comes again, and the run goes on meanwhile
                    self._wait(None, lambda found: show(viewer(found)))
                    return
                time.sleep(_LOG)

    def cancel(self) -> bool:
        """Ask it to stop; whether it had not ended yet. It stops within about a second."""
        return self.store.cancel(self.id)

    def retry(self) -> Run:
        """Put a run that failed, was cancelled or is lost into its queue again, under the same id; itself.

        A load that took effect all the same is not done twice: the ledger knows the id.

        Raises
        ------
        PlanError
            If it has not failed, or was never sent to workers.
        """
        host("queue").retry(self.id)
        return self

    def rejects(self, plan: Any = None) -> pd.DataFrame:
        """The rows that its validations have kept aside, as :func:`datapipe.quarantine.rejects` gives them.

        Parameters
        ----------
        plan : Pipeline, optional
            The plan it ran, if that held a frame or a function of its process alone.

        Raises
        ------
        PlanError
            If the plan is needed, or writes to no table.
        """
        from datapipe.quarantine import rejects

        return rejects(self._plan(plan), self.id)

    def replay_rejects(self, plan: Any = None, *, step: str | None = None) -> RunResult:
        """Run its rejected rows again, from the validation that rejected them to the target, each exactly once.

        Parameters
        ----------
        plan : Pipeline, optional
            A corrected plan; the one it ran, with its functions as they are now, if left out.
        step : str, optional
            Which validation's rows, if several have rejected some.

        Raises
        ------
        PlanError
            If there are none, or the plan is needed.
        StaleRun
            If another run has brought them in, or has replaced the table.
        """
        from datapipe.quarantine import replay

        return replay(self._plan(plan), self.id, step)

    def _plan(self, given: Any) -> Plan:
        if given is not None:
            found: Plan = getattr(given, "plan", given)
            return found
        row: RunRow | None = self.row
        while row is not None:  # the run of a replay has its plan from the run that rejected the rows
            if row.document:
                return document.loads(row.document)
            row = self.store.run(row.parent_run_id) if row.parent_run_id else None
        raise PlanError("the run's plan holds what only its process had", hint="Give it: rejects(plan)")

    def _wait(self, timeout: float | None, show: Any = lambda _: None) -> RunRow:
        began, lost, asked = time.monotonic(), None, time.monotonic()
        while True:
            row = self.row
            show(row)
            # A machine that slept looks lost until its next sign of life; a worker's run is queued again.
            lost = None if row.state != "lost" or row.queue else lost or time.monotonic()
            if row.ended_for_good or (lost and time.monotonic() - lost > _DOUBT):
                return row
            if timeout is not None and time.monotonic() - began > timeout:
                raise TransientError(f"run {self.id} is {row.state} after {timeout:g} s", hint=_patience(row))
            if row.state == "queued" and time.monotonic() - asked > _DOUBT:
                asked = time.monotonic()
                host("queue").note_refusal(self.id)
            time.sleep(_POLL)

    def __str__(self) -> str:
        return " · ".join(headline(self.view))

    def __repr__(self) -> str:
        return run_card_text(self.view)

    def _ipython_display_(self) -> None:
        if form() in {"widget", "html"}:
            host("notebook").present(self)
        else:
            print(repr(self))  # noqa: T201  # as IPython would

    def _repr_html_(self) -> str:
        return run_card(self.view)


class _Viewer:
    """Makes views of a run's rows, one after the other: what it has said, and how fast it was so far."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._pace: tuple[tuple[float, int], ...] = ()
        self._logs: list[LogRow] = []
        self._asked = 0.0

    @cached_property
    def _inside(self) -> Inside:
        from datapipe.engine import Inside

        return Inside(self._run.store, self._run.id)

    def __call__(self, row: RunRow) -> RunView:
        """The run as this row has it."""
        if time.monotonic() - self._asked > _LOG or row.ended_for_good:
            self._asked, self._logs = time.monotonic(), self._run.logs()
        if row.process == os.getpid() and row.worker is None:
            row = dataclasses.replace(row, host=None)  # it is here
        ahead = self._run.ahead() if row.state == "queued" else None
        view = view_of_row(row, self._logs, ahead)
        if row.kind == "notebook":
            view = dataclasses.replace(view, children=self._inside.look())
        self._pace = paced(self._pace, view.elapsed, view.rows_read)
        return dataclasses.replace(view, pace=self._pace)


def _error_of(row: RunRow) -> DatapipeError:
    """A failed run's error, with what its worker saw."""
    found = row.error or {"message": "the run failed"}
    if row.kind == "notebook":
        said = (row.result or {}).get("error") or found["message"]
        of_a_cell = {**found, "type": "NotebookError", "message": said, "step": None}
        error = from_dict(of_a_cell if found.get("step") else found, unknown=NotebookError)
    else:
        error = from_dict(found)
    _with_result(error, row)
    if found.get("traceback"):
        error.add_note(f"\nOn {row.worker or row.host}:\n{found['traceback']}")
    return error


def _with_result(error: DatapipeError, row: RunRow) -> DatapipeError:
    if row.result:
        error.result = _result_of(row)
    return error


def _result_of(row: RunRow) -> RunResult | NotebookResult:
    from datapipe.engine import NotebookResult, RunResult

    found = row.result or {}
    return NotebookResult.from_dict(found) if row.kind == "notebook" else RunResult.from_dict(found)


def _patience(row: RunRow) -> str:
    if row.state == "queued" and row.queue:
        return f"Wait longer, .cancel() it, or start a worker for its queue: datapipe worker --queues {row.queue}"
    return "Wait longer, or .cancel() it"


def store_of_runs() -> RunStore:
    """The run store; PlanError if it is off."""
    found = open_store()
    if found is None:
        raise PlanError("runs are not recorded: DATAPIPE_METADATA_URL is off", hint="Unset it")
    return found
