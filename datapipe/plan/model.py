"""The plan: frozen models that check themselves and mirror the document form field by field."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from datapipe.errors import PlanError
from datapipe.plan.base import Function, Text, Value
from datapipe.plan.checks import check_deletes, check_incremental, check_partitions, check_rename, one_connection
from datapipe.plan.contract import Contract, TableChecks, with_functions
from datapipe.plan.functions import FunctionRef
from datapipe.plan.incremental import Incremental, OnlyNew
from datapipe.plan.names import qualified, split_table
from datapipe.plan.sqltext import check_one_query, named_parameters
from datapipe.plan.stored import StoredTable
from datapipe.plan.transform import TransformConfig
from datapipe.plan.urls import DatabaseUrl
from datapipe.plan.values import FrozenDict, Names, Parameters, freeze


class WriteStrategy(StrEnum):
    """What a write does with rows that are there already.

    Examples
    --------
    >>> WriteStrategy("upsert") is WriteStrategy.UPSERT
    True
    """

    APPEND = "append"
    INSERT = "insert"
    UPSERT = "upsert"
    REPLACE = "replace"


Url = Annotated[
    DatabaseUrl,
    BeforeValidator(lambda value: DatabaseUrl.parse(value) if isinstance(value, str) else value),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "description": "driver://user@host/database, or ${VARIABLE}"}),
]
QUEUE_NAME = r"^[A-Za-z0-9_.-]{1,64}$"
# MySQL's 0000-00-00 and 2024-00-15, which are no dates: refused, or read as NULL and counted.
ZeroDates: TypeAlias = Literal["error", "null"]
# How many ranges of a column's values are read side by side.
Partitions: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=1000)]
# What a write does where a table and the data differ.
SchemaMode: TypeAlias = Literal["evolve", "strict", "discard"]
# What becomes of rows that an incremental source no longer has.
Deletes: TypeAlias = Literal["mark", "remove"]


class QuerySource(Value):
    """Rows of a query."""

    query: Text
    source_db_url: Url | None = None
    source: Text | None = None
    parameters: Parameters = Field(default_factory=FrozenDict)
    zero_dates: ZeroDates = "error"
    partition_on: Text | None = None
    partitions: Partitions | None = None
    incremental: Incremental | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        one_connection(self.source_db_url, self.source, "source_db_url", "source")
        check_partitions(self.partition_on, self.partitions)
        check_incremental(self.incremental, self.partition_on)
        check_one_query(self.query)
        return self

    @property
    def label(self) -> str:
        return f"a query on {place(self.source_db_url, self.source, 'SOURCE_DB_URL')}"


class TableSource(Value):
    """Rows of a table or view."""

    table: Text
    schema_: Text | None = Field(default=None, alias="schema")
    source_db_url: Url | None = None
    source: Text | None = None
    zero_dates: ZeroDates = "error"
    partition_on: Text | None = None
    partitions: Partitions | None = None
    incremental: Incremental | None = None

    @model_validator(mode="before")
    @classmethod
    def _split(cls, data: Any) -> Any:
        return _split_name(data, "table")

    @model_validator(mode="after")
    def _check(self) -> Self:
        one_connection(self.source_db_url, self.source, "source_db_url", "source")
        check_partitions(self.partition_on, self.partitions)
        check_incremental(self.incremental, self.partition_on)
        return self

    @property
    def label(self) -> str:
        where = place(self.source_db_url, self.source, "SOURCE_DB_URL")
        return f"table {qualified(self.table, self.schema_)} on {where}"


class FileSource(Value):
    """Rows of Parquet, CSV or JSON files: a path or a glob."""

    files: Text
    format: Literal["parquet", "csv", "json"] | None = None
    columns: Names | None = None
    incremental: OnlyNew = False

    @property
    def label(self) -> str:
        return f"files {self.files}"


class FrameSource(Value):
    """A table of this process: a pandas or polars DataFrame, or an Arrow table. It has no document form."""

    frame: Annotated[Any, PlainSerializer(lambda frame: type(frame).__qualname__, return_type=str)] = Field(repr=False)

    @property
    def label(self) -> str:
        if isinstance(self.frame, StoredTable):
            return self.frame.label
        return f"a {type(self.frame).__module__.split('.')[0]} {type(self.frame).__name__} in memory"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrameSource) and self.frame is other.frame

    def __hash__(self) -> int:
        return id(self.frame)


def _source_kind(data: Any) -> str | None:
    if isinstance(data, Value):
        return {QuerySource: "query", TableSource: "table", FileSource: "files", FrameSource: "frame"}.get(type(data))
    if isinstance(data, Mapping):
        return next((key for key in ("query", "table", "files") if key in data), None)
    return None


Source: TypeAlias = Annotated[
    Annotated[QuerySource, Tag("query")]
    | Annotated[TableSource, Tag("table")]
    | Annotated[FileSource, Tag("files")]
    | Annotated[FrameSource, Tag("frame")],
    Discriminator(
        _source_kind,
        custom_error_type="source_kind",
        custom_error_message="needs one of query, table or files",
    ),
]


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


class TableTarget(Value):
    """A table to write to."""

    table_name: Text
    schema_: Text | None = Field(default=None, alias="schema")
    strategy: WriteStrategy = WriteStrategy.APPEND
    upsert_keys: tuple[Text, ...] = ()
    latest: Text | None = None
    deletes: Deletes | None = None
    schema_mode: SchemaMode | None = None
    rename: Names = Field(default_factory=FrozenDict)
    dest_db_url: Url | None = None
    destination: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _split(cls, data: Any) -> Any:
        return _split_name(data, "table_name")

    @model_validator(mode="after")
    def _check(self) -> Self:
        one_connection(self.dest_db_url, self.destination, "dest_db_url", "destination")
        if self.strategy is WriteStrategy.UPSERT and not self.upsert_keys:
            raise PlanError("upsert needs keys", step="persistence", hint="Name them: keys=['id'] (upsert_keys: [id])")
        if self.strategy is WriteStrategy.APPEND and self.upsert_keys:
            raise PlanError(
                "append takes no keys",
                step="persistence",
                hint="Use strategy='upsert' to update rows by key, or 'insert' to refuse keys that are there",
            )
        if self.latest and self.strategy is not WriteStrategy.UPSERT:
            raise PlanError("latest= states the winner of an upsert", step="persistence", hint="Use strategy='upsert'")
        if self.deletes and self.strategy is not WriteStrategy.UPSERT:
            hint = "Use strategy='upsert' with keys; replace mirrors a whole table by itself"
            raise PlanError("deletes is for rows that are known by their keys", step="persistence", hint=hint)
        if len(set(self.upsert_keys)) < len(self.upsert_keys):
            raise PlanError("a key is named twice", step="persistence")
        check_rename(self.rename, self.schema_mode)
        return self

    @property
    def label(self) -> str:
        where = place(self.dest_db_url, self.destination, "DEST_DB_URL")
        return f"table {qualified(self.table_name, self.schema_)} on {where}"


class FileTarget(Value):
    """A file or directory to write to."""

    path: Text
    strategy: Literal[WriteStrategy.REPLACE, WriteStrategy.APPEND] = WriteStrategy.REPLACE

    @property
    def label(self) -> str:
        return f"file {self.path}"


def _target_kind(data: Any) -> str | None:
    if isinstance(data, Value):
        return {TableTarget: "table", FileTarget: "file"}.get(type(data))
    if isinstance(data, Mapping):
        return "table" if "table_name" in data else "file" if "path" in data else None
    return None


Target: TypeAlias = Annotated[
    Annotated[TableTarget, Tag("table")] | Annotated[FileTarget, Tag("file")],
    Discriminator(_target_kind, custom_error_type="target_kind", custom_error_message="needs table_name or path"),
]


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


def incremental_of(source: Source) -> Incremental | None:
    """How a source is read by a cursor; None if it is not."""
    return source.incremental if isinstance(source, QuerySource | TableSource) else None


def is_incremental(source: Source) -> bool:
    """Whether each run reads only what no load has seen: by a cursor, or file by file."""
    return source.incremental if isinstance(source, FileSource) else incremental_of(source) is not None


def _check_keeps(target: Target | None) -> None:
    """Refuse a target that would lose the rows of earlier loads, or has no ledger for the watermark."""
    if isinstance(target, FileTarget):
        hint = "Write to a database table, or leave incremental out"
        raise PlanError("beside a file there is no place for a watermark", step="persistence", hint=hint)
    if target is not None and target.strategy is WriteStrategy.REPLACE:
        hint = "Use strategy='upsert' with keys, 'append' or 'insert'; or leave incremental out"
        raise PlanError("replace would leave only the last increment in the table", step="persistence", hint=hint)


def place(url: DatabaseUrl | None, name: str | None, default: str) -> str:
    """Where a connection leads, for people."""
    return url.label if url else (name or f"${{{default}}}")


def _split_name(data: Any, field: str) -> Any:
    if not isinstance(data, Mapping) or not isinstance(data.get(field), str):
        return data
    schema, table = split_table(data[field], data.get("schema", data.get("schema_")))
    rest = {key: value for key, value in data.items() if key not in {"schema", "schema_"}}
    return {**rest, field: table, "schema": schema}


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
