"""What each row is held to by itself: NULLs, conversions, and checks, over one batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from datapipe.data.casting import cast_column, misfits
from datapipe.data.duckerrors import translate
from datapipe.data.stream import Workspace
from datapipe.data.types import EXACT_NUMERIC, tag
from datapipe.errors import DataError, DatapipeError
from datapipe.schemas.binding import Bound, BoundCheck, default_of
from datapipe.schemas.builtin import passing
from datapipe.schemas.functions import judged
from datapipe.schemas.sqlchecks import query_of

Failed = tuple[str, str | None, pa.Array]  # a check's label, its column, and which rows did not keep it


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
            values, bad = _coerced(values, column.field)
            failed += [(f"{column.field.name}: type {rule.type}", column.field.name, bad)] if bad is not None else []
        if rule is not None and rule.default is not None and values.null_count:
            values = pc.fill_null(values, default_of(column))
        columns.append(values)
    if not columns:
        return Shaped(batch.select([]), tuple(failed))
    return Shaped(pa.RecordBatch.from_arrays(columns, schema=bound.schema), tuple(failed))


def _coerced(values: pa.Array, field: pa.Field) -> tuple[pa.Array, pa.Array | None]:
    """The values in the column's type, with NULL for those that have no exact counterpart, and which these are."""
    name, to = field.name, field.type
    try:
        return cast_column(values, to, column=name), None
    except DataError:
        bad = misfits(values, to)
    kept = pc.if_else(pa.array(bad), pa.scalar(None, values.type), values)
    return cast_column(kept, to, column=name), pa.array(bad)


def not_null(shaped: Shaped, bound: Bound) -> Iterator[Failed]:
    """The NULLs of columns that must have none; one in the place of a value that has no counterpart is none."""
    unconverted = {column: rows for _, column, rows in shaped.failed}
    for column, values in zip(bound.columns, shaped.batch.columns, strict=True):
        name = column.field.name
        if column.rule is None or column.rule.nullable or not values.null_count:
            continue
        missing = pc.and_not(values.is_null(), unconverted[name]) if name in unconverted else values.is_null()
        if pc.any(missing).as_py():
            yield f"{name}: not NULL", name, missing


def computable(batch: pa.RecordBatch, first_row: int) -> pa.Table:
    """The batch with every ``numeric`` that travels as text as an exact decimal."""
    columns = [
        cast_column(values, EXACT_NUMERIC, column=field.name, first_row=first_row)
        if tag(field) == "numeric"
        else values
        for field, values in zip(batch.schema, batch.columns, strict=True)
    ]
    schema = pa.schema([pa.field(name, values.type) for name, values in zip(batch.schema.names, columns, strict=True)])
    return pa.Table.from_batches([pa.RecordBatch.from_arrays(columns, schema=schema)])


@dataclass(frozen=True)
class RowChecks:
    """The row-wise checks of a contract, and the columns that they read."""

    checks: tuple[BoundCheck, ...]
    columns: tuple[str, ...]
    con: duckdb.DuckDBPyConnection
    work: Workspace

    def failed(self, batch: pa.RecordBatch, first_row: int) -> Iterator[tuple[BoundCheck, Failed]]:
        """The checks that some row of a batch does not keep."""
        if not self.checks:
            return
        exact = computable(batch.select(list(self.columns)), first_row)
        for check in self.checks:
            failed = self._failed(check, exact) if check.spec.sql is None else None
            if failed is not None:
                yield check, (check.label, check.column, failed)
        yield from self._failed_in_sql(exact)

    def _failed(self, check: BoundCheck, table: pa.Table) -> pa.Array | None:
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
        self.con.register("input_data", table)
        try:
            made = self.con.sql(query_of([str(check.spec.sql) for check in checks])).to_arrow_table()
        except duckdb.Error as error:
            raise translate(error) from None
        finally:
            self.con.unregister("input_data")
        for check, passed in zip(checks, made.columns, strict=True):
            failed = _not_kept(passed.combine_chunks(), ignore_na=True)
            if failed is not None:
                yield check, (check.label, check.column, failed)


def _failing(check: BoundCheck, table: pa.Table, work: Workspace) -> pa.Array | None:
    """Which rows do not keep a check; None if all do."""
    spec = check.spec
    if spec.check is not None:
        return _not_kept(passing(spec, table.column(check.column).combine_chunks()), ignore_na=spec.ignore_na)
    from datapipe.data.frames import to_pandas  # loads pandas

    frame = to_pandas(table.select([check.column]) if check.column else table)
    passed = judged(spec, frame[check.column] if check.column else frame, work)
    return None if passed is None else _not_kept(passed, ignore_na=False)


def _not_kept(passed: pa.Array, *, ignore_na: bool) -> pa.Array | None:
    failed = pc.fill_null(pc.invert(passed.cast(pa.bool_())), not ignore_na)
    return failed if pc.any(failed).as_py() else None
