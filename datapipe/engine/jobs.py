"""What a run of a notebook did."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from datapipe.display import RunView, run_card, run_card_text
from datapipe.display.words import count
from datapipe.plan.values import decode, encode, thawed


@dataclass(frozen=True)
class CellResult:
    """One executed cell.

    Parameters
    ----------
    number : int
        Its number among the code cells of the executed notebook, from 1, as in ``In[1]``.
    title : str
        The heading above it, or its first line.
    state : {"done", "failed", "waiting"}
    seconds : float, optional
        How long it took.
    count : int, optional
        Its execution count, as in ``In[3]``.
    """

    number: int
    title: str
    state: str = "waiting"
    seconds: float | None = None
    count: int | None = None


@dataclass(frozen=True)
class FrameOutput:
    """A frame that a notebook has given as an output: a Parquet file among its artifacts.

    Parameters
    ----------
    uri : str
        Where it is, without a password.
    rows, bytes : int
    columns : mapping of str to str
        Names and Arrow types.
    sha256 : str
    """

    uri: str
    rows: int
    bytes: int
    columns: Mapping[str, str]
    sha256: str

    def read(self) -> Any:
        """The frame as a pandas DataFrame.

        Raises
        ------
        DataError
            If the file is gone, or is not the one that was kept.
        """
        from datapipe.data.parquets import read_kept  # loads pyarrow

        return read_kept(self.uri, self.sha256)

    def __str__(self) -> str:
        return f"{count(self.rows)} × {count(len(self.columns), 'column')} in {self.uri}"  # noqa: RUF001  # rows by columns


@dataclass(frozen=True)
class NotebookResult:
    """The outcome of one run of a notebook.

    Parameters
    ----------
    run_id, correlation_id : str
    state : {"succeeded", "failed", "cancelled", "skipped"}
    notebook : str
        The path it came from.
    name : str
    reason : str, optional
        Why: ``timed_out``, ``kernel_died``, ``out_of_memory``, or a sentence.
    parameters : mapping
        The values it was given, as JSON; secrets as references.
    outputs : mapping
        What it has given by :func:`datapipe.output`: Python values, and :class:`FrameOutput` for frames.
    cells : tuple of CellResult
        The code cells, in order.
    pipelines : tuple of str
        The ids of the runs of plans inside it.
    artifacts : str
        Where the executed notebook, its HTML, its error and what is known of the run are kept.
    hash : str
        SHA-256 of what was executed, parameters apart.
    seconds : float
    started : str
        ISO 8601, UTC.
    attempts : int
    error : str, optional
    replayed : bool
        Whether an earlier run with the same key did it; this is that run's result, and nothing was executed.
    notices : tuple of str

    Examples
    --------
    >>> NotebookResult("r", "r", "succeeded", "daily.ipynb", "daily", outputs={"rows": 842}).outputs["rows"]
    842
    """

    run_id: str
    correlation_id: str
    state: str
    notebook: str
    name: str
    reason: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    cells: tuple[CellResult, ...] = ()
    pipelines: tuple[str, ...] = ()
    artifacts: str = ""
    hash: str = ""
    seconds: float = 0.0
    started: str = ""
    attempts: int = 1
    error: str | None = None
    replayed: bool = False
    notices: tuple[str, ...] = ()
    view: RunView | None = field(default=None, compare=False, repr=False)  # as this process has seen it

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        found = {one.name: getattr(self, one.name) for one in dataclasses.fields(self) if one.name != "view"}
        found["cells"] = [dataclasses.asdict(cell) for cell in self.cells]
        found["outputs"] = {name: _encoded(value) for name, value in self.outputs.items()}
        found["outputs_shown"] = [[name, str(value)] for name, value in self.outputs.items()]
        return {**found, "pipelines": list(self.pipelines), "notices": list(self.notices)}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> NotebookResult:
        """The result that :meth:`to_dict` gave."""
        names = {one.name for one in dataclasses.fields(cls)}
        given = {name: value for name, value in found.items() if name in names}
        given["cells"] = tuple(CellResult(**cell) for cell in found.get("cells", ()))
        given["outputs"] = {name: _decoded(value) for name, value in (found.get("outputs") or {}).items()}
        lists = {name: tuple(found.get(name) or ()) for name in ("pipelines", "notices")}
        return cls(**{**given, **lists})

    def _repr_html_(self) -> str:
        return run_card(self.view) if self.view is not None else f"<pre>{self}</pre>"

    def __repr__(self) -> str:
        return run_card_text(self.view) if self.view is not None else f"<run {self.run_id[:8]}: {self}>"

    def __str__(self) -> str:
        done = sum(cell.state == "done" for cell in self.cells)
        again = "replayed, " if self.replayed else ""
        why = f" ({self.reason})" if self.reason else ""
        lines = [
            f"{again}{self.state}{why}: {done} of {len(self.cells)} cells of {self.notebook} in {self.seconds:.2f} s"
        ]
        lines += [f"{name} = {value}" for name, value in self.outputs.items()]
        lines += [f"note: {note}" for note in self.notices]
        return "\n".join([*lines, f"kept in {self.artifacts}"] if self.artifacts else lines)


_FRAME = "datapipe.frame"


def _encoded(value: Any) -> Any:
    return {"type": _FRAME, "value": vars(value)} if isinstance(value, FrameOutput) else encode(value)


def _decoded(value: Any) -> Any:
    if isinstance(value, Mapping) and value.get("type") == _FRAME:
        return FrameOutput(**value["value"])
    return thawed(decode(value))
