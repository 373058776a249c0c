"""The runner: the only loop over a plan's batches, and the thread that called it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import queue
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import pyarrow as pa

from datapipe.data.cancel import CancelToken
from datapipe.data.stream import MIB, Stream, Workspace, scratch_directory
from datapipe.engine.chain import Chain, Counter, counters
from datapipe.engine.events import Emitter, Listener, State
from datapipe.engine.result import RunResult, StepResult
from datapipe.errors import DatapipeError, FatalError, PlanError, RunCancelled
from datapipe.persistence import Loaded, describe_write, write
from datapipe.plan import Plan, check_bound
from datapipe.settings import settings

T = TypeVar("T")
_TICK = 0.1  # seconds between two looks at the counters
Sink = Callable[[Stream, Workspace], T]


@dataclass(frozen=True)
class RunOptions:
    """How to run a plan; nothing here changes its result.

    Parameters
    ----------
    memory : int
        Bytes for the whole run.
    limit : int, optional
        Rows to read from the source at most.
    """

    memory: int = 512 * MIB
    limit: int | None = None
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    correlation_id: str | None = None
    parent_run_id: str | None = None
    listeners: tuple[Listener, ...] = ()


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
    return _Run(plan, options).finish(lambda stream, work: write(target, stream, work))


def collect_plan(plan: Plan, options: RunOptions) -> tuple[pa.Table, RunResult]:
    """Run a plan without writing; the rows come back as one Arrow table."""
    tables: list[pa.Table] = []

    def gather(stream: Stream, _: Workspace) -> Loaded:
        tables.append(pa.Table.from_batches(list(stream.batches), schema=stream.schema))
        return Loaded(0)

    result = _Run(plan, options).finish(gather)
    return tables[0], result


@dataclass(frozen=True)
class Outline:
    """What a plan would do, learnt without writing.

    Parameters
    ----------
    schemas : tuple of (str, pyarrow.Schema)
        The columns each step hands on, by the step's name.
    statements : tuple of str
        What the write would send.
    """

    schemas: tuple[tuple[str, pa.Schema], ...]
    statements: tuple[str, ...]


def outline_plan(plan: Plan, options: RunOptions) -> Outline:
    """Bind every step and look at the target; only Python steps see rows, and only a few."""
    statements: list[str] = []

    def look(stream: Stream, work: Workspace) -> Loaded:
        if plan.persistence is not None:
            statements.extend(describe_write(plan.persistence, stream.schema, work))
        return Loaded(0)

    sees_rows = any(step.type == "code" for step in plan.transformation)
    run = _Run(plan, dataclasses.replace(options, limit=100 if sees_rows else 0))
    run.finish(look)
    schemas = tuple((c.name, c.schema) for c in run.counters if c.schema is not None)
    return Outline(schemas, tuple(statements))


@dataclass
class _Call(Generic[T]):
    """A user's function on its way to the thread that called ``run()``."""

    work: Callable[[], T]
    done: threading.Event = field(default_factory=threading.Event)
    value: T | None = None
    error: BaseException | None = None


