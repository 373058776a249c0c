"""Rows held to a contract on their way: bad ones raise, go to quarantine, are dropped, or are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa

from datapipe.data import duck
from datapipe.data.casting import check_cases
from datapipe.data.jsonrows import to_json
from datapipe.data.memory import checked
from datapipe.data.rejects import SCHEMA as REJECTS
from datapipe.data.rejects import Rejects
from datapipe.data.spool import Spool
from datapipe.data.stream import Stream, Workspace
from datapipe.errors import PlanError
from datapipe.plan import ValidateConfig
from datapipe.schemas.binding import Bound, BoundCheck, bind, left_out
from datapipe.schemas.failures import Failures, Rows, reasons
from datapipe.schemas.pandera_form import held_to
from datapipe.schemas.rowchecks import Failed, Mask, RowChecks, computable, not_null, shape
from datapipe.schemas.sqlchecks import ROW, Scope, columns_in, scope_of
from datapipe.schemas.whole import Verdict, Whole

_MOST = 1000  # rows that fail before a run that raises has seen enough
_HINT = "Correct the rows or the contract; on_error='quarantine' keeps bad rows aside and loads the others"
_COERCE_HINT = "Correct the values, use on_error='quarantine' or 'drop', or convert them in a .sql() step with TRY_CAST"
_TABLE_HINT = "No row is to blame, so none can be kept aside; correct the rows or the contract"


@contextmanager
def run_validate(
    config: ValidateConfig,
    stream: Stream,
    work: Workspace,
    *,
    step: str = "validate",
    count: Callable[[int], object] = lambda _: None,
) -> Iterator[Stream]:
    """Hold a stream to a contract.

    Parameters
    ----------
    step : str
        The step's name, by which rejected rows are filed.
    count : callable
        Told how many rows were rejected, whenever some are.

    Raises
    ------
    SchemaError
        If columns or types are not the contract's; before any row is read.
    PlanError
        If the contract itself is wrong.
    DataError
        While reading, if rows break the contract and ``on_error`` is ``raise``, more than ``max_failures`` do, or a
        check of the whole table is not kept.
    """
    bound = bind(held_to(config), stream.schema)
    names = bound.schema.names
    if bound.unique or any(check.spec.sql is not None for check in bound.checks):
        check_cases(names, what="the table")  # which DuckDB takes for one
    with duck.private(work) as con:
        con.execute("SET enable_external_access=false").complete()
        filtered = [name for name in stream.schema.names if name not in names]
        scopes = [(check, _scope(con, check, bound.schema, filtered)) for check in bound.checks]
        con.execute("SET lock_configuration=true").complete()
        by_row = tuple(check for check, scope in scopes if scope == "row")
        # A sample says nothing of the whole table.
        by_table = [(check, scope) for check, scope in scopes if scope != "row" and work.limit is None]
        unique = bound.unique if work.limit is None else ()
        wanted = _read(con, [check for check, _ in by_table], names) | {n for u in unique for n in u.columns}
        kept = [field for field in bound.schema if field.name in wanted]
        # COUNT(*) reads no column, and rows have at least one.
        whole = Whole(con, pa.schema(kept or [bound.schema.field(0)]), by_table, unique, work)
        of_rows = _read(con, by_row, names)
        checks = RowChecks(by_row, tuple(of_rows) or (names[0],), con, work)
        refuses_late = bool(unique) or any(scope == "rows" for _, scope in by_table)
        late = config.on_error in {"quarantine", "drop"} and refuses_late
        held = whole if by_table or unique else None
        run = _Validation(config, bound, stream.schema, wanted | of_rows, checks, held, work, step, count)
        yield Stream(bound.schema, run.late(stream.batches) if late else run.at_once(stream.batches), stream.total)


def judges_across_rows(config: ValidateConfig, schema: pa.Schema, work: Workspace) -> str | None:
    """Why rows cannot be held to a contract some at a time; None if they can."""
    if config.on_error != "raise" or config.max_failures is not None:
        return "bad rows are counted over the whole table"
    bound = bind(held_to(config), schema)
    if bound.unique:
        return "a key is to be unique"
    with duck.private(work) as con:
        filtered = [name for name in schema.names if name not in bound.schema.names]
        across = [check for check in bound.checks if _scope(con, check, bound.schema, filtered) != "row"]
    if across or any(check.spec.warn for check in bound.checks):
        return "a check looks at the whole table"
    return None


def _scope(con: duckdb.DuckDBPyConnection, check: BoundCheck, schema: pa.Schema, filtered: list[str]) -> Scope:
    spec = check.spec
    if spec.sql is not None:
        try:
            return scope_of(con, spec.sql, schema)
        except PlanError:
            read = columns_in(con, spec.sql, filtered) if filtered else ()
            if read:
                raise left_out(f"the check {spec.sql!r}", min(read)) from None
            raise
    if spec.check == "unique_values_eq":
        return "table"
    return "row" if spec.check is not None or spec.element_wise or spec.row_wise else "rows"


def _read(con: duckdb.DuckDBPyConnection, checks: Iterable[BoundCheck], names: list[str]) -> set[str]:
    """The columns that checks read."""
    found: set[str] = set()
    for check in checks:
        if check.column is not None:
            found.add(check.column)
        else:
            found |= columns_in(con, check.spec.sql, names) if check.spec.sql is not None else set(names)
    return found


@dataclass(frozen=True)
class _Part:
    """A batch on its way: as it came, in the contract's types, and the numbers of its rows."""

    given: pa.RecordBatch
    shaped: pa.RecordBatch
    numbers: Rows

    def where(self, mask: Mask) -> _Part:
        """Some of the rows."""
        chosen = pa.array(mask)
        return _Part(self.given.filter(chosen), self.shaped.filter(chosen), self.numbers[mask])


