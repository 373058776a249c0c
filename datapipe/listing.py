"""The latest runs: a table to look at, handles, a DataFrame to compute with."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from datapipe.display import compared_html, compared_text, runs_html, runs_text
from datapipe.errors import PlanError, TransientError, did_you_mean
from datapipe.history import Run, attach, store_of_runs
from datapipe.plan import Plan
from datapipe.store import FINAL, RunRow

if TYPE_CHECKING:
    import pandas as pd

STATES = FINAL | {"queued", "running", "lost"}
_SHOWN = (
    "id",
    "state",
    "reason",
    "name",
    "source",
    "target",
    "rows_read",
    "rows_written",
    "schema_version",
    "seconds",
    "created",
    "owner",
    "host",
)


@dataclass(frozen=True)
class Runs(Sequence["Run"]):
    """Runs, the newest first: a table for people, handles by their place, a DataFrame to compute with.

    Parameters
    ----------
    rows : tuple of RunRow
    """

    rows: tuple[RunRow, ...]

    @property
    def frame(self) -> pd.DataFrame:
        """One row a run: ``id``, ``state``, ``reason``, ``name``, ``source``, ``target``, ``rows_read``,
        ``rows_written``, ``schema_version`` (of the target), ``seconds``, ``created`` (UTC), ``owner``, ``host``."""
        import pandas as pd

        found = [{name: getattr(row, name) for name in _SHOWN} for row in self.rows]
        frame = pd.DataFrame(found, columns=list(_SHOWN))
        frame["created"] = pd.to_datetime(frame["created"], utc=True, format="ISO8601")
        return frame.astype({"rows_read": "Int64", "rows_written": "Int64", "schema_version": "Int64"})

    def compare(self, before: int | str, after: int | str) -> Comparison:
        """Two runs, step by step.

        Parameters
        ----------
        before, after : int or str
            Places in this list, or ids.
        """
        found = [(self[run] if isinstance(run, int) else attach(run)).row for run in (before, after)]
        return Comparison(*found)

    def to_dict(self) -> list[dict[str, Any]]:
        """The runs as plain JSON values."""
        return [dataclasses.asdict(row) for row in self.rows]

    @overload
    def __getitem__(self, place: int) -> Run: ...

    @overload
    def __getitem__(self, place: slice) -> Runs: ...

    def __getitem__(self, place: int | slice) -> Run | Runs:
        return Runs(self.rows[place]) if isinstance(place, slice) else Run(self.rows[place].id)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return runs_text(self.rows)

    def _repr_html_(self) -> str:
        return runs_html(self.rows)


@dataclass(frozen=True)
class Comparison:
    """Two runs beside each other."""

    before: RunRow
    after: RunRow

    def __repr__(self) -> str:
        return compared_text(self.before, self.after)

    def _repr_html_(self) -> str:
        return compared_html(self.before, self.after)


def runs(limit: int = 50, *, state: str | None = None, plan: Any = None) -> Runs:
    """The latest runs, the newest first.

    Parameters
    ----------
    limit : int
        How many at most.
    state : str, optional
        Only those that are queued, running, succeeded, failed, cancelled, skipped or lost.
    plan : Pipeline, NotebookJob or str, optional
        Only those of this plan or notebook, or of this name.

    Returns
    -------
    Runs
        A table to look at; ``runs()[0]`` is a handle on the newest one, ``runs().frame`` a pandas DataFrame.

    Raises
    ------
    PlanError
        If DATAPIPE_METADATA_URL is off.

    Examples
    --------
    >>> runs(0)  # doctest: +SKIP
    no runs yet
    """
    return Runs(tuple(latest(limit, state=state, plan=plan)))


def latest(limit: int = 50, *, state: str | None = None, plan: Any = None) -> list[RunRow]:
    """The same as values; runs that have fallen silent are marked as lost first."""
    if state is not None and state not in STATES:
        raise PlanError(f"no run can be {state!r}", hint=did_you_mean(state, STATES, what="states"))
    store = store_of_runs()
    with suppress(TransientError):  # somebody else may write
        store.find_lost()
    found: Plan | None = getattr(plan, "plan", plan) if plan is not None and not isinstance(plan, str) else None
    # A notebook's runs are known by its title, whatever its parameters.
    name = plan if isinstance(plan, str) else getattr(found, "title", None) or getattr(found, "name", None)
    fingerprint = found.fingerprint if found is not None and name is None else None
    return store.runs(state=state, name=name, fingerprint=fingerprint, limit=limit)
