"""Plans as text: nothing is executed to show one."""

from __future__ import annotations

from datapipe.plan import CodeStep, Contract, FileTarget, Plan, SqlStep, Step, ValidateConfig, ValidateStep


def plan_lines(plan: Plan) -> list[tuple[str, str]]:
    """A plan as pairs of a verb and what it is about, from source to target."""
    lines = [("read", plan.ingestion.label)]
    lines += [step_line(step) for step in plan.transformation]
    target = plan.persistence
    if target is None:
        return [*lines, ("write", "nowhere yet: add .write(table, to=…), or .collect()")]
    keys = (
        "" if isinstance(target, FileTarget) else f" by {', '.join(target.upsert_keys)}" if target.upsert_keys else ""
    )
    return [*lines, ("write", f"{target.strategy.value}{keys} into {target.label}")]


def step_line(step: Step) -> tuple[str, str]:
    """One step: what runs it, and its text in one line."""
    if isinstance(step, SqlStep):
        tables = f"  [with {', '.join(step.config.tables)}]" if step.config.tables else ""
        return "sql", " ".join(step.config.sql_query.split()) + tables
    if isinstance(step, CodeStep):
        return (
            "apply",
            f"{step.config.function}{' per batch' if step.config.per_batch else ' on the whole table'}",
        )
    if isinstance(step, ValidateStep):
        return "validate", f"{contract_label(step.config)}, on error {step.config.on_error}"
    chosen = step.config.model_dump(exclude_defaults=True, exclude={"version"})
    return "transform", ", ".join(f"{key}: {value}" for key, value in chosen.items())


def contract_label(config: ValidateConfig) -> str:
    """What rows are held to, in a line."""
    held = config.schema_
    names = [str(held)] if held is not None else []
    if isinstance(held, Contract):
        names = [f"{name} {rule.type}" if rule.type else name for name, rule in held.columns.items()]
        names += [check.label for check in held.checks]
    return ", ".join([*names, *(check.label for check in config.checks)])


def plan_text(plan: Plan, *, width: int = 100) -> str:
    """A plan in a few lines.

    Examples
    --------
    >>> from datapipe.plan import parse
    >>> print(plan_text(parse({"ingestion": {"files": "a.csv"}, "persistence": {"path": "b.parquet"}})))
    Plan
      read       files a.csv
      write      replace into file b.parquet
    """
    head = f"Plan {plan.name}" if plan.name else "Plan"
    return "\n".join([head, *(f"  {verb:<10} {_short(what, width - 13)}" for verb, what in plan_lines(plan))])


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
