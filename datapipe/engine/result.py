"""What a run did."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from datapipe.engine.events import State
from datapipe.schemas import ColumnSpec

if TYPE_CHECKING:
    from datapipe.display import RunView

_TIMED, _COUNTED = 0.5, 1000  # seconds and rows of a run, below which its speed says nothing


@dataclass(frozen=True)
class StepResult:
    """One step of a run.

    Parameters
    ----------
    name : str
    rows_in, rows_out : int
    seconds : float
        From its first row to its last.
    version : str, optional
        The content hash of a transformation.
    rejected : int
        Rows that a validation has kept from the next step.
    busy : float
        Seconds in which the step itself was at work, without those in which it waited for rows or for its turn.
    done : bool
        Whether it came to its end.
    peak_bytes : int
        What it held at most, as far as datapipe knows: the batch at hand, the rows that wait for the next step, a
        gathered table and what a function made of it, and what its DuckDB counts. The most of each, added up.
    """

    name: str
    rows_in: int = 0
    rows_out: int = 0
    seconds: float = 0.0
    version: str | None = None
    rejected: int = 0
    busy: float = 0.0
    done: bool = True
    peak_bytes: int = 0


@dataclass(frozen=True)
class RunResult:
    """The outcome of one run of a plan.

    Parameters
    ----------
    run_id, correlation_id, fingerprint : str
    state : str
        ``succeeded``, ``failed``, ``cancelled``, or ``skipped`` where another run has the idempotency key.
    source, target : str
        For people; without passwords.
    steps : tuple of StepResult
        From the source to the target.
    rows_written : int
        Rows inserted or updated in the target.
    deduplicated : int
        Rows handed to the target that were equal to, or older than, another row of the run.
    deleted : int
        Rows of the target that were removed, or marked, as the source no longer has their keys.
    rejected : int
        Rows that validations have kept out, all steps together.
    created : bool
        Whether the run made the target's table or file.
    schema_version : str, optional
        The fingerprint of the target's schema after the load, as the ledger and the schema registry have it.
    subject : str, optional
        What the schema registry calls the target.
    columns : tuple of ColumnSpec
        The target's, after the load.
    seconds : float
    started : str
        ISO 8601, UTC.
    name : str, optional
        The plan's.
    error : str, optional
    attempts : int
        How often the run began, retries included.
    replayed : bool
        Whether an earlier run with this key did it; this result is that run's own, and nothing was read or written.
    peak_memory : int, optional
        The bytes that the process had in memory at most while the run went on: Python, the libraries and whatever else
        it does are in it. None where the system does not tell, and in records of older versions.
    watermark : mapping of str to value, optional
        Of an incremental source: the cursor's columns, and the greatest values of all that was loaded so far. Times
        and decimals are text; where there were no rows yet, it is empty. Of files: ``files`` that this run loaded, the
        ``last`` of them by name, and how many are ``known`` with them.
    notices : tuple of str
        What the user should know: rows appended twice, lossy choices and how many values they touched, waits.

    Examples
    --------
    >>> RunResult("r", "c", "f", "succeeded", "a", "b", rows_written=3).to_dict()["persistence"]["rows_written"]
    3
    """

    run_id: str
    correlation_id: str
    fingerprint: str
    state: State
    source: str
    target: str
    steps: tuple[StepResult, ...] = field(default=())
    rows_written: int = 0
    deduplicated: int = 0
    deleted: int = 0
    rejected: int = 0
    created: bool = False
    schema_version: str | None = None
    subject: str | None = None
    columns: tuple[ColumnSpec, ...] = ()
    seconds: float = 0.0
    started: str = ""
    name: str | None = None
    error: str | None = None
    attempts: int = 1
    replayed: bool = False
    peak_memory: int | None = None
    watermark: Mapping[str, Any] | None = None
    notices: tuple[str, ...] = ()
    view: RunView | None = field(default=None, compare=False, repr=False)  # as this process has seen it

    @property
    def rows_read(self) -> int:
        """Rows that came from the source."""
        return self.steps[0].rows_out if self.steps else 0

    @property
    def rows_transformed(self) -> int:
        """Rows that the last transformation handed to the target."""
        return self.steps[-1].rows_in if self.steps else 0

    @property
    def versions(self) -> dict[str, str]:
        """The content hash of each transformation, by its step's name."""
        return {step.name: step.version for step in self.steps if step.version}

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values, grouped by stage."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "view"]
        found: dict[str, Any] = {name: getattr(self, name) for name in names}
        found["steps"] = [dict(vars(step)) for step in self.steps]
        found["columns"] = [dict(vars(column)) for column in self.columns]
        found["ingestion"] = {"row_count": self.rows_read}
        found["transformation"] = {"row_count": self.rows_transformed, "versions": self.versions}
        found["persistence"] = {
            "rows_written": self.rows_written,
            "deduplicated": self.deduplicated,
            "deleted": self.deleted,
            "rejected": self.rejected,
        }
        return found

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> RunResult:
        """The result that :meth:`to_dict` gave."""
        names = {field.name for field in dataclasses.fields(cls)}
        given = {name: value for name, value in found.items() if name in names}
        known = {field.name for field in dataclasses.fields(StepResult)}
        steps = tuple(StepResult(**{k: v for k, v in step.items() if k in known}) for step in found["steps"])
        columns = tuple(ColumnSpec(**column) for column in found.get("columns", ()))
        return cls(**{**given, "steps": steps, "columns": columns, "notices": tuple(found.get("notices", ()))})

    def _repr_html_(self) -> str:
        from datapipe.display import run_card
        from datapipe.engine.following import view_of_result  # which needs this class

        return run_card(self.view or view_of_result(self))

    def __repr__(self) -> str:
        return f"<run {self.run_id[:8]}: {self}>"

    def __str__(self) -> str:
        # Of a moment, or of a few rows, it would say how long everything but the rows takes.
        is_told = self.seconds >= _TIMED and self.rows_read >= _COUNTED
        rate = f", {self.rows_read / self.seconds:,.0f} rows/s" if is_told else ""
        head = f"{self.state}: {self.rows_read:,} rows read, {self.rows_written:,} written to {self.target}"
        gone = f", {self.deleted:,} deleted" if self.deleted else ""
        refused = f", {self.rejected:,} rejected" if self.rejected else ""
        double = f" ({self.deduplicated:,} duplicates left out)" if self.deduplicated else ""
        tries = f", {self.attempts} attempts" if self.attempts > 1 else ""
        again = "replayed, " if self.replayed else ""
        notes = "".join(f"\nnote: {note}" for note in self.notices)
        return f"{again}{head}{gone}{refused}{double} in {self.seconds:.2f} s{rate}{tries}{notes}"
