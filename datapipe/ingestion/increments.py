"""The rows of a source that no load has seen: within the bounds of the cursor, and known again when read again."""

from __future__ import annotations

import datetime as dt
import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from datapipe.data import compute as pc
from datapipe.data.asking import Ask, Bound
from datapipe.data.stream import Stream
from datapipe.data.watermark import Mark, Watermark
from datapipe.errors import DataError
from datapipe.ingestion.cursors import at_least, back, comparable, cursor_fields, greatest, mark_of
from datapipe.ingestion.digests import SIZE, digests
from datapipe.plan.incremental import Incremental

_MOST = 500_000  # rows that are known again: what the ledger keeps of them is 11 MB of text, and databases take 16
_HELD = 16 << 20  # bytes of rows near the watermark that are held as they are


class Increment:
    """One reading of a source beyond a watermark, which leaves the next one.

    Parameters
    ----------
    how : Incremental
    since : Watermark, optional
        Of the loads before; None for the first, and where none count.
    keyed : bool
        Whether the target knows rows by their keys, so that it does no harm to load one again.
    again : bool
        Whether rows that are read again are loaded again, whatever is known of them: one may have been deleted
        and come back.
    """

    def __init__(
        self, how: Incremental, since: Watermark | None = None, *, keyed: bool = False, again: bool = False
    ) -> None:
        self._how, self._keyed, self._again = how, keyed, again
        if since is not None and again:
            since = replace(since, columns=(), seen=b"")
        self._since = since if since is not None and since.values is not None else None
        self._said = since.begin if since else None
        self._known = Counter(_split(since.seen)) if since else Counter()
        self._known_by = since.columns if since else ()
        self._fields: list[pa.Field] = []
        self._columns: tuple[str, ...] = ()
        self._bounds: tuple[Bound, ...] = ()
        self._near = Near([], (), how)
        self._late: list[bytes] = []  # of the rows beside the old watermark that nobody had seen

    def choose(self, schema: pa.Schema) -> Ask:
        """What is asked of the source, once its columns are known.

        Raises
        ------
        PlanError
            If the cursor is not among them, or its values have no order.
        """
        self._fields, self._columns = cursor_fields(self._how.cursor, schema), tuple(schema.names)
        names = tuple(each.name for each in self._fields)
        nulls = self._how.nulls != "skip" and any(each.nullable for each in self._fields)
        low, bounds = self._begin(), []
        if low is not None:
            bounds.append(Bound(names[: len(low)], low, nulls=nulls))
        if self._how.until is not None:
            bounds.append(Bound(names, self._typed(self._how.until, "until"), below=True, nulls=nulls))
        self._bounds = tuple(bounds)
        self._near = Near(self._fields, self._columns, self._how)
        return Ask(bounds=self._bounds)

    def of(self, stream: Stream) -> Stream:
        """What is new in a stream that was asked for what :meth:`choose` says, or for all."""
        self.choose(stream.asked.schema if stream.asked else stream.schema)
        return replace(stream, batches=self.rows(stream.batches), total=None)

    def rows(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Those rows of what was read that are within the bounds and new.

        Raises
        ------
        DataError
            If the cursor of a row is NULL, and the plan does not say what to do with it.
        """
        first_row = 1
        for batch in batches:
            wanted = self._wanted(batch, first_row)
            first_row += batch.num_rows
            if wanted.num_rows:
                fresh = self._fresh(wanted)
                if fresh.num_rows:
                    yield fresh

    def _wanted(self, batch: pa.RecordBatch, first_row: int) -> pa.RecordBatch:
        cursor = _cursor(batch, self._fields)
        missing = _any([values.is_null() for values in cursor])
        count = missing.true_count
        if count and self._how.nulls == "error":
            row = first_row + missing.index(True).as_py()
            column = next(f.name for f, values in zip(self._fields, cursor, strict=True) if values.null_count)
            hint = "Say what to do with such rows: nulls='skip', or nulls='always' to look at them in each run"
            raise DataError(f"the cursor {column!r} is NULL in row {row}", column=column, row=row, hint=hint)
        kept = pc.invert(missing)
        for bound in self._bounds:
            inside = at_least(cursor, bound.values, self._fields)
            kept = pc.and_(kept, pc.fill_null(pc.invert(inside) if bound.below else inside, False))
        if self._how.nulls == "always":
            kept = pc.or_(kept, missing)
        return batch if kept.true_count == batch.num_rows else batch.filter(kept)

    def _fresh(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Those rows that are not known; all of them are near the watermark, if any is."""
        if self._again:
            self._near.reach(_cursor(batch, self._fields))
            return batch
        self._near.add(batch, _cursor(batch, self._fields))
        again = self._read_before(batch)
        if again is None or not again.true_count:
            return batch
        mine = digests(batch.filter(again), self._known_by or self._columns)
        known = [self._take(digest) for digest in mine]
        self._late += [digest for digest, is_known in zip(mine, known, strict=True) if not is_known]
        if not any(known):
            return batch
        return batch.filter(pc.invert(pc.replace_with_mask(again, again, pa.array(known))))

    def _read_before(self, batch: pa.RecordBatch) -> pa.Array | None:
        """Which rows may have been there for an earlier load: up to its watermark, and those without a cursor."""
        if not self._known and self._since is None:
            return None
        cursor = _cursor(batch, self._fields)
        missing = _any([values.is_null() for values in cursor])
        if self._old is None:
            return missing
        beyond = at_least(cursor, self._old, self._fields, strict=True)
        return pc.or_(missing, pc.fill_null(pc.invert(beyond), False))

    def _take(self, digest: bytes) -> bool:
        if not self._known[digest]:
            return False
        self._known[digest] -= 1
        return True

    @property
    def marks(self) -> dict[str, Any]:
        """The columns of the cursor, and the greatest values so far as JSON values; nothing where there are none."""
        names = [each.name for each in self._fields]
        return dict(zip(names, map(_plain, self._top or ()), strict=False))

    @property
    def watermark(self) -> Watermark:
        """What the next load begins at, once all rows have been read.

        Raises
        ------
        DataError
            If more rows would have to be known again than the ledger can keep, and the target has no keys.
        """
        cursor, top = tuple(each.name for each in self._fields), self._top
        if self._again:
            return Watermark(cursor, top, floor=self._floor)
        until = next((bound.values for bound in self._bounds if bound.below), None)
        if (
            self._since and self._old is not None and until is not None and until <= self._old
        ):  # not all that is near it was read
            seen = sorted([*self._known_before(), *self._late])
            return Watermark(cursor, top, self._known_by or self._columns, b"".join(seen), self._since.floor)
        if top is not None:
            self._near.rise(top)
        seen = self._near.seen()
        if len(seen) <= _MOST:
            return Watermark(cursor, top, self._columns, b"".join(sorted(seen)), self._floor)
        if self._keyed:
            return Watermark(cursor, top, self._columns)
        problem = f"{len(seen):,} rows near the watermark would be read again, and at most {_MOST:,} can be known again"
        hint = "Use a finer cursor, a shorter lag, or strategy='upsert' with keys"
        raise DataError(problem, column=cursor[0], hint=hint)

    @property
    def _floor(self) -> tuple[Mark, ...] | None:
        """From where on all rows that were loaded are among those near the watermark."""
        if self._top is None:
            return None
        floor, low = back(self._top, self._how.lag, self._fields[0]), self._begin()
        return floor if low is None else max(floor, low)

    @property
    def _old(self) -> tuple[Mark, ...] | None:
        return self._typed(self._since.values, "the watermark") if self._since else None

    @property
    def _top(self) -> tuple[Mark, ...] | None:
        tops = [top for top in (self._old, self._near.top) if top is not None]
        return max(tops, default=None)

    def _known_before(self) -> Sequence[bytes]:
        return _split(self._since.seen) if self._since else ()

    def _begin(self) -> tuple[Mark, ...] | None:
        if self._since is not None and self._old is not None:
            low = back(self._old, self._how.lag, self._fields[0])
            # With a lag that has grown, rows would be read again that nobody could know again.
            floor = None if self._since.floor is None else self._typed(self._since.floor, "the watermark")
            return low if floor is None else max(low, floor)
        if self._said is not None:
            return self._typed(self._said, "the watermark")
        return None if self._how.start is None else self._typed(self._how.start, "start")

    def _typed(self, values: Any, what: str) -> tuple[Mark, ...]:
        listed = values if isinstance(values, tuple) else (values,)
        return tuple(mark_of(value, each, what) for value, each in zip(listed, self._fields, strict=False))


class Near:
    """The rows that the next load reads again: from the greatest cursor seen, less the lag, upwards."""

    def __init__(self, fields: Sequence[pa.Field], columns: Sequence[str], how: Incremental) -> None:
        self._fields, self._columns, self._how = fields, columns, how
        self._rows: list[pa.RecordBatch] = []
        self._digests: list[tuple[list[pa.Array], pa.Array]] = []  # with the cursor of each
        self._held = 0
        self.top: tuple[Mark, ...] | None = None

    def add(self, batch: pa.RecordBatch, cursor: Sequence[pa.Array]) -> None:
        """Take rows into account."""
        self.reach(cursor)
        near = batch.filter(self._is_near(cursor))
        if near.num_rows:
            self._rows.append(near)
            self._held += near.nbytes
        if self._held > _HELD:
            self._digest()

    def reach(self, cursor: Sequence[pa.Array]) -> None:
        """Rise to the greatest cursor of some rows."""
        found = greatest(cursor, self._fields)
        if found is not None and (self.top is None or found > self.top):
            self.rise(found)

    def rise(self, top: tuple[Mark, ...]) -> None:
        """Let go of what is no longer near."""
        if self.top is not None and top <= self.top:
            return
        self.top = top
        rows = [batch.filter(self._is_near(_cursor(batch, self._fields))) for batch in self._rows]
        self._rows = [batch for batch in rows if batch.num_rows]
        self._held = sum(batch.nbytes for batch in self._rows)
        kept = [(cursor, made, self._is_near(cursor)) for cursor, made in self._digests]
        self._digests = [([c.filter(near) for c in cursor], made.filter(near)) for cursor, made, near in kept]

    def seen(self) -> list[bytes]:
        """The digests of what is near."""
        self._digest()
        return [digest for _, made in self._digests for digest in made.to_pylist()]

    def _digest(self) -> None:
        for batch in self._rows:
            made = pa.array(digests(batch, self._columns), pa.binary(SIZE))
            self._digests.append((_cursor(batch, self._fields), made))
        self._rows, self._held = [], 0

    def _is_near(self, cursor: Sequence[pa.Array]) -> pa.Array:
        missing = _any([values.is_null() for values in cursor])
        if self.top is None:
            return missing
        floor = back(self.top, self._how.lag, self._fields[0])
        return pc.or_(missing, pc.fill_null(at_least(cursor, floor, self._fields), False))


def _cursor(batch: pa.RecordBatch, fields: Sequence[pa.Field]) -> list[pa.Array]:
    return [comparable(batch.column(each.name), each) for each in fields]


def _plain(value: Mark) -> int | str:
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ")
    return value if isinstance(value, int) else str(value)


def _any(masks: Sequence[pa.Array]) -> pa.Array:
    return functools.reduce(pc.or_, masks)


def _split(seen: bytes) -> list[bytes]:
    return [seen[start : start + SIZE] for start in range(0, len(seen), SIZE)]
