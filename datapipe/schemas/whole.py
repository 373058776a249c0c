"""What only the whole table can answer: keys that repeat, aggregates, functions of a column. Spilled to disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from datapipe.data.duckerrors import translate
from datapipe.data.memory import free_memory, gathered
from datapipe.data.names import quote, quoted
from datapipe.data.stream import Stream, Workspace
from datapipe.errors import DataError
from datapipe.schemas.binding import BoundCheck, Unique
from datapipe.schemas.builtin import scalar
from datapipe.schemas.failures import Rows
from datapipe.schemas.functions import judged
from datapipe.schemas.rowchecks import computable
from datapipe.schemas.sqlchecks import ROW, Scope

TABLE = "_datapipe_whole"
_WINDOWS = {
    "all": "count(*) OVER (PARTITION BY {0}) > 1",
    "exclude_first": "row_number() OVER (PARTITION BY {0} ORDER BY {1}) > 1",
    "exclude_last": "row_number() OVER (PARTITION BY {0} ORDER BY {1} DESC) > 1",
}


@dataclass(frozen=True)
class Verdict:
    """A check that was not kept, and the numbers of the rows to blame; none, if no row is."""

    label: str
    column: str | None
    rows: Rows
    warn: bool = False


class Whole:
    """The columns that whole-table checks read, with each row's number, in a table of DuckDB."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        schema: pa.Schema,
        checks: Sequence[tuple[BoundCheck, Scope]],
        unique: Sequence[Unique],
        work: Workspace,
    ) -> None:
        self._con, self._schema, self._checks, self._unique = con, schema, checks, unique
        self._columns, self._work = schema.names, work
        self._is_made = False
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0

    def add(self, batch: pa.RecordBatch, numbers: Rows) -> None:
        """Take the rows of a batch, whose numbers these are."""
        first = int(numbers[0]) if len(numbers) else 1
        table = computable(batch.select(self._columns), first).append_column(ROW, pa.array(numbers))
        self._waiting.append(table)
        self._waiting_bytes += table.nbytes
        if self._waiting_bytes >= self._work.batch_bytes:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        self._con.register("batch", pa.concat_tables(self._waiting))
        self._waiting, self._waiting_bytes = [], 0
        begin = f"INSERT INTO {TABLE}" if self._is_made else f"CREATE TABLE {TABLE} AS"
        try:
            with self._work.cancel.hook(self._con.interrupt):
                self._con.execute(f"{begin} SELECT * FROM batch").complete()
        except (duckdb.Error, RuntimeError) as error:
            self._work.cancel.check()
            raise translate(error) from None
        self._is_made = True
        self._con.unregister("batch")

    def verdicts(self) -> Iterator[Verdict]:
        """The checks that the rows taken do not keep."""
        if not self._is_made and not self._waiting:  # a check such as COUNT(*) > 0 looks at no rows too
            self.add(pa.RecordBatch.from_pylist([], schema=self._schema), np.array([], np.int64))
        self._flush()
        try:
            with self._work.cancel.hook(self._con.interrupt):
                self._con.execute(f"CREATE VIEW input_data AS SELECT * EXCLUDE ({ROW}) FROM {TABLE}").complete()
                for unique in self._unique:
                    yield from self._repeated(unique)
                for check, scope in self._checks:
                    yield from self._judge(check, scope)
        except (duckdb.Error, RuntimeError) as error:
            self._work.cancel.check()
            raise translate(error) from None

    def _judge(self, check: BoundCheck, scope: Scope) -> Iterator[Verdict]:
        if check.spec.function is not None:
            rows = self._by_function(check)
        elif check.spec.check is not None:
            rows = self._has_exactly(check)
        elif scope == "table":
            passed = self._con.sql(f"SELECT ({check.spec.sql}\n) FROM input_data").fetchall()[0][0]
            rows = None if passed is None or passed else np.array([], np.int64)
        else:
            source = f"(SELECT {ROW}, ({check.spec.sql}\n) AS kept FROM {TABLE} AS input_data)"
            rows = self._rows(f"SELECT {ROW} FROM {source} WHERE NOT kept ORDER BY {ROW}")
        if rows is not None:
            yield Verdict(check.label, check.column, rows, check.spec.warn)

    def _repeated(self, unique: Unique) -> Iterator[Verdict]:
        names = quoted(unique.columns)
        # Grouping needs less room than a window over all rows, and mostly nothing repeats.
        if not self._con.sql(f"SELECT 1 FROM {TABLE} GROUP BY {names} HAVING count(*) > 1 LIMIT 1").fetchall():
            return
        window = _WINDOWS[unique.refused].format(names, ROW)
        keys = f"(SELECT {names} FROM {TABLE} GROUP BY {names} HAVING count(*) > 1)"
        same = " AND ".join(f"t.{quote(name)} IS NOT DISTINCT FROM k.{quote(name)}" for name in unique.columns)
        some = f"(SELECT t.* FROM {TABLE} AS t JOIN {keys} AS k ON {same})"
        rows = self._rows(f"SELECT {ROW} FROM {some} QUALIFY {window} ORDER BY {ROW}")
        yield Verdict(unique.label, unique.columns[0] if len(unique.columns) == 1 else None, rows)

    def _rows(self, query: str) -> Rows:
        found: Rows = self._con.sql(query).to_arrow_table().column(0).to_numpy()
        return found

    def _has_exactly(self, check: BoundCheck) -> Rows | None:
        """The one built-in check of a whole column: that its values are these, each at least once."""
        column = quote(str(check.column))
        values = self._con.sql(f"SELECT DISTINCT {column} FROM {TABLE} WHERE {column} IS NOT NULL").to_arrow_table()
        wanted = {scalar(value, values.schema[0].type).as_py() for value in check.spec.arguments["values"]}
        return None if set(values.column(0).to_pylist()) == wanted else np.array([], np.int64)

    def _by_function(self, check: BoundCheck) -> Rows | None:
        columns = [check.column] if check.column else self._columns
        reader = self._con.sql(f"SELECT {quoted([*columns, ROW])} FROM {TABLE} ORDER BY {ROW}").to_arrow_reader()
        try:
            table = gathered(Stream(reader.schema, iter(reader)), self._work, free_memory() // 2)
        except DataError as error:
            error.hint = "Declare the check row-wise if it judges each row by itself, or write it in SQL"
            raise error.at(check.label) from None
        from datapipe.data.frames import to_pandas  # loads pandas

        frame = to_pandas(table.drop_columns([ROW]))
        passed = judged(check.spec, frame[check.column] if check.column else frame, self._work)
        if passed is None or not len(passed):
            return None if passed is None else np.array([], np.int64)
        refused: Rows = table.column(ROW).to_numpy()[~passed.to_numpy(zero_copy_only=False)]
        return refused
