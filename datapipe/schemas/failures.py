"""What rows did not keep: counted by check, with the first row of each, and the error or the note that says so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datapipe.errors import DataError

_SHOWN = 5  # checks in a message
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Failure:
    """A check that rows, or the whole table, did not keep.

    Parameters
    ----------
    check : str
    column : str, optional
    rows : int
        How many rows; 0 if it was the table.
    first_row : int, optional
        The number of the first of them, among the rows that came into the step.
    """

    check: str
    column: str | None = None
    rows: int = 0
    first_row: int | None = None

    def __str__(self) -> str:
        if not self.rows:
            return self.check
        rows = f"{self.rows:,} row{'s' if self.rows > 1 else ''}"
        return f"{self.check} in {rows} (first: row {self.first_row:,})"


class Failures:
    """The failures of a step so far."""

    def __init__(self) -> None:
        self.rows = 0  # that fail by themselves, each counted once
        self._found: dict[str, Failure] = {}

    def add(self, check: str, column: str | None, rows: Rows) -> None:
        """Count rows, by their numbers, that did not keep a check; none, if it was the table that did not."""
        known = self._found.get(check) or Failure(check, column)
        first = known.first_row if known.first_row is not None or not len(rows) else int(rows[0])
        self._found[check] = Failure(check, column, known.rows + len(rows), first)

    def __bool__(self) -> bool:
        return bool(self._found)

    @property
    def of_table(self) -> tuple[Failure, ...]:
        """Checks that no row is to blame for."""
        return tuple(failure for failure in self._found.values() if not failure.rows)

    @property
    def all(self) -> tuple[Failure, ...]:
        """Every check that was not kept, the first to fail first."""
        return tuple(sorted(self._found.values(), key=lambda failure: failure.first_row or 0))

    def text(self) -> str:
        """Every check that was not kept, in a line."""
        found = self.all
        more = f"; and {len(found) - _SHOWN} more checks" if len(found) > _SHOWN else ""
        return "; ".join(map(str, found[:_SHOWN])) + more

    def error(self, what: str, hint: str) -> DataError:
        """The error for them."""
        first = self.all[0]
        error = DataError(f"{what}: {self.text()}", column=first.column, row=first.first_row, hint=hint)
        error.failures = self.all
        return error


def reasons(
    count: int, failed: list[tuple[str, str | None, npt.NDArray[np.bool_]]]
) -> tuple[pa.Array, pa.Array, pa.Array]:
    """For each of ``count`` rows: the column of the first check it did not keep, that check, and all of them.

    Parameters
    ----------
    failed : list of (str, str or None, numpy.ndarray)
        Each check that some row did not keep, its column, and which rows.
    """
    columns = np.full(count, None, object)
    checks, every = np.full(count, None, object), np.full(count, "", object)
    for check, column, bad in failed:
        first = bad & (checks == None)  # noqa: E711  # element by element
        columns[first], checks[first] = column, check.removeprefix(f"{column}: ")
        every[bad] = every[bad] + np.where(every[bad] == "", check, "; " + check)
    return pa.array(columns, pa.string()), pa.array(checks, pa.string()), pa.array(every, pa.string())
