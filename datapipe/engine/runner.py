"""The runner: the only loop over a plan's batches, and the thread that called it."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa
import tenacity

from datapipe.data.asking import Asked
from datapipe.data.cancel import CancelToken
from datapipe.data.rejects import Rejects
from datapipe.data.resident import Resident
from datapipe.data.stream import Stream, Workspace, scratch_directory
from datapipe.display.seen import remember
from datapipe.engine.chain import Chain, Counter, counters, row_at
from datapipe.engine.events import Emitter, Kind, State
from datapipe.engine.identity import advancing, delivery_of, foreseen
from datapipe.engine.interrupts import interruption
from datapipe.engine.options import RunOptions
from datapipe.engine.result import RunResult, StepResult
from datapipe.engine.shares import shares
from datapipe.engine.spread import spread
from datapipe.engine.telling import Telling
from datapipe.errors import (
    DatapipeError,
    FatalError,
    Interrupted,
    OutcomeUnknown,
    PlanError,
    RunCancelled,
    TransientError,
)
from datapipe.ingestion import Increment, NewFiles, content_hash
from datapipe.logs import bound, carried, ids, of_run
from datapipe.persistence import Loaded, Staged, begin_write, describe_write, hashed, write
from datapipe.plan import Feed, FrameSource, Plan, SqlStep, TableTarget, Target, check_bound
from datapipe.retries import policy
from datapipe.schemas import version_of
from datapipe.settings import settings

T = TypeVar("T")
_TICK = 0.1  # seconds between two looks at the counters
Sink = Callable[[Stream | Staged, Workspace], T]
Taker = Callable[[Stream, Workspace], object]


def run_plan(plan: Plan, options: RunOptions) -> RunResult:
    """Run a plan to its target, in this process, and wait.

    Returns
    -------
    RunResult

    Raises
    ------
    DatapipeError
        If the run fails; the error's ``result`` says how far it came. The target is then unchanged.
    KeyboardInterrupt
        If the user pressed Ctrl-C; everything has stopped and the target is unchanged.
    """
    target = plan.persistence
    if target is None:
        raise PlanError("the plan writes nowhere", hint="Add .write(table, to=…), or use .collect()")
    run = _Run(plan, options)
    return run.finish(lambda given, work: write(target, given, work, run.delivery), target)


def collect_plan(plan: Plan, options: RunOptions) -> tuple[pa.Table, RunResult]:
    """Run a plan without writing; the rows come back as one Arrow table."""
    tables: list[pa.Table] = []

    def gather(stream: Stream, _: Workspace) -> None:
        tables.append(pa.Table.from_batches(list(stream.batches), schema=stream.schema))

    result = stream_plan(plan, options, gather)
    return tables[-1], result


def stream_plan(plan: Plan, options: RunOptions, take: Taker) -> RunResult:
    """Run a plan up to its target, and hand the rows to a function in the target's place.

    Parameters
    ----------
    take : callable
        Gets the stream and the run's workspace, and reads to the end. Each attempt calls it anew.
    """

    def taken(given: Stream | Staged, work: Workspace) -> Loaded:
        if isinstance(given, Stream):  # what is staged is for a target
            take(given, work)
        return Loaded(0)

    return _Run(plan, options).finish(taken)


@dataclass(frozen=True)
class Outline:
    """What a plan would do, learnt without writing.

    Parameters
    ----------
    schemas : tuple of (str, pyarrow.Schema)
        The columns each step hands on, by the step's name.
    statements : tuple of str
        What the write would send.
    asked : Asked, optional
        What would be read of the source, if it tells.
    increment : str, optional
        Where an incremental source would be read from, in a line.
    """

    schemas: tuple[tuple[str, pa.Schema], ...]
    statements: tuple[str, ...]
    asked: Asked | None = None
    increment: str | None = None


def outline_plan(plan: Plan, options: RunOptions) -> Outline:
    """Bind every step and look at the target; only Python steps see rows, and only a few."""
    statements: list[str] = []

    def look(given: Stream | Staged, work: Workspace) -> Loaded:
        if plan.persistence is not None:
            statements.extend(describe_write(plan.persistence, given.schema, work))
        return Loaded(0)

    sees_rows = any(step.type == "code" for step in plan.transformation)
    run = _Run(plan, dataclasses.replace(options, limit=100 if sees_rows else 0))
    run.increment, told = foreseen(plan)
    run.finish(look)
    schemas = tuple((c.name, c.schema) for c in run.counters if c.schema is not None)
    return Outline(schemas, tuple(statements), run.counters[0].asked, told)


def frames(plan: Plan | Feed) -> Iterator[FrameSource]:
    """The frames a plan reads, those of its further tables included."""
    if isinstance(plan.ingestion, FrameSource):
        yield plan.ingestion
    for step in plan.transformation:
        if isinstance(step, SqlStep):
            for _, feed in sorted(step.config.tables.items()):
                yield from frames(feed)


@dataclass
class _Call(Generic[T]):
    """A user's function on its way to the thread that called ``run()``."""

    work: Callable[[], T]
    step: str | None = None  # whose it is
    done: threading.Event = field(default_factory=threading.Event)
    value: T | None = None
    error: BaseException | None = None


