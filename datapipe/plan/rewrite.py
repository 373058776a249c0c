"""The functions of a plan: listing them, and putting others in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from datapipe.plan.functions import FunctionRef
from datapipe.plan.model import Plan
from datapipe.plan.steps import CodeStep, Feed, SqlStep, Step, ValidateStep
from datapipe.plan.values import freeze

P = TypeVar("P", Plan, Feed)


def functions(plan: Plan | Feed) -> Iterator[FunctionRef]:
    """Every function of a plan, those of its further tables included.

    Examples
    --------
    >>> from datapipe.plan import parse
    >>> step = {"type": "code", "config": {"function": "recipes.users:clean"}}
    >>> [ref.name for ref in functions(parse({"ingestion": {"table": "users"}, "transformation": step}))]
    ['recipes.users:clean']
    """
    for step in plan.transformation:
        if isinstance(step, CodeStep):
            yield step.config.function
        elif isinstance(step, ValidateStep):
            yield from step.config.functions
        elif isinstance(step, SqlStep):
            for _, feed in sorted(step.config.tables.items()):
                yield from functions(feed)


def with_functions(plan: P, change: Callable[[FunctionRef], FunctionRef]) -> P:
    """The same plan with every function changed."""
    return plan.model_copy(update={"transformation": tuple(_step(step, change) for step in plan.transformation)})


def _step(step: Step, change: Callable[[FunctionRef], FunctionRef]) -> Step:
    if isinstance(step, CodeStep):
        config = step.config.model_copy(update={"function": change(step.config.function)})
        return step.model_copy(update={"config": config})
    if isinstance(step, ValidateStep):
        return step.model_copy(update={"config": step.config.with_functions(change)})
    if isinstance(step, SqlStep) and step.config.tables:
        feeds = freeze({name: with_functions(feed, change) for name, feed in step.config.tables.items()})
        return step.model_copy(update={"config": step.config.model_copy(update={"tables": feeds})})
    return step
