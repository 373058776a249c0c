"""Other values for the named parameters of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from datapipe.errors import PlanError, did_you_mean
from datapipe.plan.document import build
from datapipe.plan.model import Plan, parameter_names, texts
from datapipe.plan.sources import QuerySource, Source
from datapipe.plan.sqltext import check_parameters, named_parameters
from datapipe.plan.steps import Feed, SqlStep, Step
from datapipe.plan.values import freeze

P = TypeVar("P", Plan, Feed)


def bind(plan: Plan, values: Mapping[str, Any]) -> Plan:
    """The plan with ``values`` for its named parameters, wherever a text uses them.

    Raises
    ------
    PlanError
        If no text of the plan uses a name.

    Examples
    --------
    >>> from datapipe.plan import parse
    >>> plan = parse({"ingestion": {"query": "SELECT :day AS day"}})
    >>> bind(plan, {"day": "2024-01-01"}).ingestion.parameters
    {'day': '2024-01-01'}
    """
    known = parameter_names(plan)
    for name in values:
        if name not in known:
            hint = did_you_mean(name, known) or "The plan has no parameters"
            raise PlanError(f"unknown parameter {name!r}", step="plan", hint=hint)
    return build(Plan, _rebind(plan, values))


def check_bound(plan: Plan | Feed) -> None:
    """Refuse a plan whose texts use a parameter without a value, or that gives one no text uses."""
    for sql, given in texts(plan):
        check_parameters(sql, given, step="parameters")


def check_runnable(plan: Plan) -> None:
    """Refuse a plan that writes nowhere, or whose parameters are not what its texts use.

    Raises
    ------
    PlanError
    """
    check_bound(plan)
    if plan.persistence is None:
        raise PlanError("the plan writes nowhere", hint="Add .write(table, to=…), or use .collect()")


def _rebind(plan: P, values: Mapping[str, Any]) -> P:
    steps = tuple(_rebind_step(step, values) for step in plan.transformation)
    return plan.model_copy(update={"ingestion": _rebind_source(plan.ingestion, values), "transformation": steps})


def _rebind_source(source: Source, values: Mapping[str, Any]) -> Source:
    if not isinstance(source, QuerySource):
        return source
    return source.model_copy(update={"parameters": _merged(source.query, source.parameters, values)})


def _rebind_step(step: Step, values: Mapping[str, Any]) -> Step:
    if not isinstance(step, SqlStep):
        return step
    tables = freeze({name: _rebind(feed, values) for name, feed in step.config.tables.items()})
    parameters = _merged(step.config.sql_query, step.config.parameters, values)
    return step.model_copy(
        update={"config": step.config.model_copy(update={"parameters": parameters, "tables": tables})}
    )


def _merged(sql: str, given: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    used = {name: values[name] for name in named_parameters(sql) if name in values}
    return freeze({**given, **used})
