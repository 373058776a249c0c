"""A run that workers share: each computes partitions of it, and the run's own worker merges what they staged."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from datapipe.data.stream import Stream, Workspace
from datapipe.data.types import EXACT_NUMERIC, tag
from datapipe.engine.chain import Chain, Counter, counters, step_name
from datapipe.errors import DatapipeError, TransientError
from datapipe.ingestion import Ranges, cut_source, cutting_of, read_as_one
from datapipe.persistence import Staged, Stages, refusal, stage
from datapipe.persistence.tables import Column
from datapipe.plan import CodeStep, ConfigStep, Plan, SqlStep, Step, TableTarget, Target, ValidateStep
from datapipe.plan.sqltext import check_one_query, rewrite
from datapipe.store import Board, Part

_POLL = 0.2  # seconds between two looks at what helpers have done


@dataclass(frozen=True)
class Sharing:
    """How a run is shared.

    Parameters
    ----------
    board : Board
        The partitions, as all workers see them.
    call : callable
        Asks for so many helpers; how many come does not matter.
    seal : callable
        Makes of what helpers need to know a message that they can trust as they trust the run's own.
    """

    board: Board
    call: Callable[[int], object]
    seal: Callable[[Mapping[str, Any]], Mapping[str, Any]]


def spread(
    plan: Plan, target: Target, work: Workspace, sharing: Sharing, totals: Sequence[Counter], stack: ExitStack
) -> Staged | None:
    """Compute the partitions of a plan with whoever helps; None if it is to be computed as one.

    Parameters
    ----------
    totals : sequence of Counter
        Take what all partitions count.
    stack : ExitStack
        Keeps the staged rows until they are merged.
    """
    if cutting_of(plan.ingestion) is None or work.limit is not None or not isinstance(target, TableTarget):
        return None
    why = _at_first_sight(plan) or refusal(target, work)
    if why is not None:
        work.tell(f"computed as one: {why}")
        return None
    sharing = dataclasses.replace(sharing, board=sharing.board.anew())  # nothing of an earlier attempt is of use
    with ExitStack() as own:
        ranges = own.enter_context(cut_source(plan.ingestion, work))
        if isinstance(ranges, str) or len(ranges) < 2:
            return None
        own.callback(_closing, sharing.board)
        own.enter_context(Stages(work.run_id, sharing.board.share).held(target, work))
        staged = _Spreading(plan, target, work, sharing, ranges, totals).staged()
        if staged is not None:
            stack.push(own.pop_all())
        return staged


def across(plan: Plan, schemas: Sequence[pa.Schema], work: Workspace) -> str | None:
    """Why the rows of a plan cannot be computed some at a time; None if they can.

    Parameters
    ----------
    schemas : sequence of pyarrow.Schema
        What each step is given.
    """
    for number, (step, schema) in enumerate(zip(plan.transformation, schemas, strict=False), 1):
        found = _across(step, schema, work)
        if found is not None:
            return f"{step_name(number, step)}: {found}"
    return None


def outline_of_partitions(plan: Plan, schemas: Sequence[pa.Schema], work: Workspace) -> str | None:
    """How a plan that is to be read in partitions would be read and computed, in one line; None for any other.

    Parameters
    ----------
    schemas : sequence of pyarrow.Schema
        What each step is given.
    """
    cutting = cutting_of(plan.ingestion)
    if cutting is None:
        return None
    whole = read_as_one(plan.ingestion, work)
    if whole is not None:
        return f"read as one, not in partitions: {whole}"
    parts = f"{cutting.count} partition{'s' if cutting.count > 1 else ''} on {cutting.column}"
    why = across(plan, schemas, work) or refusal(plan.persistence, work)
    if why is not None:
        return f"{parts}; {why}: read in parallel, computed as one"
    return f"{parts}: read in parallel; on workers, each is computed by whoever is free, and all are merged at once"


def _across(step: Step, schema: pa.Schema, work: Workspace) -> str | None:
    if isinstance(step, ValidateStep):
        from datapipe.schemas import judges_across_rows

        return judges_across_rows(step.config, schema, work)
    if isinstance(step, CodeStep):
        return None if step.config.per_batch else "the function takes the whole table"
    from datapipe.data.analysis import across_rows  # loads DuckDB

    parameters = step.config.parameters if isinstance(step, SqlStep) else {}
    exact = [pa.field(f.name, EXACT_NUMERIC) if (tag(f) or "").startswith("numeric") else f for f in schema]
    found = across_rows(_text(step, schema.names), pa.schema(exact), parameters)
    return f"the SQL gathers ({found})" if found else None


def _text(step: SqlStep | ConfigStep, names: Sequence[str]) -> str:
    if isinstance(step, ConfigStep):
        from datapipe.transformation import compile_config

        return compile_config(step.config, names)
    return rewrite(check_one_query(step.config.sql_query), lambda name: f"${name}")


def _at_first_sight(plan: Plan) -> str | None:
    """What is known before anything is opened."""
    for number, step in enumerate(plan.transformation, 1):
        if isinstance(step, CodeStep) and not step.config.per_batch:
            return f"{step_name(number, step)}: the function takes the whole table"
        if isinstance(step, SqlStep):
            if step.config.tables:
                return f"{step_name(number, step)}: the SQL reads further tables"
            from datapipe.data.analysis import gathers  # loads DuckDB

            found = gathers(_text(step, ()))
            if found:
                return f"{step_name(number, step)}: the SQL gathers ({found})"
    return None


def fingerprint(schema: pa.Schema) -> str:
    """SHA-256 of a schema, tags included: the partitions of a run all have the same."""
    return hashlib.sha256(schema.serialize()).hexdigest()


def outcome_of(part: Part, rows: int, counted: Sequence[Any]) -> dict[str, Any]:
    """What whoever merges needs to know of a partition, as JSON values."""
    return {"attempt": part.attempt, "rows": rows, "counts": [[c.rows_in, c.rows_out, c.rejected] for c in counted]}


@dataclass
class _Spreading:
    """One attempt of a run that is shared, as its own worker sees it."""

    plan: Plan
    target: TableTarget
    work: Workspace
    sharing: Sharing
    ranges: Ranges
    totals: Sequence[Counter]
    columns: tuple[Column, ...] = ()
    own: int = 0  # partitions that were done here
    counted: set[int] = field(default_factory=set)

    def staged(self) -> Staged | None:
        """The rows of all partitions; None if the plan turns out to need all rows at once."""
        board = self.sharing.board
        with self._opened(1) as (stream, counted):
            inputs = [counter.schema for counter in counted[:-1]]
            why = across(self.plan, [schema for schema in inputs if schema is not None], self.work)
            if why is not None:
                self.work.tell(f"computed as one: {why}")
                return None
            schema = stream.schema
            for total, counter in zip(self.totals, counted, strict=True):
                total.started, total.schema = time.perf_counter(), counter.schema
            part = self._laid_out(schema)
            if part is not None and part.number == 1:  # another worker may be quicker
                self._stage(part, stream, counted)
                part = board.take()
        while len(outcomes := self._outcomes()) < len(self.ranges):
            if part is None:
                self.work.cancel.wait(_POLL)
                self.work.cancel.check()
            elif not self._done(part, schema):
                self.work.tell("computed as one: a function gives other types for some of the rows")
                return None
            part = board.take()
        self._end(len(outcomes))
        tables = [self._stages.table(number, int(outcomes[number]["attempt"])) for number in sorted(outcomes)]
        return Staged(schema, tables, self.columns, sum(int(found["rows"]) for found in outcomes.values()))

    def _laid_out(self, schema: pa.Schema) -> Part | None:
        """Lay the partitions out for everybody, and take one."""
        board, ranges = self.sharing.board, self.ranges
        found = {"snapshot": ranges.snapshot.name, "conditions": list(ranges.conditions)}
        known = {**found, "schema": fingerprint(schema), "memory": self.work.memory, "share": board.share}
        board.open(len(ranges), self.sharing.seal(known))
        part = board.take()
        self.sharing.call(len(ranges) - 1)
        return part

    def _done(self, part: Part, schema: pa.Schema) -> bool:
        """Compute a partition; False if its rows are of other types than those of the first one."""
        with self._opened(part.number) as (stream, counted):
            if fingerprint(stream.schema) != fingerprint(schema):
                return False
            self._stage(part, stream, counted)
        return True

    def _outcomes(self) -> dict[int, Any]:
        """What has been done, by number; counted."""
        outcomes = self.sharing.board.outcomes()
        for number in outcomes.keys() - self.counted:
            self.counted.add(number)
            for total, (rows_in, rows_out, rejected) in zip(self.totals, outcomes[number]["counts"], strict=True):
                total.rows_in += rows_in
                total.rows_out += rows_out
                total.rejected += rejected
        return outcomes

    @property
    def _stages(self) -> Stages:
        return Stages(self.work.run_id, self.sharing.board.share)

    @contextlib.contextmanager
    def _opened(self, number: int) -> Iterator[tuple[Stream, list[Counter]]]:
        counted = counters(self.plan)
        part = next(part for part in self.ranges if part.number == number)
        with ExitStack() as stack:
            yield Chain(stack, self.work, counted, part).open(self.plan), counted

    def _stage(self, part: Part, stream: Stream, counted: list[Counter]) -> None:
        table = self._stages.table(part.number, part.attempt)
        rows, self.columns = stage(self.target, stream, self.work, table)
        if not self.sharing.board.done(part, outcome_of(part, rows, counted)):
            raise TransientError("another worker has taken the run over", hint="Nothing is to be done")
        self.own += 1

    def _end(self, parts: int) -> None:
        for total in self.totals[:-1]:
            total.ended = time.perf_counter()
        others = f", {parts - self.own} of them by other workers" if parts > self.own else ""
        self.work.tell(f"read and computed in {parts} partitions on {self.plan.ingestion.partition_on}{others}")  # type: ignore[union-attr]  # it has one


def _closing(board: Board) -> None:
    with contextlib.suppress(DatapipeError):  # a new attempt, or a cleanup, forgets them
        board.close()
