"""Pipeline: the fluent object around one plan. Every method returns a new one; nothing is opened before a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from datapipe.errors import PlanError
from datapipe.plan import (
    CodeStep,
    ConfigStep,
    Plan,
    SqlStep,
    Step,
    ValidateStep,
    bind,
    build,
    document,
)
from datapipe.plan.given import feed_of, target_of, tidy
from datapipe.traces import call_site

if TYPE_CHECKING:
    from datapipe.display import Explanation, Preview
    from datapipe.engine import Listener, RunResult
    from datapipe.history import Run
    from datapipe.schemas import SchemaDiff
    from datapipe.watermarks import PlanWatermark

SAMPLE_ROWS = 10_000


class Pipeline:
    """A plan in the making: immutable, and able to run.

    Parameters
    ----------
    plan : Plan
    places : sequence of str
        Where the source, each transformation and the target were written; no part of the plan.

    Examples
    --------
    >>> import datapipe, pyarrow as pa
    >>> people = datapipe.read(pa.table({"id": [1, 2], "name": ["ann", "bob"]}))
    >>> people.sql("SELECT id, upper(name) AS name FROM input_data").collect("arrow").to_pylist()
    [{'id': 1, 'name': 'ANN'}, {'id': 2, 'name': 'BOB'}]
    """

    __slots__ = ("_places", "_plan")

    def __init__(self, plan: Plan, places: Sequence[str] = ()) -> None:
        object.__setattr__(self, "_plan", plan)
        object.__setattr__(self, "_places", tuple(places))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a pipeline cannot be changed; its methods return new ones")

    @property
    def plan(self) -> Plan:
        """The plan itself."""
        found: Plan = object.__getattribute__(self, "_plan")
        return found

    @property
    def places(self) -> tuple[str, ...]:
        """Where the source, each transformation and the target were written: ``In[4]:2``, ``etl.py:12``."""
        found: tuple[str, ...] = object.__getattribute__(self, "_places")
        return found

    # --- building -------------------------------------------------------------------------------------------

    def sql(self, query: str, params: Mapping[str, Any] | None = None, **tables: Any) -> Pipeline:
        """Transform by SQL over all rows, which are the table ``input_data``.

        Parameters
        ----------
        query : str
            One SELECT, in DuckDB's dialect. Parameters are ``:name``.
        params : mapping, optional
        **tables : Pipeline, DataFrame or pyarrow.Table
            Further tables, by the name the query calls them.

        Raises
        ------
        PlanError
            If the text is not one SELECT.
        """
        if params is not None and not isinstance(params, Mapping):
            raise PlanError(
                f"params is a {type(params).__name__}, not a mapping", hint="A table cannot be called params; rename it"
            )
        given = {name: value.plan if isinstance(value, Pipeline) else value for name, value in tables.items()}
        feeds = {name: feed_of(name, value) for name, value in given.items()}
        step = {
            "config": {
                "sql_query": tidy(query),
                "parameters": dict(params or {}),
                "tables": feeds,
            }
        }
        return self._then(SqlStep, step)

    def apply(self, fn: Callable[..., Any] | str, *, per_batch: bool = False) -> Pipeline:
        """Transform by a Python function from a DataFrame to a DataFrame.

        Parameters
        ----------
        fn : callable or str
            A function, a class with a ``transform`` method, or ``"package.module:function"``. It gets a pandas
            DataFrame of its own, or what its first parameter is annotated with: ``polars.DataFrame`` or
            ``pyarrow.Table``.
        per_batch : bool
            Call it once per batch of BATCH_SIZE rows instead of once with the whole table. You vouch that the
            result does not depend on where the batches begin.
        """
        return self._then(CodeStep, {"config": {"function": fn, "per_batch": per_batch}})

    def transform(self, config: Mapping[str, Any] | str | Path) -> Pipeline:
        """Transform declaratively: select, rename, cast, filter, add_columns, drop, group_by with aggregations,
        sort, limit, distinct.

        Parameters
        ----------
        config : mapping, or path of a YAML or JSON file
        """
        data = config if isinstance(config, Mapping) else document.read_file(config)
        return self._then(ConfigStep, {"config": data})

    def validate(
        self,
        schema: Any = None,
        *,
        on_error: Literal["raise", "quarantine", "drop", "warn"] = "raise",
        max_failures: int | None = None,
        checks: Sequence[Any] | str = (),
    ) -> Pipeline:
        """Hold the rows to a contract.

        Parameters
        ----------
        schema : pandera.DataFrameSchema, subclass of pandera.DataFrameModel, mapping, str or Path, optional
            A Pandera schema or model, ``"package.module:name"`` of one, a YAML or JSON file (Pandera's own form, or
            the mapping), or a mapping with columns and checks.
        on_error : {"raise", "quarantine", "drop", "warn"}
            What becomes of rows that break it: the run fails; they are kept aside in the target's database, in the
            load's own transaction; they are left out and counted; or they are handed on and told.
        max_failures : int, optional
            More rows than this fail the run, whatever ``on_error`` says.
        checks : sequence of str
            Further checks in SQL: of a row (``"price >= cost"``) or the table (``"AVG(price) BETWEEN 10 AND 20"``).

        Raises
        ------
        PlanError
            If there is nothing to check, or the schema asks for what a stream of rows cannot do.
        """
        from datapipe.schemas import portable_schema  # loads pyarrow

        config = {
            "schema": portable_schema(schema),
            "checks": checks,
            "on_error": on_error,
            "max_failures": max_failures,
        }
        return self._then(ValidateStep, {"config": config})

    def write(  # noqa: PLR0913  # each says one thing about the target
        self,
        table: str | Path,
        to: Any = None,
        *,
        strategy: str | None = None,
        keys: Sequence[str] | str = (),
        schema: str | None = None,
        latest: str | None = None,
        deletes: Literal["mark", "remove"] | None = None,
        schema_mode: Literal["evolve", "strict", "discard"] | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> Pipeline:
        """End the plan with a target.

        Parameters
        ----------
        table : str
            A table's name, or a path ending in .parquet, .csv, .json or .jsonl.
        to : str or sqlalchemy.Engine, optional
            A database URL, a named connection, or an engine; DEST_DB_URL if left out.
        strategy : WriteStrategy or str, optional
            ``append``, ``insert``, ``upsert`` or ``replace``. If left out, ``append`` for tables and
            ``replace`` for files.
        keys : sequence of str
            The key columns of an upsert or insert.
        schema : str, optional
            The table's schema, if not written as ``schema.table``.
        latest : str, optional
            Of different rows with one key, the one with the greatest value in this column wins.
        deletes : str, optional
            What becomes of rows whose key an incremental source no longer has: ``mark`` sets their ``deleted_at``,
            ``remove`` deletes them. If left out, they stay as they are.
        schema_mode : str, optional
            Where they differ: ``evolve`` alters the table as far as nothing is lost, ``strict`` fails, ``discard``
            leaves out what the table lacks. If left out, tables that datapipe created evolve, all others are strict.
        rename : mapping of str to str, optional
            Columns of the table that get another name first, old to new.

        Raises
        ------
        PlanError
            If the plan is written already, or the arguments do not go together.
        """
        if self.plan.persistence is not None:
            raise PlanError("the plan has a target already", hint="A plan has one write; build a second plan")
        fields = {"schema": schema, "strategy": strategy, "latest": latest, "deletes": deletes}
        target = target_of(table, to, keys, {**fields, "schema_mode": schema_mode, "rename": rename})
        return self._with("persistence", target)

    def named(self, name: str) -> Pipeline:
        """The same plan under a name."""
        return Pipeline(build(Plan, {**_parts(self.plan), "name": name}), self.places)

    def bind(self, **params: Any) -> Pipeline:
        """The same plan with other values for its named parameters.

        Raises
        ------
        PlanError
            If no text of the plan uses a name.
        """
        return Pipeline(bind(self.plan, params), self.places)

    def _then(self, kind: type[Step], data: Mapping[str, Any]) -> Pipeline:
        if self.plan.persistence is not None:
            raise PlanError("the plan has a target already", hint="Put transformations before .write()")
        number = len(self.plan.transformation) + 1
        label = f"transformation step {number} ({kind.model_fields['type'].default})"
        step = build(kind, data, step=label)
        return self._with("transformation", (*self.plan.transformation, step))

    def _with(self, part: str, value: Any) -> Pipeline:
        """The same plan with one step more, written where the user's code is now."""
        before = 1 + len(self.plan.transformation)
        places = (*self.places, *[""] * before)[:before]
        return Pipeline(build(Plan, {**_parts(self.plan), part: value}), (*places, call_site()))

    # --- looking --------------------------------------------------------------------------------------------

    def explain(self) -> Explanation:
        """What a run would do: the SQL it sends, the columns of each step, the statements of the write.

        Connects to the source and the target, reads no rows except a few for Python steps, writes nothing.
        """
        from datapipe.inspection import explain

        return explain(self.plan)

    def preview(self, n: int = 20, step: int | None = None) -> Preview:
        """The first rows after a step, from at most 10,000 source rows. Nothing is written.

        Parameters
        ----------
        n : int
            Rows to show.
        step : int, optional
            0 for the source, 1 for the first transformation, …; the last one if left out.

        Raises
        ------
        PlanError
            If there is no such step.
        """
        from datapipe.inspection import preview

        return preview(self.plan, n, step, SAMPLE_ROWS)

    @property
    def watermark(self) -> PlanWatermark:
        """How far the loads of an incremental plan have come, asked of the ledger; it can be set and reset.

        Raises
        ------
        PlanError
            If the source is not incremental, or the plan writes to no table.
        """
        from datapipe.watermarks import watermark_of

        return watermark_of(self.plan)

    def diff(self, against: Pipeline | int | str | None = None) -> SchemaDiff:
        """What differs between a schema and that of this plan's rows. Nothing is written.

        Connects as :meth:`explain` does, and reads no rows except a few for Python steps.

        Parameters
        ----------
        against : Pipeline, int or str, optional
            Another plan; a version of the target's schema in the registry, by its number or fingerprint; the plan's
            own target as it is now, if left out.

        Returns
        -------
        SchemaDiff
            Shows itself as text and as HTML. What stands in the way of the plan is marked as breaking.

        Raises
        ------
        PlanError
            If the plan has no target, or there is no such version.

        Examples
        --------
        >>> import datapipe, pyarrow as pa
        >>> people = datapipe.read(pa.table({"id": [1, 2], "name": ["ann", "bob"]}))
        >>> print(people.sql("SELECT id, length(name) AS name FROM input_data").diff(people))
        breaking: retyped name: text -> bigint
        """
        from datapipe.inspection import diff_plans, diff_with_target

        if isinstance(against, Pipeline):
            return diff_plans(against.plan, self.plan)
        return diff_with_target(self.plan, against)

    # --- running --------------------------------------------------------------------------------------------

    @overload
    def run(
        self,
        memory: str | int = ...,
        *,
        idempotency_key: str | None = ...,
        if_running: Literal["wait", "fail", "skip"] = ...,
        listeners: Sequence[Listener] = ...,
        background: Literal[False] = ...,
    ) -> RunResult: ...

    @overload
    def run(
        self,
        memory: str | int = ...,
        *,
        idempotency_key: str | None = ...,
        if_running: Literal["wait", "fail", "skip"] = ...,
        listeners: Sequence[Listener] = ...,
        background: Literal[True],
    ) -> Run: ...

    def run(
        self,
        memory: str | int = "512MB",
        *,
        idempotency_key: str | None = None,
        if_running: Literal["wait", "fail", "skip"] = "wait",
        listeners: Sequence[Listener] = (),
        background: bool = False,
    ) -> RunResult | Run:
        """Run the plan here and wait, with live progress in a notebook or a terminal.

        Parameters
        ----------
        memory : str or int
            What the run may use, such as ``"512MB"``, or bytes. Rows beyond it spill to disk.
        idempotency_key : str, optional
            Runs of this plan with one key take effect once, whoever runs them, wherever, however often: the first
            loads, the others return its result, with ``replayed`` true, and do not read the source.
        if_running : {"wait", "fail", "skip"}
            What to do while another run has the key: wait for it, raise ``InProgress``, or return with the state
            ``skipped``.
        listeners : sequence of callables, optional
            Each is called with every :class:`~datapipe.engine.Event`.
        background : bool
            Return at once, while a thread of this process runs the plan: its functions are called there. Where a
            notebook is run without anybody, whose kernel would end before the run, wait all the same.

        Returns
        -------
        RunResult, or Run with ``background``

        Raises
        ------
        DatapipeError
            If the run fails. Its ``result`` says how far it came; the target is unchanged.
        """
        from datapipe.engine import nested, run_options  # loads pyarrow
        from datapipe.showing import run_behind, run_shown

        options = run_options(memory, idempotency_key, if_running)
        options = dataclasses.replace(options, listeners=tuple(listeners), places=self.places)
        with nested(options, self.plan) as options:
            if not background:
                return run_shown(self.plan, options)
            from datapipe.history import Run

            found = Run(options.run_id)  # where runs are not recorded, this says so before one begins
            run_behind(self.plan, options)
            return found

    def submit(
        self,
        memory: str | int = "512MB",
        *,
        queue: str | None = None,
        pipeline_id: str | None = None,
        idempotency_key: str | None = None,
        if_running: Literal["wait", "fail", "skip"] = "wait",
    ) -> Run:
        """Send the plan to the workers, and return at once.

        Parameters
        ----------
        memory, idempotency_key, if_running
            As for :meth:`run`.
        queue : str, optional
            The queue of the workers that are to run it; the plan's own, or DATAPIPE_QUEUE, if left out.
        pipeline_id : str, optional
            Your name for the run; :func:`datapipe.attach` takes it too, for the latest run of that name.

        Returns
        -------
        Run
            Its ``watch()``, ``result()`` and ``cancel()`` work from any process.

        Raises
        ------
        PlanError
            If the plan cannot travel: it reads a frame, or calls a function of this process and there is no
            DATAPIPE_SIGNING_KEY.
        TransientError
            If the broker cannot be reached; nothing is queued then.
        """
        from datapipe.engine import nested, run_options  # loads pyarrow
        from datapipe.history import Run
        from datapipe.hosts import host

        options = dataclasses.replace(run_options(memory, idempotency_key, if_running), places=self.places)
        with nested(options, self.plan) as options:
            host("queue").submit(self.plan, options, queue=queue, pipeline_id=pipeline_id)
        run = Run(options.run_id)
        run.watch_behind()
        return run

    def collect(self, as_: Literal["pandas", "polars", "arrow"] = "pandas", *, memory: str | int = "512MB") -> Any:
        """Run the steps and return the rows, without writing them.

        Parameters
        ----------
        as_ : {"pandas", "polars", "arrow"}
        memory : str or int
            What the steps may use; the rows themselves come on top.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
        """
        from datapipe.engine import run_options  # loads pyarrow
        from datapipe.inspection import collect

        return collect(self.plan, as_, run_options(memory, None, "wait").memory)

    # --- carrying -------------------------------------------------------------------------------------------

    def to_yaml(self) -> str:
        """The plan as YAML, without passwords.

        Raises
        ------
        NotPortableError
            If it holds a frame or a function that only this process has.
        """
        return document.to_yaml(self.plan)

    def to_json(self) -> str:
        """The plan as JSON, without passwords; see :meth:`to_yaml`."""
        return document.to_json(self.plan)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pipeline) and self.plan == other.plan

    def __hash__(self) -> int:
        return hash(self.plan.fingerprint)

    def __repr__(self) -> str:
        from datapipe.display import known_columns, plan_text

        return plan_text(self.plan, self.places, known_columns(self.plan))

    def _repr_html_(self) -> str:
        from datapipe.display import known_columns, plan_html

        return plan_html(self.plan, self.places, known_columns(self.plan))


def _parts(plan: Plan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in Plan.model_fields}
