"""A plan's steps as a chain of streams, each counted, the native ones running ahead in threads."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pyarrow as pa

from datapipe.data.asking import Asked, everything
from datapipe.data.prefetch import Prefetch
from datapipe.data.stream import Block, Stream, Workspace, resized
from datapipe.errors import DatapipeError, PlanError
from datapipe.ingestion import Increment, NewFiles, Range, open_source
from datapipe.logs import bound
from datapipe.plan import (
    CodeStep,
    ConfigStep,
    Feed,
    Plan,
    Source,
    SqlStep,
    Step,
    TableTarget,
    ValidateConfig,
    ValidateStep,
)
from datapipe.transformation import step_version

if TYPE_CHECKING:
    from datapipe.transformation import FirstStep

T = TypeVar("T")

_TABLE = ", table "  # stands before the name of a further table
B = TypeVar("B", pa.RecordBatch, Block)


class Wrap(Protocol):
    """What is done to rows in either of their forms."""

    def __call__(self, batches: Iterator[B], /) -> Iterator[B]:
        """The same rows."""


@dataclass
class Counter:
    """The rows that went through a step so far; written by the step's thread, read by the caller's."""

    name: str
    version: str | None = None
    rows_in: int = 0
    rows_out: int = 0
    total: int | None = None
    rejected: int = 0
    schema: pa.Schema | None = None
    asked: Asked | None = None  # of a source: what was read of it
    latest: pa.RecordBatch | None = None  # the last batch that came in; whoever handed it on holds it anyway
    started: float | None = None
    ended: float | None = None
    worked: float = 0.0  # seconds spent in the step, with those in which it waited for rows
    waited: float = 0.0
    largest: int = 0  # bytes of a batch that came in
    parts: list[Callable[[], int]] = field(default_factory=list)  # what each part of the step has held at most

    @property
    def peak(self) -> int:
        """The bytes that the step has held at most: the batch at hand, and each of its parts."""
        return self.largest + sum(part() for part in self.parts)

    @property
    def seconds(self) -> float:
        """From the first row to the last, or to now."""
        return (self.ended or time.perf_counter()) - self.started if self.started else 0.0

    @property
    def busy(self) -> float:
        """Seconds in which the step itself was at work."""
        return max(0.0, self.worked - self.waited)


def row_at(counters: Iterable[Counter], step: str | None, row: int | None) -> dict[str, str]:
    """The row of this number among those that came into a validation or the target, if it was in the last batch."""
    found = next((c for c in counters if c.name == step and _counts_what_comes_in(c.name)), None)
    if found is None or found.latest is None or row is None:
        return {}
    place = row - 1 - (found.rows_in - found.latest.num_rows)
    if not 0 <= place < found.latest.num_rows:
        return {}
    from datapipe.transformation import cells

    return cells({name: _value(found.latest[name][place]) for name in found.latest.schema.names})


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):  # Python's dates end with the year 9999
        return scalar.cast(pa.string()).as_py()


def _counts_what_comes_in(step: str) -> bool:
    return step == "persistence" or step.endswith("(validate)")


def step_name(number: int, step: Step) -> str:
    """What a step is called in errors and events; steps count from 1."""
    return f"transformation step {number} ({step.type})"


def counters(plan: Plan, first: int = 1) -> list[Counter]:
    """A counter for the source, each step, and the target; the first step has the number ``first``."""
    steps = [Counter(step_name(n, step), _version(step, n)) for n, step in enumerate(plan.transformation, first)]
    return [Counter("ingestion"), *steps, Counter("persistence")]


def _version(step: Step, number: int) -> str:
    try:
        return step_version(step)
    except DatapipeError as error:
        raise error.at(step_name(number, step)) from error.__cause__


@dataclass(frozen=True)
class Chain:
    """Opens the streams of a plan; ``stack`` closes them.

    Parameters
    ----------
    only : Range, optional
        The only one of its source's ranges that is read.
    increment : Increment or NewFiles, optional
        What is read of an incremental source.
    """

    stack: ExitStack
    work: Workspace
    counters: list[Counter] = field(default_factory=list)
    only: Range | None = None
    increment: Increment | NewFiles | None = None

    def open(self, plan: Plan) -> Stream:
        """The stream that reaches the target."""
        source, *steps, _ = self.counters
        encoded = not steps and isinstance(plan.persistence, TableTarget)  # nobody looks into a row
        first = self._first(plan.transformation, steps[0].name if steps else "")
        stream = self._read(
            plan.ingestion, first, source.name, part=self.only, encoded=encoded, increment=self.increment
        )
        source.total, source.schema, source.asked = stream.total, stream.schema, stream.asked
        if stream.asked is not None:
            source.schema = stream.asked.schema
        stream = self._counted(_fed(stream, plan, 0, self.work), source, steps[0] if steps else self.counters[-1])
        for index, step in enumerate(plan.transformation):
            following = self.counters[index + 2]
            made = self._step(step, stream, steps[index].name, None if index else first)
            stream = self._counted(_fed(made, plan, index + 1, self.work), steps[index], following)
            steps[index].schema = stream.schema
        return stream

    def _first(self, steps: Sequence[Step], name: str) -> FirstStep | None:
        """The first of the steps, ahead of its source, if it can tell what it needs of it."""
        step = steps[0] if steps else None
        if not isinstance(step, SqlStep | ConfigStep):
            return None
        from datapipe.transformation import first_step  # loads DuckDB

        tables = self._feeds(step.config.tables, name) if isinstance(step, SqlStep) else {}
        return self._entered(lambda: first_step(step, tables, self._work_of(name)), name)

    def _read(self, source: Source, first: FirstStep | None, name: str, **how: Any) -> Stream:
        choose = everything if first is None else first.choose
        work = self._work_of(name)
        return self._ahead(self._opened(lambda: open_source(source, work, choose, **how), name), name)

    def _step(self, step: Step, stream: Stream, name: str, first: FirstStep | None = None) -> Stream:
        work = self._work_of(name)
        if first is not None:
            return self._ahead(self._opened(lambda: first.run(stream), name), name)
        # Each kind of step loads what it works with: DuckDB, Pandera, pandas.
        if isinstance(step, CodeStep):
            from datapipe.transformation import run_code

            return self._opened(lambda: run_code(step.config, stream, work), name)
        if isinstance(step, SqlStep):
            from datapipe.transformation import run_sql

            inputs = {"input_data": stream, **self._feeds(step.config.tables, name)}
            config = step.config
            opened = self._opened(lambda: run_sql(config.sql_query, config.parameters, inputs, work), name)
        elif isinstance(step, ValidateStep):
            opened = self._opened(lambda: self._validated(step.config, stream, work, name), name)
        else:
            from datapipe.transformation import run_config

            opened = self._opened(lambda: run_config(step.config, stream, work), name)
        return self._ahead(opened, name)

    def _validated(
        self, config: ValidateConfig, stream: Stream, work: Workspace, name: str
    ) -> AbstractContextManager[Stream]:
        counter = self._counter(name)
        if counter is None and config.on_error == "quarantine":
            hint = "Use on_error='drop', or write that table by a plan of its own"
            raise PlanError("a further table of an SQL step has no quarantine", hint=hint)

        def count(rows: int) -> None:
            if counter is not None:
                counter.rejected += rows

        from datapipe.schemas import run_validate

        return run_validate(config, stream, work, step=name, count=count)

    def _counter(self, name: str) -> Counter | None:
        return next((counter for counter in self.counters if counter.name == name), None)

    def _work_of(self, name: str) -> Workspace:
        """The run's workspace, for a step; what a further table holds counts as its step's."""
        counter = self._counter(name.partition(_TABLE)[0])
        return self.work if counter is None else dataclasses.replace(self.work, holds=counter.parts.append)

    def _feeds(self, feeds: Mapping[str, Feed], name: str) -> dict[str, Stream]:
        return {table: self._feed(feed, f"{name}{_TABLE}{table!r}") for table, feed in feeds.items()}

    def _feed(self, feed: Feed, name: str) -> Stream:
        # A sample of the rows still joins with all of a further table.
        limit = 0 if self.work.limit == 0 else None
        whole = dataclasses.replace(self, work=dataclasses.replace(self.work, limit=limit))
        names = [f"{name}, {step_name(number, step)}" for number, step in enumerate(feed.transformation, 1)]
        first = whole._first(feed.transformation, names[0] if names else "")
        stream = whole._read(feed.ingestion, first, name)
        for number, step in enumerate(feed.transformation):
            stream = whole._step(step, stream, names[number], None if number else first)
        return stream

    def _opened(self, make: Callable[[], AbstractContextManager[Stream]], name: str) -> Stream:
        stream, counter = self._entered(make, name), self._counted_as(name)
        return _wrapped(stream, lambda batches: _named(batches, counter))

    def _entered(self, make: Callable[[], AbstractContextManager[T]], name: str) -> T:
        """What a step opens, the time for it counted; an error names the step."""
        began = time.perf_counter()
        try:
            with bound(step=name):
                return self.stack.enter_context(make())
        except DatapipeError as error:
            raise error.at(name) from error.__cause__
        finally:
            self._counted_as(name).worked += time.perf_counter() - began

    def _counted_as(self, name: str) -> Counter:
        """The counter of a step; a further table has none, so nothing comes of what is counted for it."""
        return self._counter(name) or Counter(name)

    def _ahead(self, stream: Stream, name: str) -> Stream:
        def ahead(batches: Iterator[B]) -> Iterator[B]:
            prefetch = Prefetch([batches], 2 * self.work.batch_bytes, self.work.cancel, f"datapipe {name}")
            self._work_of(name).holds(lambda: prefetch.peak)
            return self.stack.enter_context(prefetch.running(at_once=stream.encoded is None))

        # Blocks are read by the thread that writes them: what only passes bytes on gains nothing from a second one.
        return dataclasses.replace(stream, batches=ahead(stream.batches))

    def _counted(self, stream: Stream, done: Counter, following: Counter) -> Stream:
        return _wrapped(stream, lambda batches: _count(batches, done, following))


def _wrapped(stream: Stream, wrap: Wrap) -> Stream:
    """The stream with its rows wrapped, in whichever form they will be pulled."""
    encoded = stream.encoded and dataclasses.replace(stream.encoded, blocks=wrap(stream.encoded.blocks))
    return dataclasses.replace(stream, batches=wrap(stream.batches), encoded=encoded)


def _fed(stream: Stream, plan: Plan, index: int, work: Workspace) -> Stream:
    """The stream in the batches that the step it goes into works on, so that its rows count as they are worked on."""
    step = plan.transformation[index] if index < len(plan.transformation) else None
    if not isinstance(step, CodeStep) or not step.config.per_batch:
        return stream
    return dataclasses.replace(stream, batches=resized(stream.batches, rows=work.batch_rows))


def _named(batches: Iterator[B], counter: Counter) -> Iterator[B]:
    """The same batches, the work on them timed; an error on the way names the step."""
    try:
        yield from _timed(batches, counter)
    except DatapipeError as error:
        raise error.at(counter.name) from error.__cause__


def _timed(batches: Iterator[B], counter: Counter) -> Iterator[B]:
    try:
        while True:
            began = time.perf_counter()
            try:
                with bound(step=counter.name):
                    batch = next(batches, None)
            finally:
                counter.worked += time.perf_counter() - began
            if batch is None:
                return
            yield batch
    finally:
        close = getattr(batches, "close", None)
        if close is not None:
            close()


def _count(batches: Iterator[B], done: Counter, following: Counter) -> Iterator[B]:
    done.started = done.started or time.perf_counter()  # a step begins with the first row that comes in
    while True:
        began = time.perf_counter()
        try:
            batch = next(batches, None)
        finally:
            following.waited += time.perf_counter() - began
        if batch is None:
            break
        done.rows_out += batch.num_rows
        following.started = following.started or time.perf_counter()
        following.rows_in += batch.num_rows
        following.latest = batch if isinstance(batch, pa.RecordBatch) else None
        following.largest = max(following.largest, batch.nbytes)
        yield batch
    done.ended = time.perf_counter()
