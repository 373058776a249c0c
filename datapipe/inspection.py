"""Looking at a plan: explain, preview and collect."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import dedent
from typing import Any

from datapipe.data.types import describe
from datapipe.display import Explanation, Preview, Section
from datapipe.engine import RunOptions, collect_plan, outline_plan
from datapipe.errors import PlanError
from datapipe.ingestion import source_sql
from datapipe.plan import CodeStep, Plan, SqlStep, Step
from datapipe.transformation import compile_config


def explain(plan: Plan) -> Explanation:
    """Bind the whole plan and say what it would do."""
    outline = outline_plan(plan, RunOptions())
    schemas = dict(outline.schemas)
    columns = [tuple((f.name, describe(f)) for f in schema) for schema in schemas.values()]
    sent = dedent(source_sql(plan.ingestion) or plan.ingestion.label).strip()
    sections = [Section("ingestion", sent, columns[0])]
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
    return compile_config(step.config, columns)


def preview(plan: Plan, n: int, step: int | None, sample: int) -> Preview:
    """The first ``n`` rows after a step, from at most ``sample`` source rows."""
    if n < 0:
        raise PlanError(f"cannot show {n} rows", hint="Give 0 or more")
    count = len(plan.transformation)
    upto = count if step is None else step
    if not 0 <= upto <= count:
        raise PlanError(f"there is no step {step}", hint=f"0 is the source, {count} the last transformation")
    part = plan.model_copy(update={"transformation": plan.transformation[:upto], "persistence": None})
    table, result = collect_plan(part, RunOptions(limit=sample))
    from datapipe.data.frames import to_pandas  # loads pandas

    name = "ingestion" if not upto else result.steps[upto].name
    return Preview(to_pandas(table.slice(0, n)), name, result.rows_read >= sample, result.rows_read)


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
