"""What happens to rows between their source and their target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from datapipe.errors import PlanError
from datapipe.plan.base import Function, Text, Value
from datapipe.plan.contract import Contract, TableChecks, with_functions
from datapipe.plan.functions import FunctionRef
from datapipe.plan.sources import Source, is_incremental
from datapipe.plan.sqltext import check_one_query
from datapipe.plan.transform import TransformConfig
from datapipe.plan.values import FrozenDict, Parameters, freeze


class SqlConfig(Value):
    """A query over ``input_data`` and the named tables."""

    sql_query: Text
    parameters: Parameters = Field(default_factory=FrozenDict)
    tables: Annotated[dict[str, Feed], AfterValidator(freeze)] = Field(default_factory=FrozenDict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_one_query(self.sql_query)
        if "input_data" in (name.lower() for name in self.tables):
            raise PlanError("a table cannot be called input_data: that is the step's own input")
        return self


class CodeConfig(Value):
    """A Python function from a frame to a frame."""

    function: Function
    per_batch: bool = False


def _schema_of(value: Any) -> Any:
    """A contract as it is; anything else by reference: ``module:name``, or a class of this process."""
    if value is None or isinstance(value, (Contract, Mapping, FunctionRef)):
        return value
    if isinstance(value, type) or (isinstance(value, str) and ":" in value):
        return FunctionRef.of(value)
    what = repr(value) if isinstance(value, str) else f"a {type(value).__name__}"
    hint = "Give a Pandera schema or model, 'package.module:name' of one, or a mapping with columns"
    if isinstance(value, str) and value.endswith((".yaml", ".yml", ".json")):
        hint = "A document holds the contract itself: put the file's content there; .validate(path) does"
    raise PlanError(f"{what} is no schema", hint=hint)


class ValidateConfig(Value):
    """What rows are held to, and what becomes of those that break it."""

    schema_: Annotated[
        Contract | FunctionRef | None,
        BeforeValidator(_schema_of),
        PlainSerializer(lambda found: found.document if isinstance(found, FunctionRef) else found and found.form()),
        WithJsonSchema(
            {"anyOf": [{"type": "string"}, {"type": "object"}], "description": "a contract, or module:name"}
        ),
    ] = Field(default=None, alias="schema")
    checks: TableChecks = ()
    on_error: Literal["raise", "quarantine", "drop", "warn"] = "raise"
    max_failures: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.schema_ is None and not self.checks:
            raise PlanError("there is nothing to validate", hint="Give a schema, or checks=['price >= 0']")
        return self

    @property
    def functions(self) -> tuple[FunctionRef, ...]:
        """The functions that it calls, and the class or object that it is."""
        own = (
            (self.schema_,) if isinstance(self.schema_, FunctionRef) else self.schema_.functions if self.schema_ else ()
        )
        return (*own, *(check.function for check in self.checks if check.function is not None))

    def with_functions(self, change: Callable[[FunctionRef], FunctionRef]) -> ValidateConfig:
        """The same with every function changed."""
        held = self.schema_
        schema = change(held) if isinstance(held, FunctionRef) else held and held.with_functions(change)
        return self.model_copy(update={"schema_": schema, "checks": with_functions(self.checks, change)})


class _Typed(Value):
    """A step: its type is always written out, whatever else is left at its default."""

    @model_serializer(mode="wrap")
    def _with_type(self, write: Any) -> dict[str, Any]:
        return {"type": self.type, **write(self)}  # type: ignore[attr-defined]  # every step has one


class SqlStep(_Typed):
    """Transform by SQL over all rows, in DuckDB."""

    type: Literal["sql"] = "sql"
    config: SqlConfig


class CodeStep(_Typed):
    """Transform by a Python function."""

    type: Literal["code"] = "code"
    config: CodeConfig


class ConfigStep(_Typed):
    """Transform by a declarative mapping."""

    type: Literal["config"] = "config"
    config: TransformConfig


class ValidateStep(_Typed):
    """Hold the rows to a contract."""

    type: Literal["validate"] = "validate"
    config: ValidateConfig


Step: TypeAlias = Annotated[SqlStep | CodeStep | ConfigStep | ValidateStep, Field(discriminator="type")]
Steps = Annotated[
    tuple[Step, ...],
    BeforeValidator(lambda value: () if value is None else (value,) if isinstance(value, Mapping) else value),
]


class Feed(Value):
    """Rows and what is done to them, written nowhere: a further input of an SQL step."""

    ingestion: Source
    transformation: Steps = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if is_incremental(self.ingestion):
            hint = "Leave incremental out there; a condition in its query does what start= would"
            raise PlanError("a further table is read whole: only what a plan reads first is incremental", hint=hint)
        return self
