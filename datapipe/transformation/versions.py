"""The version of a transformation: a hash of its content, the same in every process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from datapipe.plan import CodeStep, Contract, FunctionRef, Step, ValidateStep
from datapipe.schemas import contract_of, is_pandera


def content_version(content: Any) -> str:
    """The first 16 hex digits of SHA-256 over canonical JSON.

    Examples
    --------
    >>> content_version({"a": 1}) == content_version({"a": 1}) != content_version({"a": 2})
    True
    """
    canonical = json.dumps(content, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def step_version(step: Step) -> str:
    """The version of a step of a plan: of the function's code, or of the text."""
    if isinstance(step, CodeStep):
        return step.config.function.version()
    if isinstance(step, ValidateStep):
        content = step.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return content_version([content, *map(reference_version, step.config.functions)])
    return content_version(step.model_dump(mode="json", by_alias=True, exclude_defaults=True))


def reference_version(ref: FunctionRef) -> str:
    """The version of what a plan refers to: of a function's code, or of what a schema asks for.

    Raises
    ------
    PlanError
        If there is no such thing.
    """
    found = ref.resolve()
    if not (is_pandera(found) or isinstance(found, (Contract, Mapping))):
        return ref.version()
    contract = contract_of(found)
    return content_version([contract.form(), *(function.version() for function in contract.functions)])
