"""Pydantic's findings as one PlanError that names the step, the field, what was given and the nearest name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from datapipe.errors import PlanError, did_you_mean
from datapipe.plan import model, sources, steps, targets
from datapipe.plan.contract import Contract

_MODELS: dict[str, type[BaseModel]] = {
    "query": sources.QuerySource,
    "table": sources.TableSource,
    "files": sources.FileSource,
    "sql": steps.SqlStep,
    "code": steps.CodeStep,
    "config": steps.ConfigStep,
    "validate": steps.ValidateStep,
    "file": targets.FileTarget,
    "Contract": Contract,
}


def explain(error: ValidationError, root: type[BaseModel], *, step: str | None = None) -> PlanError:
    """The first finding, as a sentence."""
    findings = error.errors(include_url=False)
    # A misspelt field is also a missing one; the misspelling is what to tell.
    finding = next((f for f in findings if f["type"] == "extra_forbidden"), findings[0])
    cause = finding.get("ctx", {}).get("error")
    where = ["Contract" if str(part).endswith("Contract]") else part for part in finding["loc"]]
    label = step or _label(where)
    kind, given = finding["type"], finding.get("input")
    column = _column(where)
    if isinstance(cause, PlanError):
        cause.message = f"{column}{cause.message}"
        cause.at(label)
        return cause
    field = ".".join(str(part) for part in _fields(where))
    if kind == "extra_forbidden":
        owner = _owner(root, where[:-1])
        known = [info.alias or name for name, info in owner.model_fields.items()]
        return PlanError(f"{column}unknown field {where[-1]!r}", step=label, hint=did_you_mean(str(where[-1]), known))
    if kind == "missing":
        return PlanError(f"field {field!r} is missing", step=label, hint="Add it")
    if kind == "union_tag_invalid":
        tags = ("sql", "code", "config", "validate")
        named = given.get("type") if isinstance(given, Mapping) else given
        return PlanError(f"unknown type {named!r}", step=label, hint=did_you_mean(str(named), tags))
    if kind == "union_tag_not_found":
        return PlanError("field 'type' is missing", step=label, hint="One of: sql, code, config, validate")
    if kind in {"source_kind", "target_kind"}:
        keys = ("query", "table", "files") if kind == "source_kind" else ("table_name", "path")
        near = [did_you_mean(str(name), keys) for name in given] if isinstance(given, Mapping) else []
        return PlanError(finding["msg"], step=label, hint=next((hint for hint in near if hint.startswith("Did")), None))
    if kind in {"enum", "literal_error"}:
        known = re.findall(r"'(\w+)'", str(finding["ctx"]["expected"]))
        return PlanError(f"unknown {field} {given!r}", step=label, hint=did_you_mean(str(given), known))
    message = finding["msg"].removeprefix("Value error, ")
    return PlanError(f"{field}: {message}" if field else message, step=label, hint=None)


def _label(where: list[Any]) -> str:
    if not where:
        return "plan"
    if where[0] not in model.Plan.model_fields:
        return "plan"
    if where[0] == "transformation" and len(where) > 1 and isinstance(where[1], int):
        kind = f" ({where[2]})" if len(where) > 2 and where[2] in {"sql", "code", "config", "validate"} else ""
        return f"transformation step {where[1] + 1}{kind}"
    return str(where[0])


def _column(where: list[Any]) -> str:
    """The column of a contract that a location is about."""
    place = where.index("columns") + 1 if "columns" in where else len(where)
    return f"column {where[place]!r}: " if len(where) > place + 1 else ""


def _fields(where: list[Any]) -> Iterator[Any]:
    tags = {"query", "table", "files", "frame", "sql", "code", "config", "validate", "file"}
    for index, part in enumerate(where):
        is_tag = (part in tags and index < len(where) - 1 and index > 0) or part in {"Contract", "bool"}
        if (index and not isinstance(part, int) and not is_tag) or len(where) == 1:
            yield part


def _owner(root: type[BaseModel], path: list[Any]) -> type[BaseModel]:
    """The model that a location leads to, so that its field names can be listed."""
    found = root
    for index, part in enumerate(path):
        if part == "table" and path[0] == "persistence":
            found = targets.TableTarget
        elif part in found.model_fields:
            inner = _model_in(found.model_fields[str(part)].annotation)
            found = inner or found
        elif part in _MODELS and index:
            found = _MODELS[str(part)]
    return found


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    models = [found for arg in get_args(annotation) if (found := _model_in(arg))]
    return models[0] if len(models) == 1 else None
