"""The plan: a frozen model that checks itself and mirrors the document form field by field."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from datapipe.errors import PlanError
from datapipe.plan.base import Text, Value
from datapipe.plan.checks import check_deletes
from datapipe.plan.sources import QuerySource, Source, incremental_of, is_incremental
from datapipe.plan.sqltext import named_parameters
from datapipe.plan.steps import Feed, SqlStep, Steps, ValidateStep
from datapipe.plan.targets import FileTarget, TableTarget, Target, WriteStrategy

QUEUE_NAME = r"^[A-Za-z0-9_.-]{1,64}$"


class Plan(Value):
    """What is to be done: where rows come from, what happens to them, where they go.

    Parameters
    ----------
    ingestion : QuerySource | TableSource | FileSource | FrameSource
    transformation : tuple of SqlStep | CodeStep | ConfigStep | ValidateStep
    persistence : TableTarget | FileTarget, optional
    name : str, optional
    queue : str, optional
        The queue of the workers that run it; no part of what the plan does.
    format : int
        The version of the document form.

    Examples
    --------
    >>> from datapipe.plan import parse
    >>> plan = parse({"ingestion": {"table": "users"}, "persistence": {"table_name": "copy"}})
    >>> plan.ingestion.table, plan.persistence.strategy.value
    ('users', 'append')
    """

    format: Literal[1] = 1
    name: Text | None = None
    queue: Annotated[str, Field(pattern=QUEUE_NAME)] | None = None
    ingestion: Source
    transformation: Steps = ()
    persistence: Target | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        quarantines = any(
            isinstance(step, ValidateStep) and step.config.on_error == "quarantine" for step in self.transformation
        )
        if quarantines and isinstance(self.persistence, FileTarget):
            hint = "Write to a database table, or use on_error='drop'"
            raise PlanError("beside a file there is no place for a quarantine", step="persistence", hint=hint)
        if is_incremental(self.ingestion):
            _check_keeps(self.persistence)
        if isinstance(self.persistence, TableTarget):
            check_deletes(self.persistence.deletes, incremental_of(self.ingestion))
        return self

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the canonical JSON of everything that was set; defaults and the queue are left out."""
        found = {name: value for name, value in self.document().items() if name != "queue"}
        canonical = json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def document(self) -> dict[str, Any]:
        """The plan as plain JSON values; frames and cell functions appear by their names only."""
        found: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        steps = [
            {"type": step.type, **step.model_dump(mode="json", by_alias=True, exclude_defaults=True)}
            for step in self.transformation
        ]
        if steps:
            found["transformation"] = steps
        return found

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The JSON Schema of the document form."""
        return cls.model_json_schema(by_alias=True)


def _check_keeps(target: Target | None) -> None:
    """Refuse a target that would lose the rows of earlier loads, or has no ledger for the watermark."""
    if isinstance(target, FileTarget):
        hint = "Write to a database table, or leave incremental out"
        raise PlanError("beside a file there is no place for a watermark", step="persistence", hint=hint)
    if target is not None and target.strategy is WriteStrategy.REPLACE:
        hint = "Use strategy='upsert' with keys, 'append' or 'insert'; or leave incremental out"
        raise PlanError("replace would leave only the last increment in the table", step="persistence", hint=hint)


def texts(plan: Plan | Feed) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every SQL text of a plan with its parameters."""
    if isinstance(plan.ingestion, QuerySource):
        yield plan.ingestion.query, plan.ingestion.parameters
    for step in plan.transformation:
        if isinstance(step, SqlStep):
            yield step.config.sql_query, step.config.parameters
            for feed in step.config.tables.values():
                yield from texts(feed)


def parameter_names(plan: Plan | Feed) -> tuple[str, ...]:
    """The named parameters a plan uses, in order."""
    return tuple(dict.fromkeys(name for sql, _ in texts(plan) for name in named_parameters(sql)))
