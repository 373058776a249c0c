"""From the command line's options to a pipeline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datapipe.errors import PlanError
from datapipe.pipeline import Pipeline, load
from datapipe.plan import document


@dataclass(frozen=True)
class PlanOptions:
    """A plan given piece by piece, as in the specification."""

    query: str | None = None
    source_db_url: str | None = None
    transform_type: str | None = None
    transform_config: str | None = None
    table_name: str | None = None
    strategy: str | None = None
    upsert_keys: Sequence[str] = ()
    dest_db_url: str | None = None

    @property
    def given(self) -> bool:
        """Whether any of them is given."""
        return any(getattr(self, name) for name in self.__dataclass_fields__)

    def document(self) -> dict[str, Any]:
        """The document form."""
        if not self.query:
            raise PlanError("no plan is given", hint="Give a FILE, or --query and --table-name")
        found: dict[str, Any] = {"ingestion": _set(query=self.query, source_db_url=self.source_db_url)}
        if self.transform_config or self.transform_type:
            config = _json(self.transform_config or "{}", "--transform-config")
            found["transformation"] = {"type": self.transform_type or "sql", "config": config}
        if self.table_name:
            found["persistence"] = _set(
                table_name=self.table_name,
                strategy=self.strategy,
                upsert_keys=[key.strip() for text in self.upsert_keys for key in text.split(",")],
                dest_db_url=self.dest_db_url,
            )
        return found


def pipeline_of(file: str | None, options: PlanOptions, params: Sequence[str]) -> Pipeline:
    """The pipeline a command is about.

    Raises
    ------
    PlanError
        If there is none, or two.
    """
    if file and options.given:
        raise PlanError("both a plan file and single options are given", hint="Give one of them")
    pipeline = load(file) if file else Pipeline(document.parse(options.document()))
    return pipeline.bind(**dict(_parameter(text) for text in params)) if params else pipeline


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise PlanError(f"--param {text!r} is not name=value", hint="For example --param day=2024-01-01")
    try:
        found = document.read_yaml(value)
    except PlanError:
        found = value
    return name.strip(), value if isinstance(found, (dict, list)) or found is None else found


def _json(text: str, option: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise PlanError(f"{option} is not JSON: {error.msg} at character {error.pos + 1}") from None


def _set(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value}
