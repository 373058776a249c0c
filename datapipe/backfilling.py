"""A closed range, loaded in slices, each of them exactly once: by an incremental plan, or by a notebook."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from datapipe.engine import NotebookResult, RunResult, run_options, run_recorded, stream_of
from datapipe.errors import DatapipeError, IdempotencyConflict, Interrupted, PlanError
from datapipe.history import Run
from datapipe.hosts import host
from datapipe.notebooks.job import NotebookJob
from datapipe.notebooks.model import parse_job
from datapipe.persistence import hashed
from datapipe.pipeline import Pipeline
from datapipe.plan import FileSource, Incremental, Plan, QuerySource, TableSource, TableTarget, incremental_of
from datapipe.slices import Slice, slices

_ENDS = ("start", "until")
Ending = Callable[[], RunResult | NotebookResult]


@dataclass(frozen=True)
class Backfill:
    """The slices of a backfill, in order. It shows itself as text."""

    slices: tuple[Slice, ...]

    @property
    def failed(self) -> tuple[Slice, ...]:
        """Those that are not loaded."""
        return tuple(each for each in self.slices if each.state != "succeeded")

    @property
    def rows(self) -> int:
        """Rows that plans have written, those of earlier backfills of the range included."""
        return sum(each.rows or 0 for each in self.slices)

    def __str__(self) -> str:
        done, again = len(self.slices) - len(self.failed), sum(each.replayed for each in self.slices)
        before = f", {again:,} of them before" if again else ""
        rows = "" if all(each.rows is None for each in self.slices) else f": {self.rows:,} rows"
        head = f"{done:,} of {len(self.slices):,} slices are loaded{before}{rows}"
        return "\n".join([head, *map(str, self.failed)])

    __repr__ = __str__


def backfill(  # noqa: PLR0913  # the range, what loads it, and how
    plan: Pipeline | NotebookJob,
    start: Any,
    until: Any,
    *,
    every: Any,
    name: str = "",
    into: str | Sequence[str] | None = None,
    workers: bool = False,
    memory: str | int | None = None,
    tell: Callable[[Slice], object] = print,
) -> Backfill:
    """Load a closed range in slices, each exactly once; called again, it does what is left.

    No watermark counts, and none is moved. A slice that fails does not keep the others from being loaded.

    Parameters
    ----------
    plan : Pipeline or NotebookJob
        An incremental plan with a table as its target, or a notebook with parameters for the ends of a slice.
    start, until : date, datetime, int, Decimal or str
        The range of the cursor's first column; ``until`` is not in it.
    every : str, datetime.timedelta, int or Decimal
        The size of a slice: ``"1 day"``, ``"6h"``, ``"1 month"``, ``1000``.
    name : str
        Of a backfill of its own: one with another name loads the slices again.
    into : str or sequence of str, optional
        The parameters of a notebook that take the start of a slice, and its end: ``"day"`` takes the start alone.
        ``start`` and ``until`` if left out.
    workers : bool
        Whether workers load them, as many at once as there are; if not, this process does, one after the other.
    memory : str or int, optional
        What each may use, 512MB if left out; of a notebook, what its kernel may have.
    tell : callable
        Called with each slice when it has ended.

    Returns
    -------
    Backfill

    Raises
    ------
    PlanError
        If the plan is not incremental, the notebook does not take the slices, or the range cannot be cut so.
    """
    cut = slices(start, until, every)
    _check_kind(plan)
    if isinstance(plan, NotebookJob):
        begin = _jobs(_within(plan, memory), name, into, cut[0], workers=workers)
    else:
        if into is not None:
            raise PlanError("into is for notebooks", hint="A plan is cut by its cursor: leave it out")
        begin = _plans(plan, name, memory or "512MB", workers=workers)
    begun = _begun(cut, begin)
    found: list[Slice] = []
    for each, end in begun:
        try:
            found.append(_ended(each, end))
        except KeyboardInterrupt:
            rest = "; those that are queued go on" if workers else ""
            loaded = sum(one.state == "succeeded" for one in found)
            text = (
                f"interrupted: {loaded:,} of {len(cut):,} slices are loaded{rest}. Called again, it does what is left"
            )
            raise Interrupted(text) from None
        tell(found[-1])
    return Backfill(tuple(found))


def _begun(cut: Sequence[Slice], begin: Callable[[Slice], Ending]) -> list[tuple[Slice, Ending]]:
    found: list[tuple[Slice, Ending]] = []
    for each in cut:
        try:
            found.append((each, begin(each)))
        except DatapipeError as error:
            if found:
                error.hint = f"Slices that are queued, and go on: {len(found):,}. Call it again for the others"
            raise
    return found


def _check_kind(given: object) -> None:
    if not isinstance(given, (Pipeline, NotebookJob)):
        hint = "Give datapipe.load(file), datapipe.notebook(file), or a plan with .write()"
        raise PlanError(f"a {type(given).__name__} cannot be loaded in slices", hint=hint)


def _plans(pipeline: Pipeline, name: str, memory: str | int, *, workers: bool) -> Callable[[Slice], Ending]:
    """What begins the plan of a slice: on workers, it is queued, and only waited for here."""
    how, label = _of(pipeline.plan)

    def begin(part: Slice) -> Ending:
        key = f"backfill {name} {label} {part.start} {part.until}"
        options = replace(run_options(memory, key, "wait"), places=pipeline.places)
        plan = _piece(pipeline.plan, how, part)
        if not workers:
            return lambda: run_recorded(plan, options)
        host("queue").submit(plan, options, queue=None, pipeline_id=None)
        return Run(options.run_id).result

    return begin


def _of(plan: Plan) -> tuple[Incremental, str]:
    """The cursor of a plan, and what its slices have in common: the source and the table."""
    how, source, target = incremental_of(plan.ingestion), plan.ingestion, plan.persistence
    if isinstance(source, FileSource):
        hint = "Choose some of them by a pattern: inbox/2024-01-*.csv; with incremental=True each is loaded once"
        raise PlanError("files are not cut into slices: they have no cursor", step="ingestion", hint=hint)
    if how is None or not isinstance(source, QuerySource | TableSource):
        raise PlanError(
            "only an incremental plan is loaded in slices", hint="Name the cursor: incremental='updated_at'"
        )
    if not isinstance(target, TableTarget):
        raise PlanError("slices are loaded into a table", hint="Add .write(table, to=…)")
    return how, f"{stream_of(source)} {target.schema_ or ''}.{target.table_name}"


def _piece(plan: Plan, how: Incremental, part: Slice) -> Plan:
    """The plan of one slice; of a cursor of several columns, the first one is cut. NULL is in no slice."""
    nulls = "skip" if how.nulls == "always" else how.nulls
    ends = {"cursor": how.cursor[:1], "start": part.start, "until": part.until, "lag": None}
    cut = how.model_copy(update={**ends, "nulls": nulls, "watermark": False})
    source = plan.ingestion.model_copy(update={"incremental": cut})
    target = plan.persistence.model_copy(update={"deletes": None}) if plan.persistence else None  # which all keys tell
    return plan.model_copy(update={"ingestion": source, "persistence": target})


def _jobs(
    job: NotebookJob, name: str, into: str | Sequence[str] | None, first: Slice, *, workers: bool
) -> Callable[[Slice], Ending]:
    """What begins the notebook of a slice. The first is looked over before any begins."""
    from datapipe.notebooks.hosting import options_of, run_job  # loads what notebooks need
    from datapipe.notebooks.prepared import Prepared, prepared

    names = _taking(job, into)

    def piece(part: Slice) -> Prepared:
        ends = (_text(part.start), _text(part.until))
        return prepared(job.bind(dict(zip(names, ends, strict=False)), texts=True).plan)

    others = {key: value for key, value in job.to_dict()["notebook"].get("parameters", {}).items() if key not in names}
    label = hashed("datapipe slices of a notebook 1", job.plan.title, json.dumps(others, sort_keys=True), *names)
    piece(first)

    def begin(part: Slice) -> Ending:
        key = f"backfill {name} {label} {part.start} {part.until}"
        if not workers:
            return lambda: run_job(piece(part), key, "wait", show=False)
        options = options_of(key, "wait")
        host("queue").submit_job(piece(part), options, queue=None, pipeline_id=None)
        return Run(options.run_id).result

    return begin


def _within(job: NotebookJob, memory: str | int | None) -> NotebookJob:
    if memory is None:
        return job
    found = job.to_dict()
    return NotebookJob(parse_job({**found, "notebook": {**found["notebook"], "memory": str(memory)}}))


def _taking(job: NotebookJob, into: str | Sequence[str] | None) -> tuple[str, ...]:
    """The parameters that take the ends of a slice."""
    names = _ENDS if into is None else (into,) if isinstance(into, str) else tuple(into)
    known = [parameter.name for parameter in job.parameters]
    missing = [name for name in names if name not in known]
    if not 1 <= len(set(names)) == len(names) <= len(_ENDS):
        raise PlanError("into names the parameter for a slice's start, and the one for its end", hint="Name one or two")
    if missing:
        has = f"It has {', '.join(known)}: name one for the start of a slice, or two" if known else "It has none"
        raise PlanError(f"{job.plan.notebook.path} has no parameter {' and no '.join(missing)}", hint=f"{has} (into)")
    return names


def _text(edge: Any) -> str:
    """An end of a slice as it is typed on a command line."""
    return str(edge.isoformat()) if hasattr(edge, "isoformat") else str(edge)


def _ended(part: Slice, end: Ending) -> Slice:
    try:
        result = end()
    except IdempotencyConflict:
        error = "another version of it has been loaded: give the backfill a name of its own to load it again"
        return replace(part, state="failed", error=error)
    except DatapipeError as error:
        run_id = error.result.run_id if error.result is not None else ""
        error.with_traceback(None)  # whose frames hold the source open, and the error itself
        return replace(part, state="failed", error=str(error), run_id=run_id)
    rows = result.rows_written if isinstance(result, RunResult) else None
    return replace(part, state=result.state, rows=rows, replayed=result.replayed, run_id=result.run_id)