class _Run:
    """One run: a worker thread pulls the chain; the caller's thread runs user code, ticks and takes Ctrl-C."""

    def __init__(self, plan: Plan, options: RunOptions) -> None:
        check_bound(plan)
        self._plan = plan
        self._options = options
        self._cancel = CancelToken()
        self._calls: queue.SimpleQueue[_Call[Any] | None] = queue.SimpleQueue()
        self.counters = counters(plan)
        self._seen: dict[str, tuple[int, int]] = {}
        self._loaded = Loaded(0)
        self._error: BaseException | None = None
        self._interrupted = False
        self._done = threading.Event()
        self._ticked = 0.0
        self._fingerprint = plan.fingerprint
        self._correlation = options.correlation_id or options.run_id
        self._emitter = Emitter(options.run_id, self._correlation, options.parent_run_id, options.listeners)

    def finish(self, sink: Sink[Loaded]) -> RunResult:
        """Run to the end and report it."""
        started, clock = dt.datetime.now(dt.UTC), time.perf_counter()
        self._emitter.emit("run_started")
        worker = threading.Thread(target=self._work, args=(sink,), name="datapipe write", daemon=True)
        worker.start()
        try:
            self._attend(worker)
        finally:
            self._cancel.cancel()
        result = self._result(started, time.perf_counter() - clock)
        self._report(result)
        if self._error is not None and self._interrupted:
            interrupt = KeyboardInterrupt("the run was cancelled; the target is unchanged")
            interrupt.result = result  # type: ignore[attr-defined]  # as on every error of a run
            raise interrupt
        if self._error is not None:
            error = self._error
            if isinstance(error, SystemExit):
                error = FatalError("a function of the plan called sys.exit()", hint="Raise an error instead")
            if not isinstance(error, DatapipeError):
                wrapped = FatalError(f"{type(error).__name__}: {error}", hint="This is a fault in datapipe; report it")
                wrapped.result = result
                raise wrapped from error
            error.result = result
            raise error
        return result

    def _work(self, sink: Sink[Loaded]) -> None:
        try:
            with scratch_directory() as scratch, ExitStack() as stack:
                work = Workspace(
                    memory=self._options.memory // max(1, sum(s.type != "code" for s in self._plan.transformation)),
                    batch_rows=settings().batch_size,
                    limit=self._options.limit,
                    scratch=scratch,
                    cancel=self._cancel,
                    call=self._call,
                )
                try:
                    stream = Chain(stack, work, self.counters).open(self._plan)
                    self._loaded = sink(stream, work)
                    last = self.counters[-1]
                    last.rows_out, last.ended = self._loaded.rows, time.perf_counter()
                except BaseException as error:  # noqa: BLE001  # raised again in the caller's thread
                    self._error = error
                finally:
                    # What still runs is of no more use; this interrupts it before the streams are closed.
                    self._cancel.cancel()
        except BaseException as error:  # noqa: BLE001  # as above: closing failed
            self._error = self._error or error
        finally:
            self._done.set()
            self._calls.put(None)  # wakes the caller's thread

    def _call(self, work: Callable[[], T]) -> T:
        """Have the caller's thread run a user's function; called from the worker's threads."""
        call: _Call[T] = _Call(work)
        self._calls.put(call)
        while not call.done.wait(_TICK):
            if self._cancel.cancelled and not call.done.is_set():
                self._cancel.check()
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
        try:
            call.value = call.work()
        except KeyboardInterrupt as error:
            call.error = error
            raise
        except BaseException as error:  # noqa: BLE001  # raised in the step that asked
            call.error = error
        finally:
            call.done.set()

    def _tick(self) -> None:
        """Tell what has moved, at most ten times a second."""
        clock = time.monotonic()
        if clock - self._ticked >= _TICK:
            self._ticked = clock
            self._tell()

    def _tell(self) -> None:
        for counter in self.counters:
            now = (counter.rows_in, counter.rows_out)
            if self._seen.get(counter.name, (0, 0)) != now:
                kind = "progress" if counter.name in self._seen else "step_started"
                self._seen[counter.name] = now
                self._emit(kind, counter)

    def _emit(self, kind: Any, counter: Counter) -> None:
        self._emitter.emit(
            kind, step=counter.name, rows_in=counter.rows_in, rows_out=counter.rows_out, total=counter.total
        )

    def _result(self, started: dt.datetime, seconds: float) -> RunResult:
        cancelled = self._error is not None and (self._interrupted or isinstance(self._error, RunCancelled))
        state: State = "cancelled" if cancelled else "failed" if self._error else "succeeded"
        plan, target = self._plan, self._plan.persistence
        return RunResult(
            run_id=self._options.run_id,
            correlation_id=self._correlation,
            fingerprint=self._fingerprint,
            state=state,
            source=plan.ingestion.label,
            target=target.label if target else "nowhere",
            steps=tuple(StepResult(c.name, c.rows_in, c.rows_out, c.seconds, c.version) for c in self.counters),
            rows_written=self._loaded.rows,
            deduplicated=self._loaded.deduplicated,
            created=self._loaded.created,
            seconds=seconds,
            started=started.isoformat(timespec="milliseconds"),
            name=plan.name,
            error=str(self._error) if self._error and not cancelled else None,
        )

    def _report(self, result: RunResult) -> None:
        self._tell()
        for counter in self.counters:
            if counter.ended:
                self._emit("step_finished", counter)
        self._emitter.emit(
            "run_finished",
            state=result.state,
            rows_in=result.rows_read,
            rows_out=result.rows_written,
            message=result.error,
        )