class _Run:
    """One run: a worker thread pulls the chain; the caller's thread runs user code, ticks and takes Ctrl-C."""

    def __init__(self, plan: Plan, options: RunOptions) -> None:
        check_bound(plan)
        self._plan = plan
        self._options = options
        self._cancel = options.cancel
        self._attempt_cancel = CancelToken()  # ends one attempt
        self._attempts = 0
        self._calls: queue.SimpleQueue[_Call[Any] | None] = queue.SimpleQueue()
        self._told: queue.SimpleQueue[tuple[Kind, dict[str, Any]]] = queue.SimpleQueue()  # on its way to the listeners
        self._notices: tuple[str, ...] = ()
        self._lasting: tuple[str, ...] = ()
        self._first = options.replay.number if options.replay else 1
        self.counters = counters(plan, self._first)
        self._telling = Telling()
        self._loaded = Loaded(0)
        self._error: BaseException | None = None
        self._interrupted = False
        self._done = threading.Event()
        self._ticked = 0.0
        self._resident = Resident()
        self._started, self._clock = dt.datetime.now(dt.UTC), time.perf_counter()
        self._fingerprint = plan.fingerprint
        self._correlation = options.correlation_id or options.run_id
        self._emitter = Emitter(options.run_id, self._correlation, options.parent_run_id, options.listeners)
        versions = {counter.name: counter.version for counter in self.counters if counter.version}
        report = lambda loaded: self._recorded(loaded).to_dict()  # noqa: E731  # a method of what is made here
        self.delivery = delivery_of(plan, options, self._correlation, versions, report)
        if self.delivery is None:
            self._lasting = ("DATAPIPE_LEDGER=off: the load is atomic, not deduplicated",)
        self.increment: Increment | NewFiles | None = None

    def _recorded(self, loaded: Loaded) -> RunResult:
        last = StepResult("persistence", self.counters[-1].rows_in, loaded.rows, self.counters[-1].seconds)
        result = self._result(loaded, None)
        return dataclasses.replace(result, steps=(*result.steps[:-1], last))

    def finish(self, sink: Sink[Loaded], target: Target | None = None) -> RunResult:
        """Run to the end and report it; a target's ledger is asked first."""
        with of_run(self._options.run_id, self._correlation, self._options.parent_run_id):
            return self._finish(sink, target)

    def _finish(self, sink: Sink[Loaded], target: Target | None) -> RunResult:
        self._emitter.emit("run_started")
        worker = threading.Thread(target=carried(self._work), args=(sink, target), name="datapipe write", daemon=True)
        worker.start()
        try:
            self._attend(worker)
        finally:
            self._cancel.cancel()
        with contextlib.suppress(Exception):  # a memory for displays does not steer a run, which may have committed
            remember(self._plan, [counter.schema for counter in self.counters[:-1]])
        result = self._result(self._loaded, self._error)
        self._report(result)
        if self._error is not None and self._interrupted:
            unknown = isinstance(self._error, OutcomeUnknown)
            text = str(self._error) if unknown else "the run was cancelled; the target is unchanged"
            raise Interrupted(text, result) from (self._error if unknown else None)
        if self._error is not None:
            error = self._error
            if isinstance(error, SystemExit):
                error = FatalError("a function of the plan called sys.exit()", hint="Raise an error instead")
            if not isinstance(error, DatapipeError):
                wrapped = FatalError(f"{type(error).__name__}: {error}", hint="This is a fault in datapipe; report it")
                wrapped.result, wrapped.outside = result, f"{type(error).__name__}: {error}"
                raise wrapped from error
            error.result, error.cells = result, error.cells or row_at(self.counters, error.step, error.row)
            raise error
        return result

    def _work(self, sink: Sink[Loaded], target: Target | None) -> None:
        """Every attempt, one after the other; each begins at the source."""
        try:
            retrying = tenacity.Retrying(
                **policy(on=(TransientError,)), sleep=self._pause, before_sleep=self._tell_failure
            )
            retrying(self._attempt, sink, target)
        except BaseException as error:  # noqa: BLE001  # raised again in the caller's thread
            self._error = error
        finally:
            self._done.set()
            self._calls.put(None)  # wakes the caller's thread

    def _pause(self, seconds: float) -> None:
        self._cancel.wait(seconds)

    def _tell_failure(self, state: tenacity.RetryCallState) -> None:
        error, pause = state.outcome.exception() if state.outcome else None, state.upcoming_sleep
        told = {"message": f"{error}; trying again in {pause:.1f} s", "discreet": _discreet(error)}
        self._told.put(("attempt_failed", {**told, "seconds": pause}))

    def _attempt(self, sink: Sink[Loaded], target: Target | None) -> None:
        self._cancel.check()
        cancel = self._attempt_cancel = CancelToken()
        self._attempts += 1
        self._notices = self._lasting  # what an earlier attempt had to say went with it
        if self._attempts > 1:
            self.counters, self._telling = counters(self._plan, self._first), Telling()
        first: BaseException | None = None
        with self._cancel.hook(lambda: cancel.cancel(self._cancel.reason)):
            try:
                with scratch_directory() as scratch, ExitStack() as stack:
                    try:
                        self._loaded = self._once(sink, target, self._workspace(scratch, cancel, target), stack)
                    except BaseException as error:
                        first = error
                        raise
                    finally:
                        if first is not None or not self._read_out():
                            # What still runs is of no more use; this interrupts it before the streams are closed.
                            cancel.cancel()
            except BaseException as error:  # noqa: BLE001  # raised again, or what came before it
                raise first or error from (first or error).__cause__  # not that of closing what it broke

    def _read_out(self) -> bool:
        """Whether every stream came to its end, so that nothing runs any more."""
        further = any(isinstance(step, SqlStep) and step.config.tables for step in self._plan.transformation)
        return not further and all(counter.ended for counter in self.counters)

    def _workspace(self, scratch: Path, cancel: CancelToken, target: Target | None) -> Workspace:
        return Workspace(
            memory=self._options.memory // shares(self._plan),
            batch_rows=settings().batch_size,
            limit=self._options.limit,
            scratch=scratch,
            cancel=cancel,
            call=self._call,
            tell=self._note,
            run_id=self._options.run_id,
            rejects=Rejects() if isinstance(target, TableTarget) else None,
        )

    @property
    def _databases(self) -> int:
        """How many steps have a DuckDB of their own."""
        return sum(step.type != "code" for step in self._plan.transformation)

    def _once(self, sink: Sink[Loaded], target: Target | None, work: Workspace, stack: ExitStack) -> Loaded:
        if self._databases:
            from datapipe.data.duck import made_ahead  # loads DuckDB

            work = dataclasses.replace(work, connect=stack.enter_context(made_ahead(self._databases)))
        if target is not None and self.delivery is not None:
            self.delivery = dataclasses.replace(self.delivery, fingerprint=self._content())
            with bound(step="persistence"):
                claim = stack.enter_context(begin_write(target, self.delivery, work))
            if claim.done is not None:
                return claim.done
            self.delivery, self.increment = advancing(self._plan, claim.delivery)
        given = self._spread(target, work, stack)
        last, began = self.counters[-1], time.perf_counter()
        with bound(step="persistence"):
            loaded = sink(given, dataclasses.replace(work, holds=last.parts.append))
        last.rows_out, last.ended = loaded.rows, time.perf_counter()
        last.worked += last.ended - began
        taken = loaded.rows + loaded.deduplicated + loaded.unchanged
        if target is not None and loaded.replayed is None and taken != last.rows_in:
            self._note(
                f"the target took {loaded.rows:,} of the {last.rows_in:,} rows it was given: "
                "a trigger or a rule of the table changes what is written"
            )
        return loaded

    def _spread(self, target: Target | None, work: Workspace, stack: ExitStack) -> Stream | Staged:
        """The rows for the target: a stream of all of them; or, where other workers help, what they all have staged."""
        sharing = self._options.sharing
        if sharing is not None and target is not None and self.delivery is not None:
            staged = spread(self._plan, target, work, sharing, self.counters, stack)
            if staged is not None:
                return staged
            self.counters = counters(self._plan, self._first)  # some may have counted rows that come again
        return Chain(stack, work, self.counters, self._options.only, self.increment).open(self._plan)

    def _content(self) -> str:
        """The plan's fingerprint; where it holds frames, with what is in them."""
        found = [content_hash(source) for source in frames(self._plan)]
        return hashed(self._fingerprint, *found) if found else self._fingerprint

    def _note(self, note: str, *, lasting: bool = False) -> None:
        """Take a note; one of what stays, even if the attempt fails, is ``lasting``."""
        self._notices += (note,)
        self._lasting += (note,) if lasting else ()
        self._told.put(("notice", {"message": note}))

    def _call(self, work: Callable[[], T]) -> T:
        """Have the caller's thread run a user's function; called from the worker's threads."""
        call: _Call[T] = _Call(work, ids().get("step"))
        self._calls.put(call)
        while not call.done.wait(_TICK):
            if self._attempt_cancel.cancelled and not call.done.is_set():
                self._attempt_cancel.check()
        if call.error is not None:
            raise call.error
        return call.value  # type: ignore[return-value]  # set whenever there is no error

    def _attend(self, worker: threading.Thread) -> None:
        """Stay with the run to its end; Ctrl-C cancels it. A second Ctrl-C does not wait."""
        while True:
            try:
                # All of it in a call: an interrupt between two rounds of a loop is caught here too.
                self._attend_to_end()
                worker.join()
                return
            except KeyboardInterrupt:
                if self._interrupted:
                    raise
                self._interrupted = True
                self._cancel.cancel()

    def _attend_to_end(self) -> None:
        """Serve calls and tell progress until the worker has ended."""
        while not self._done.is_set():
            self._tick()
            try:
                call = self._calls.get(timeout=_TICK)
            except queue.Empty:
                continue
            if call is not None:
                self._serve(call)

    def _serve(self, call: _Call[Any]) -> None:
        self._tell()  # the function may take long, and nothing is told meanwhile
        try:
            with self._cancel.hook(interruption()), bound(step=call.step):
                call.value = call.work()
        except KeyboardInterrupt as error:
            call.error = error
            if not self._cancel.cancelled or self._interrupted:
                raise
            call.error = self._cancel.reason or RunCancelled("the run was cancelled", hint="The target is unchanged")
        except BaseException as error:  # noqa: BLE001  # raised in the step that asked
            call.error = error
        finally:
            call.done.set()

    def _tick(self) -> None:
        """Tell what has moved, at most ten times a second."""
        clock = time.monotonic()
        if clock - self._ticked >= _TICK:
            self._ticked = clock
            self._resident.look()
            self._tell()

    def _tell(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                kind, details = self._told.get_nowait()
                self._emitter.emit(kind, **details)
        for found, counter in self._telling.changes(self.counters):
            self._emit(found, counter)

    def _emit(self, kind: Kind, counter: Counter) -> None:
        names = ("rows_in", "rows_out", "rejected", "total", "seconds")
        self._emitter.emit(kind, step=counter.name, **{name: getattr(counter, name) for name in names})

    def _result(self, loaded: Loaded, error: BaseException | None) -> RunResult:
        if loaded.replayed is not None and error is None:
            return dataclasses.replace(RunResult.from_dict(loaded.replayed), replayed=True, notices=self._notices)
        known = error is not None and not isinstance(error, OutcomeUnknown)
        cancelled = known and (self._interrupted or isinstance(error, RunCancelled))
        ended: State = "skipped" if loaded.skipped else "succeeded"
        state: State = "cancelled" if cancelled else "failed" if error else ended
        plan, target = self._plan, self._plan.persistence
        skipped = (f"{loaded.skipped}; this run left it to that one",) if loaded.skipped else ()
        return RunResult(
            run_id=self._options.run_id,
            correlation_id=self._correlation,
            fingerprint=self._fingerprint,
            state=state,
            source=plan.ingestion.label,
            target=target.label if target else "nowhere",
            steps=tuple(
                StepResult(
                    name=c.name,
                    rows_in=c.rows_in,
                    rows_out=c.rows_out,
                    seconds=c.seconds,
                    version=c.version,
                    rejected=c.rejected,
                    busy=c.busy,
                    done=bool(c.ended),
                    peak_bytes=c.peak,
                )
                for c in self.counters
            ),
            rows_written=loaded.rows,
            deduplicated=loaded.deduplicated,
            deleted=loaded.deleted,
            rejected=sum(counter.rejected for counter in self.counters),
            created=loaded.created,
            schema_version=version_of(loaded.columns) if loaded.columns else None,
            subject=loaded.subject,
            columns=loaded.columns,
            seconds=time.perf_counter() - self._clock,
            started=self._started.isoformat(timespec="milliseconds"),
            name=plan.name,
            watermark=self.increment.marks if self.increment and error is None else None,
            error=str(error) if error and not cancelled else None,
            attempts=max(1, self._attempts),
            peak_memory=self._resident.peak(),
            notices=(*self._notices, *skipped),
        )

    def _report(self, result: RunResult) -> None:
        self._tell()
        self._emitter.emit(
            "run_finished",
            state=result.state,
            rows_in=result.rows_read,
            rows_out=result.rows_written,
            deleted=result.deleted,
            message=result.error,
            discreet=_discreet(self._error) if result.error else None,
            seconds=result.seconds,
        )


def _discreet(error: BaseException | None) -> str:
    return error.discreet() if isinstance(error, DatapipeError) else type(error).__name__
