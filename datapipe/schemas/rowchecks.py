"""What each row is held to by itself: NULLs, conversions, and checks, over one batch at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datapipe.data import compute as pc
from datapipe.data.casting import cast_column, misfits
from datapipe.data.duckerrors import translate
from datapipe.data.stream import Workspace
from datapipe.data.types import EXACT_NUMERIC, tag
from datapipe.errors import DataError, DatapipeError
from datapipe.schemas.binding import Bound, BoundCheck, default_of
from datapipe.schemas.builtin import passing
from datapipe.schemas.functions import judged
from datapipe.schemas.sqlchecks import query_of

Mask = npt.NDArray[np.bool_]
Failed = tuple[str, str | None, Mask]  # a check's label, its column, and which rows did not keep it


@dataclass(frozen=True)
class Shaped:
    """A batch in the contract's types, and the rows of it that could not be brought into them."""

    batch: pa.RecordBatch
    failed: tuple[Failed, ...] = ()


def shape(batch: pa.RecordBatch, bound: Bound) -> Shaped:
    """Convert a batch, fill its defaults, and leave out the columns that the contract filters."""
    failed: list[Failed] = []
    columns = []
    for column in bound.columns:
        values = batch.column(column.index)
        rule = column.rule
        if rule is not None and column.coerced:
            values, bad = _converted(values, column.field)
            failed += [(f"{column.field.name}: type {rule.type}", column.field.name, bad)] if bad is not None else []
        if rule is not None and rule.default is not None and values.null_count:
            values = pc.fill_null(values, default_of(column))
        columns.append(values)
    if not columns:
        return Shaped(batch.select([]), tuple(failed))
    return Shaped(pa.RecordBatch.from_arrays(columns, schema=bound.schema), tuple(failed))


def _converted(values: pa.Array, field: pa.Field) -> tuple[pa.Array, Mask | None]:
    """The values in the column's type, with NULL for those that have no exact counterpart, and which these are."""
    name, to = field.name, field.type
    try:
        return cast_column(values, to, column=name), None
    except DataError:
        bad = misfits(values, to)
    kept = pc.if_else(pa.array(bad), pa.scalar(None, values.type), values)
    return cast_column(kept, to, column=name), bad


def not_null(shaped: Shaped, bound: Bound) -> Iterator[Failed]:
    """The NULLs of columns that must have none; one in the place of a value that has no counterpart is none."""
    unconverted = {column: rows for _, column, rows in shaped.failed}
    for column, values in zip(bound.columns, shaped.batch.columns, strict=True):
        name = column.field.name
        if column.rule is None or column.rule.nullable or not values.null_count:
            continue
        missing = values.is_null().to_numpy(zero_copy_only=False)
        if name in unconverted:
            missing = missing & ~unconverted[name]
        if missing.any():
            yield f"{name}: not NULL", name, missing


def computable(batch: pa.RecordBatch, names: Collection[str]) -> Shaped:
    """The batch with every ``numeric`` among these columns that travels as text as an exact decimal."""
    failed: list[Failed] = []
    columns = []
    for field, values in zip(batch.schema, batch.columns, strict=True):
        if field.name not in names or tag(field) != "numeric":
            columns.append(values)
            continue
        exact, bad = _converted(values, pa.field(field.name, EXACT_NUMERIC))
        columns.append(exact)
        failed += [(f"{field.name}: does not fit decimal(38,20)", field.name, bad)] if bad is not None else []
    return Shaped(pa.RecordBatch.from_arrays(columns, batch.schema.names), tuple(failed))


@dataclass(frozen=True)
class RowChecks:
    """The row-wise checks of a contract, and the columns that they read."""

    checks: tuple[BoundCheck, ...]
    columns: tuple[str, ...]
    con: duckdb.DuckDBPyConnection
    work: Workspace

    def failed(self, batch: pa.RecordBatch) -> Iterator[tuple[BoundCheck, Failed]]:
        """The checks that some row of a batch, which is computable, does not keep."""
        if not self.checks:
            return
        table = pa.Table.from_batches([batch.select(list(self.columns))])
        for check in self.checks:
            failed = self._failed(check, table) if check.spec.sql is None else None
            if failed is not None:
                yield check, (check.label, check.column, failed)
        yield from self._failed_in_sql(table)

    def _failed(self, check: BoundCheck, table: pa.Table) -> Mask | None:
        try:
            return _failing(check, table, self.work)
        except DatapipeError as error:
            if check.column and not error.message.startswith("column"):
                error.message = f"column {check.column!r}: {error.message}"
            raise

    def _failed_in_sql(self, table: pa.Table) -> Iterator[tuple[BoundCheck, Failed]]:
        checks = [check for check in self.checks if check.spec.sql is not None]
        if not checks:
            return
        texts = [str(check.spec.sql) for check in checks]
        self.con.register("input_data", table)
        try:
            made = self._judged(texts)
        finally:
            self.con.unregister("input_data")
        for check, passed in zip(checks, made.columns, strict=True):
            failed = _not_kept(passed.combine_chunks(), ignore_na=True)
            if failed is not None:
                yield check, (check.label, check.column, failed)

    def _judged(self, texts: list[str]) -> pa.Table:
        try:
            return self.con.sql(query_of(texts)).to_arrow_table()
        except duckdb.Error as error:
            translated = translate(error)
            if not isinstance(translated, DataError):
                raise translated from None
        # Some row has no answer, such as text that is no number: with NULL passing by itself, TRY gives NULL for it.
        tried = [f"coalesce(TRY(coalesce(({text}\n), true)), false)" for text in texts]
        try:
            return self.con.sql(query_of(tried)).to_arrow_table()
        except duckdb.Error:
            raise translated from None  # TRY takes no volatile function


def _failing(check: BoundCheck, table: pa.Table, work: Workspace) -> Mask | None:
    """Which rows do not keep a check; None if all do."""
    spec = check.spec
    if spec.check is not None:
        return _not_kept(passing(spec, table.column(check.column).combine_chunks()), ignore_na=spec.ignore_na)
    from datapipe.data.frames import to_pandas  # loads pandas

    frame = to_pandas(table.select([check.column]) if check.column else table)
    answer = judged(spec, frame[check.column] if check.column else frame, work)
    return None if answer.kept else answer.failed


def _not_kept(passed: pa.Array, *, ignore_na: bool) -> Mask | None:
    failed: Mask = pc.fill_null(pc.invert(passed.cast(pa.bool_())), not ignore_na).to_numpy(zero_copy_only=False)
    return failed if failed.any() else None
