"""What only the whole table can answer: keys that repeat, aggregates, functions of a column. Spilled to disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from datapipe.data import duck
from datapipe.data.duckerrors import translate
from datapipe.data.memory import free_memory, gathered
from datapipe.data.names import quote, quoted
from datapipe.data.stream import Stream, Workspace
from datapipe.errors import DataError
from datapipe.schemas.binding import BoundCheck, Unique
from datapipe.schemas.builtin import held
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
        self._row = ROW  # the column with a row's number
        while self._row in map(str.lower, self._columns):
            self._row += "_"
        self._is_made = False
        self._held = 0  # bytes at most
        work.holds(lambda: self._held)
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0

    def add(self, batch: pa.RecordBatch, numbers: Rows) -> None:
        """Take the rows of a batch that is computable, whose numbers these are."""
        table = pa.Table.from_batches([batch.select(self._columns)]).append_column(self._row, pa.array(numbers))
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
        self._measure()
        self._con.unregister("batch")

    def _measure(self) -> None:
        self._held = max(self._held, duck.held(self._con))

    def verdicts(self, *, without_refused: bool = False) -> Iterator[Verdict]:
        """The checks that the rows taken do not keep.

        Parameters
        ----------
        without_refused : bool
            Whether the rows that these checks refuse are out when the table as such is judged.
        """
        if not self._is_made and not self._waiting:  # a check such as COUNT(*) > 0 looks at no rows too
            empty = pa.RecordBatch.from_pylist([], schema=self._schema)
            self.add(computable(empty, self._columns).batch, np.array([], np.int64))
        self._flush()
        try:
            with self._work.cancel.hook(self._con.interrupt):
                self._con.execute(f"CREATE VIEW input_data AS SELECT * EXCLUDE ({self._row}) FROM {TABLE}").complete()
                refused = []
                for verdict in self._of_rows():
                    refused += [] if verdict.warn else [verdict.rows]
                    yield verdict
                if without_refused and refused:
                    self._take_out(np.concatenate(refused))
                for check, scope in self._checks:
                    if scope == "table":
                        yield from self._judge(check, scope)
        except (duckdb.Error, RuntimeError) as error:
            self._work.cancel.check()
            raise translate(error) from None

    def _of_rows(self) -> Iterator[Verdict]:
        for unique in self._unique:
            yield from self._repeated(unique)
        for check, scope in self._checks:
            if scope == "rows":
                yield from self._judge(check, scope)

    def _take_out(self, rows: Rows) -> None:
        self._con.register("refused", pa.table({"row": rows}))
        self._con.execute(f"DELETE FROM {TABLE} WHERE {self._row} IN (SELECT row FROM refused)").complete()
        self._con.unregister("refused")

    def _judge(self, check: BoundCheck, scope: Scope) -> Iterator[Verdict]:
        if check.spec.function is not None:
            rows = self._by_function(check)
        elif check.spec.check is not None:
            rows = self._has_exactly(check)
        elif scope == "table":
            passed = self._con.sql(f"SELECT ({check.spec.sql}\n) FROM input_data").fetchall()[0][0]
            rows = None if passed is None or passed else np.array([], np.int64)
        else:
            source = f"(SELECT {self._row}, ({check.spec.sql}\n) AS kept FROM {TABLE} AS input_data)"
            found = self._rows(f"SELECT {self._row} FROM {source} WHERE NOT kept ORDER BY {self._row}")
            rows = found if len(found) else None
        if rows is not None:
            yield Verdict(check.label, check.column, rows, check.spec.warn)

    def _repeated(self, unique: Unique) -> Iterator[Verdict]:
        names = quoted(unique.columns)
        # Grouping needs less room than a window over all rows, and mostly nothing repeats.
        if not self._con.sql(f"SELECT 1 FROM {TABLE} GROUP BY {names} HAVING count(*) > 1 LIMIT 1").fetchall():
            self._measure()
            return
        window = _WINDOWS[unique.refused].format(names, self._row)
        keys = f"(SELECT {names} FROM {TABLE} GROUP BY {names} HAVING count(*) > 1)"
        same = " AND ".join(f"t.{quote(name)} IS NOT DISTINCT FROM k.{quote(name)}" for name in unique.columns)
        some = f"(SELECT t.* FROM {TABLE} AS t JOIN {keys} AS k ON {same})"
        rows = self._rows(f"SELECT {self._row} FROM {some} QUALIFY {window} ORDER BY {self._row}")
        yield Verdict(unique.label, unique.columns[0] if len(unique.columns) == 1 else None, rows)

    def _rows(self, query: str) -> Rows:
        found: Rows = self._con.sql(query).to_arrow_table().column(0).to_numpy()
        self._measure()
        return found

    def _has_exactly(self, check: BoundCheck) -> Rows | None:
        """The one built-in check of a whole column: that its values are these, each at least once."""
        column = quote(str(check.column))
        distinct = self._con.sql(f"SELECT DISTINCT {column} FROM {TABLE} WHERE {column} IS NOT NULL")
        type_ = distinct.limit(0).to_arrow_table().schema[0].type
        wanted = set()
        for value in check.spec.arguments["values"]:
            found = held(value, type_)
            if found is None:
                return np.array([], np.int64)
            wanted.add(found.as_py())
        values = distinct.limit(len(wanted) + 1).to_arrow_table().column(0).to_pylist()
        return None if set(values) == wanted else np.array([], np.int64)

    def _by_function(self, check: BoundCheck) -> Rows | None:
        columns = [check.column] if check.column else self._columns
        reader = self._con.sql(
            f"SELECT {quoted([*columns, self._row])} FROM {TABLE} ORDER BY {self._row}"
        ).to_arrow_reader()
        try:
            table = gathered(Stream(reader.schema, iter(reader)), self._work, free_memory() // 2)
        except DataError as error:
            error.hint = "Declare the check row-wise if it judges each row by itself, or write it in SQL"
            raise error.at(check.label) from None
        from datapipe.data.frames import to_pandas  # loads pandas

        frame = to_pandas(table.drop_columns([self._row]))
        answer = judged(check.spec, frame[check.column] if check.column else frame, self._work)
        if answer.kept:
            return None
        refused: Rows = table.column(self._row).to_numpy()[slice(0) if answer.failed is None else answer.failed]
        return refused
