"""What is worth knowing of a plan before it runs."""

from __future__ import annotations

from collections.abc import Iterator

from datapipe.display.words import shortened
from datapipe.errors import PlanError
from datapipe.plan import CodeStep, Feed, FrameSource, Plan, SqlStep, StoredTable, functions
from datapipe.settings import settings

_MOST = 8
_NAME = 60
_CURE = " (per_batch=True where rows are independent)"


def warnings(plan: Plan) -> tuple[str, ...]:
    """What may surprise, a sentence each.

    Examples
    --------
    >>> from datapipe.plan import parse
    >>> step = {"type": "code", "config": {"function": "recipes.users:clean"}}
    >>> for text in warnings(parse({"ingestion": {"table": "users"}, "transformation": step})):
    ...     print(text)
    recipes.users:clean gets the whole table: all rows must fit into memory (per_batch=True where rows are independent)
    no target yet: add .write(table, to=…), or .collect()
    """
    found = [*dict.fromkeys([*_whole(plan), *_bound_here(plan)])]
    left = len(found) - _MOST
    end = [] if plan.persistence else ["no target yet: add .write(table, to=…), or .collect()"]
    return (*found[:_MOST], *([f"and {left} more like these"] if left > 0 else []), *end)


def _whole(plan: Plan | Feed) -> Iterator[str]:
    """The functions that get all rows at once."""
    for step in plan.transformation:
        if isinstance(step, CodeStep) and not step.config.per_batch:
            name = shortened(str(step.config.function), _NAME)
            yield f"{name} gets the whole table: all rows must fit into memory{_CURE}"
        elif isinstance(step, SqlStep):
            for feed in step.config.tables.values():
                yield from _whole(feed)


def _bound_here(plan: Plan) -> Iterator[str]:
    """What does not travel to a worker, in a sentence."""
    held = [source.label for source in _frames(plan)]
    held += [
        f"the function {shortened(ref.name, _NAME)}" for ref in functions(plan) if not ref.portable and not _signed()
    ]
    if held:
        names = ", ".join(dict.fromkeys(held[:_MOST])) + (", …" if len(held) > _MOST else "")
        yield f"runs here, and cannot be submitted to workers as it is: only this process has {names}"


def _frames(plan: Plan | Feed) -> Iterator[FrameSource]:
    if isinstance(plan.ingestion, FrameSource) and not isinstance(plan.ingestion.frame, StoredTable):
        yield plan.ingestion
    for step in plan.transformation:
        if isinstance(step, SqlStep):
            for feed in step.config.tables.values():
                yield from _frames(feed)


def _signed() -> bool:
    try:
        return settings().signing_key is not None
    except PlanError:  # a setting is wrong; a run says which
        return False
