"""Looking at a plan: explain, diff, preview and collect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

import pyarrow as pa

from datapipe.data.cancel import CancelToken
from datapipe.data.stream import Workspace, scratch_directory
from datapipe.data.types import describe
from datapipe.display import Explanation, Preview, Section
from datapipe.engine import RunOptions, collect_plan, outline_of_partitions, outline_plan
from datapipe.errors import PlanError
from datapipe.ingestion import source_sql
from datapipe.persistence import Standing, look_at
from datapipe.plan import CodeStep, FileTarget, Plan, SqlStep, Step, ValidateStep, build
from datapipe.schemas import (
    ColumnSpec,
    Compatibility,
    Mode,
    SchemaDiff,
    SchemaRegistry,
    columns_of,
    contract_lines,
    diff,
    diff_target,
    landed,
)
from datapipe.transformation import compile_config


def explain(plan: Plan, cancel: CancelToken | None = None) -> Explanation:
    """Bind the whole plan and say what it would do."""
    outline = outline_plan(plan, RunOptions(cancel=cancel or CancelToken()))
    schemas, asked = dict(outline.schemas), outline.asked
    columns = [tuple((f.name, describe(f)) for f in schema) for schema in schemas.values()]
    sent = dedent((asked and asked.sql) or source_sql(plan.ingestion) or plan.ingestion.label).strip()
    with scratch_directory() as scratch:
        found = outline_of_partitions(plan, list(schemas.values()), Workspace(scratch=scratch))
    read = columns[0] if asked is None else tuple(c for c in columns[0] if c[0] in asked.ask.names(asked.schema))
    notes = "; ".join(note for note in (outline.increment, str(asked or "")) if note)
    sections = [Section("ingestion", f"-- {found}\n{sent}" if found else sent, read, notes)]
    for number, step in enumerate(plan.transformation):
        before = [name for name, _ in columns[number]]
        title = list(schemas)[number + 1]
        sections.append(Section(title, _step_text(step, before), columns[number + 1]))
    if plan.persistence is not None:
        sections.append(Section("persistence", _script(outline.statements)))
    return Explanation(tuple(sections))


def _script(statements: Sequence[str]) -> str:
    """Statements as a script, each comment on a line of its own."""
    ends = [("" if text.startswith("--") else ";") for text in statements[:-1]]
    return "\n".join(text + end for text, end in zip(statements, [*ends, ""], strict=True))


def _step_text(step: Step, columns: list[str]) -> str:
    if isinstance(step, SqlStep):
        return dedent(step.config.sql_query).strip()
    if isinstance(step, CodeStep):
        how = "once per batch" if step.config.per_batch else "once with the whole table"
        return f"{step.config.function} (version {step.config.function.version()}), called {how}"
    if isinstance(step, ValidateStep):
        return "\n".join([*contract_lines(step.config), f"on error: {step.config.on_error}"])
    return compile_config(step.config, columns)


def diff_plans(before: Plan, after: Plan) -> SchemaDiff:
    """What differs between the rows of two plans."""
    titles = (before.name or "the other plan", after.name or "the plan")
    return diff(columns_of(_output(before)), columns_of(_output(after)), titles=titles)


def diff_with_target(plan: Plan, version: int | str | None = None) -> SchemaDiff:
    """What differs between a plan's target, as it is or as it was in a version of its schema, and the plan's rows."""
    standing = _standing(plan)
    title = plan.name or "the plan"
    if version is not None:
        found = SchemaRegistry().get(standing.subject, version)
        titles = (f"version {found.version} of {found.subject}", title)
        return diff(found.columns, landed(found.columns, standing.data), titles=titles)
    there = _in_file(plan) if isinstance(plan.persistence, FileTarget) else standing.columns
    titles = (f"{standing.subject}{'' if there else ', which is not there yet'}", title)
    refusal = standing.refusal
    changes = diff_target(
        there or (),
        standing.data,
        needed=standing.needed,
        planned=standing.changes,
        left_out=standing.left_out,
        refused=refusal.changes if refusal else (),
        titles=titles,
    )
    if refusal is not None and not changes.breaking:
        raise refusal
    return changes


def check_with_registry(plan: Plan, mode: Mode) -> Compatibility | None:
    """Whether a plan's rows may follow the latest version of its target's schema; None if there is none yet."""
    standing, registry = _standing(plan), SchemaRegistry()
    if standing.subject not in registry.subjects():
        return None
    return registry.compatible(standing.subject, landed(registry.get(standing.subject).columns, standing.data), mode)


def _standing(plan: Plan) -> Standing:
    if plan.persistence is None:
        raise PlanError("the plan writes nowhere", hint="Add .write(table, to=…), or compare it with another plan")
    with scratch_directory() as scratch:
        return look_at(plan.persistence, _output(plan), Workspace(scratch=scratch))


def _output(plan: Plan) -> pa.Schema:
    """The columns that a plan's last step hands on."""
    outline = outline_plan(plan.model_copy(update={"persistence": None}), RunOptions())
    return outline.schemas[-1][1]


def _in_file(plan: Plan) -> tuple[ColumnSpec, ...]:
    """The columns of the file that a plan writes, if it is there."""
    path = Path(getattr(plan.persistence, "path", "")).expanduser()
    if not path.is_file() and not (path.is_dir() and any(path.iterdir())):
        return ()
    return columns_of(_output(build(Plan, {"ingestion": {"files": str(path)}})))


def preview(plan: Plan, n: int, step: int | None, sample: int, cancel: CancelToken | None = None) -> Preview:
    """The first ``n`` rows after a step, from at most ``sample`` source rows."""
    if n < 0:
        raise PlanError(f"cannot show {n} rows", hint="Give 0 or more")
    count = len(plan.transformation)
    upto = count if step is None else step
    if not 0 <= upto <= count:
        raise PlanError(f"there is no step {step}", hint=f"0 is the source, {count} the last transformation")
    part = plan.model_copy(update={"transformation": plan.transformation[:upto], "persistence": None})
    table, result = collect_plan(part, RunOptions(limit=sample, cancel=cancel or CancelToken()))
    return Preview(
        table.slice(0, n),
        "ingestion" if not upto else result.steps[upto].name,
        result.rows_read >= sample,
        result.rows_read,
        table.num_rows,
        tuple(column.null_count for column in table.columns),
        result.seconds,
    )


def collect(plan: Plan, as_: str, memory: int) -> Any:
    """The rows of a plan, in memory."""
    if as_ not in {"pandas", "polars", "arrow"}:
        raise PlanError(f"unknown form {as_!r}", hint="One of: pandas, polars, arrow")
    part = plan.model_copy(update={"persistence": None})
    table, _ = collect_plan(part, RunOptions(memory=memory))
    if as_ == "arrow":
        return table
    from datapipe.data import frames  # loads pandas

    return frames.to_pandas(table) if as_ == "pandas" else frames.to_polars(table)
