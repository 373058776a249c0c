"""Plans as documents: YAML and JSON, both ways, read as data and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from datapipe.errors import NotPortableError, PlanError
from datapipe.plan import problems
from datapipe.plan.functions import FunctionRef
from datapipe.plan.model import Plan
from datapipe.plan.sources import FrameSource
from datapipe.plan.steps import CodeStep, Feed, SqlStep, ValidateStep

M = TypeVar("M", bound=BaseModel)


def build(kind: type[M], data: Any, *, step: str | None = None) -> M:
    """A model from plain data.

    Raises
    ------
    PlanError
        For the first mistake, naming step, field and the nearest known name.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise problems.explain(error, kind, step=step) from None


def parse(data: Any) -> Plan:
    """A plan from its document form.

    Examples
    --------
    >>> parse({"ingestion": {"query": "SELECT 1 AS a"}}).ingestion.query
    'SELECT 1 AS a'
    """
    if not isinstance(data, Mapping):
        raise PlanError(
            f"a plan is a mapping, not {type(data).__name__}",
            hint="It has ingestion, transformation, persistence",
        )
    version = data.get("format", 1)
    if version != 1:
        raise PlanError(f"format {version!r} is not known", step="plan", hint="This library reads format 1")
    return build(Plan, data)


def loads(text: str | bytes) -> Plan:
    """A plan from YAML or JSON text."""
    from datapipe.plan.yamltext import read_yaml  # loads PyYAML

    return parse(read_yaml(text))


def load(path: str | Path) -> Plan:
    """A plan from a YAML or JSON file.

    Raises
    ------
    PlanError
        If the file is missing, too large, or not a plan.
    """
    return parse(read_file(path))


def read_file(path: str | Path) -> Any:
    """The data in a YAML or JSON file, read safely."""
    from datapipe.plan.yamltext import MAX_BYTES, read_yaml

    file = Path(path)
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise PlanError(f"cannot read {str(path)!r}: {error.strerror}", hint="Check the path") from None
    try:
        return read_yaml(text)
    except PlanError as error:
        raise error.at(str(path)) from None


def to_dict(plan: Plan) -> dict[str, Any]:
    """The document form of a plan.

    Raises
    ------
    NotPortableError
        If the plan holds a frame or a function that only this process has.
    """
    _check_portable(plan)
    return {"format": plan.format, **plan.document()}


def to_json(plan: Plan, *, indent: int | None = 2) -> str:
    """The document form as JSON."""
    return json.dumps(to_dict(plan), indent=indent, ensure_ascii=False)


def to_yaml(plan: Plan) -> str:
    """The document form as YAML."""
    from datapipe.plan.yamltext import dumped

    return dumped(to_dict(plan))


def _check_portable(plan: Plan | Feed) -> None:
    if isinstance(plan.ingestion, FrameSource):
        raise NotPortableError(
            f"the plan reads {plan.ingestion.label}, which no document can carry",
            step="ingestion",
            hint="Read it from a file or a table instead",
        )
    for number, step in enumerate(plan.transformation, 1):
        label = f"transformation step {number} ({step.type})"
        if isinstance(step, (CodeStep, ValidateStep)):
            found = (step.config.function,) if isinstance(step, CodeStep) else step.config.functions
            for function in found:
                _check_function(function, label)
        if isinstance(step, SqlStep):
            for name, feed in step.config.tables.items():
                try:
                    _check_portable(feed)
                except NotPortableError as error:
                    error.step = f"{label}, table {name!r}"
                    raise


def _check_function(function: FunctionRef, step: str) -> None:
    if not function.portable:
        raise NotPortableError(
            f"the function {function.name!r} exists only in this process",
            step=step,
            hint="Move it into a module that both sides can import",
        )
