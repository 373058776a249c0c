"""The version of a transformation: a hash of its content, the same in every process."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from datapipe.plan import CodeStep, Step, ValidateStep


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
        return content_version([content, *(function.version() for function in step.config.functions)])
    return content_version(step.model_dump(mode="json", by_alias=True, exclude_defaults=True))