@dataclass
class _Validation:
    """One pass over a stream."""

    config: ValidateConfig
    bound: Bound
    schema: pa.Schema  # of the rows that come in
    read: set[str]  # the columns that checks look at
    checks: RowChecks
    whole: Whole | None
    work: Workspace
    step: str
    count: Callable[[int], object]
    failures: Failures = field(default_factory=Failures)
    unconverted: bool = False  # whether a value stands in the way of handing its row on
    told: list[Rows] = field(default_factory=list)  # the rows that fail and are handed on, if they are limited
    warnings: Failures = field(default_factory=Failures)  # of checks that are only to warn

    def at_once(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The rows that are handed on, where no row is refused for what comes after it."""
        for part in self._judged(batches):
            yield part.shaped
        for verdict in self._verdicts():
            self.told += [] if verdict.warn or not self._tells else [verdict.rows]
        if self._tells:
            self._check_limit(_count(self.told) - self.failures.rows)
        self._end()

    def late(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The rows that are handed on, once all have been seen; until then they are in a file."""
        numbered = self.schema.append(pa.field(ROW, pa.int64()))
        spool = Spool(self.work.scratch / f"validate-{id(self)}.arrow", numbered)
        for part in self._judged(batches):
            columns = [*part.given.columns, pa.array(part.numbers)]
            spool.write(pa.RecordBatch.from_arrays(columns, schema=numbered))
        spool.close()
        refused = [verdict for verdict in self._verdicts(without_refused=True) if not verdict.warn]
        self._check_limit(_count([verdict.rows for verdict in refused]))
        yield from self._released(spool, refused)
        self._end()

    def _released(self, spool: Spool, refused: list[Verdict]) -> Iterator[pa.RecordBatch]:
        for batch in checked(spool.batches(), self.work):
            given = pa.RecordBatch.from_arrays(batch.columns[:-1], schema=self.schema)
            part = _Part(given, shape(given, self.bound).batch, batch.column(batch.num_columns - 1).to_numpy())
            masks = ((one.label, one.column, _among(part.numbers, one.rows)) for one in refused)
            failed = [found for found in masks if found[2].any()]
            yield (self._reject(part, failed, _any(failed)) if failed else part).shaped
        spool.path.unlink()

    def _judged(self, batches: Iterator[pa.RecordBatch]) -> Iterator[_Part]:
        """The batches without the rows that fail by themselves."""
        seen = 0
        for batch in checked(batches, self.work):
            numbers = np.arange(seen + 1, seen + batch.num_rows + 1, dtype=np.int64)
            seen += batch.num_rows
            shaped = shape(batch, self.bound)
            exact = computable(shaped.batch, self.read)
            part = _Part(batch, shaped.batch, numbers)
            failed = [*shaped.failed, *exact.failed, *not_null(shaped, self.bound)]
            for check, found in self.checks.failed(exact.batch):
                if check.spec.warn:
                    self.warnings.add(found[0], found[1], numbers[found[2]])
                else:
                    failed.append(found)
            if failed:
                part = self._refuse(part, failed)
                if shaped.failed and self.config.on_error == "warn":
                    self.unconverted = True
            if self.whole is not None:
                kept = _among(numbers, part.numbers)
                for *_, rows in exact.failed:  # not to be judged, even where they are handed on
                    kept &= ~rows
                if kept.any():
                    self.whole.add(exact.batch if kept.all() else exact.batch.filter(pa.array(kept)), numbers[kept])
            if not self.unconverted and (self.config.on_error != "raise" or not self.failures):
                yield part  # else the rest is read for the whole list of failures, and nothing is handed on

    def _refuse(self, part: _Part, failed: list[Failed]) -> _Part:
        """Count rows that fail; without them, if bad rows are not handed on."""
        limit = _MOST if self.config.on_error == "raise" else self._limit
        bad = _any(failed)
        if limit is not None and self.failures.rows + bad.sum() >= limit:
            last = np.flatnonzero(bad)[limit - self.failures.rows - 1]  # so that it does not depend on the batch
            until = slice(last + 1)
            self._note(part.numbers[until], [(label, name, rows[until]) for label, name, rows in failed], bad[until])
            raise self._too_many(self.failures.rows)
        self._note(part.numbers, failed, bad)
        return self._reject(part, failed, bad)

    def _note(self, numbers: Rows, failed: list[Failed], bad: Mask) -> None:
        for label, column, mask in failed:
            if mask.any():
                self.failures.add(label, column, numbers[mask])
        self.failures.rows += int(bad.sum())
        self.told += [numbers[bad]] if self._tells else []

    def _reject(self, part: _Part, failed: list[Failed], bad: Mask) -> _Part:
        if self.config.on_error not in {"quarantine", "drop"}:
            return part
        self.count(int(bad.sum()))
        if self.config.on_error == "quarantine" and self.work.rejects is not None:
            kept = [(label, column, rows[bad]) for label, column, rows in failed]
            self._keep_aside(part.where(bad), kept, self.work.rejects)
        return part.where(~bad)

    def _keep_aside(self, part: _Part, failed: list[Failed], rejects: Rejects) -> None:
        rows = len(part.numbers)
        steps = pa.array([self.step] * rows, pa.string())
        texts = to_json(part.given, self.schema, self.checks.con)
        columns = [steps, pa.array(part.numbers), *reasons(rows, failed), texts]
        rejects.schemas[self.step] = self.schema
        rejects.add(pa.RecordBatch.from_arrays(columns, schema=REJECTS), self.work.scratch)

    def _verdicts(self, *, without_refused: bool = False) -> Iterator[Verdict]:
        """What the whole table does not keep; counted."""
        for verdict in self.whole.verdicts(without_refused=without_refused) if self.whole is not None else ():
            (self.warnings if verdict.warn else self.failures).add(verdict.label, verdict.column, verdict.rows)
            yield verdict

    @property
    def _tells(self) -> bool:
        return self.config.on_error == "warn" and self.config.max_failures is not None

    @property
    def _limit(self) -> int | None:
        return None if self.config.max_failures is None else self.config.max_failures + 1

    def _check_limit(self, further: int) -> None:
        if self._limit is not None and self.failures.rows + further >= self._limit:
            raise self._too_many(self.failures.rows + further)

    def _too_many(self, rows: int) -> Exception:
        if self.config.on_error == "raise":
            return self.failures.error(f"at least {rows:,} rows break the contract", _HINT)
        what = f"more than max_failures={self.config.max_failures:,} rows break the contract"
        return self.failures.error(what, "Correct the rows or the contract, or allow more failures")

    def _end(self) -> None:
        """Raise for what nobody may overlook, and tell the rest."""
        found, mode = self.failures, self.config.on_error
        if self.unconverted:
            raise found.error("values that cannot be converted cannot be handed on", _COERCE_HINT)
        if mode == "raise" and found:
            raise found.error("the rows break the contract", _TABLE_HINT if found.of_table == found.all else _HINT)
        if mode in {"quarantine", "drop"} and found.of_table:
            raise found.error("the whole table breaks the contract", _TABLE_HINT)
        if found:
            aside = "kept aside" if self.work.rejects is not None else "left out, and are nowhere: nothing is written"
            done = {"quarantine": aside, "drop": "left out", "warn": "handed on all the same"}[mode]
            self.work.tell(f"{self.step}: rows that break the contract were {done}: {found.text()}")
        if self.warnings:
            self.work.tell(f"{self.step}: warning: {self.warnings.text()}")


def _count(rows: list[Rows]) -> int:
    """How many rows these are, each counted once."""
    return len(np.unique(np.concatenate(rows))) if rows else 0


def _among(numbers: Rows, rows: Rows) -> Mask:
    """Which of these numbers, in order, are among others, in order too."""
    some = (
        rows[np.searchsorted(rows, numbers[0]) : np.searchsorted(rows, numbers[-1], "right")] if len(numbers) else rows
    )
    found: Mask = np.isin(numbers, some, assume_unique=True)
    return found


def _any(failed: list[Failed]) -> Mask:
    found: Mask = np.logical_or.reduce([rows for *_, rows in failed])
    return found
