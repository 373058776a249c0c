"""Plans as text: nothing is executed to show one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from datapipe.display.seen import Columns
from datapipe.display.words import count, shortened
from datapipe.plan import CodeStep, Contract, FileTarget, Plan, SqlStep, Step, ValidateConfig, ValidateStep
from datapipe.traces import masked

_LONGEST_PLACE = 24


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
        tables = f" [with {', '.join(step.config.tables)}]" if step.config.tables else ""
        return "sql", " ".join(masked(step.config.sql_query).split()) + tables
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


def plan_text(
    plan: Plan, places: Sequence[str] = (), columns: Sequence[Columns | None] = (), *, width: int = 100
) -> str:
    """A plan in a few lines.

    Parameters
    ----------
    places : sequence of str
        Where the source, each transformation and the target were written.
    columns : sequence of Columns or None
        What the source and each transformation hand on, where it is known.

    Examples
    --------
    >>> from datapipe.plan import parse
    >>> plan = parse({"ingestion": {"files": "a.csv"}, "persistence": {"path": "b.parquet"}})
    >>> print(plan_text(plan, ("etl.py:3", "etl.py:4"), ((("id", "bigint"),),)))
    Plan
      read       files a.csv                  etl.py:3  -> 1 column
      write      replace into file b.parquet  etl.py:4
    """
    lines = plan_lines(plan)
    counts = [f"-> {count(len(known), 'column')}" if known is not None else "" for known in columns]
    cells = [*zip_longest([what for _, what in lines], map(_place, places[: len(lines)]), counts, fillvalue="")]
    _, *asides = (max(map(len, column)) for column in zip(*cells, strict=True))
    room = width - 13 - sum(2 + aside for aside in asides if aside)
    cells = [(shortened(what, room), place, known) for what, place, known in cells]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = ("  ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True) if wide) for row in cells)
    body = [f"  {verb:<10} {row}".rstrip() for (verb, _), row in zip(lines, rows, strict=True)]
    return "\n".join([f"Plan {plan.name}" if plan.name else "Plan", *body])


def _place(place: str) -> str:
    """A place without its folders: the steps need the room."""
    name = place.rpartition("/")[2]
    return name if len(name) <= _LONGEST_PLACE else f"…{name[1 - _LONGEST_PLACE :]}"
