"""Where rows come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Discriminator, Field, PlainSerializer, Tag, model_validator

from datapipe.plan.base import Text, Value
from datapipe.plan.checks import check_incremental, check_partitions, one_connection
from datapipe.plan.connections import Url, place, with_schema
from datapipe.plan.incremental import Incremental, OnlyNew
from datapipe.plan.names import qualified
from datapipe.plan.sqltext import check_one_query
from datapipe.plan.stored import StoredTable
from datapipe.plan.values import FrozenDict, Names, Parameters

# MySQL's 0000-00-00 and 2024-00-15, which are no dates: refused, or read as NULL and counted.
ZeroDates: TypeAlias = Literal["error", "null"]
# How many ranges of a column's values are read side by side.
Partitions: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=1000)]


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
        return with_schema(data, "table")

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


def incremental_of(source: Source) -> Incremental | None:
    """How a source is read by a cursor; None if it is not."""
    return source.incremental if isinstance(source, QuerySource | TableSource) else None


def is_incremental(source: Source) -> bool:
    """Whether each run reads only what no load has seen: by a cursor, or file by file."""
    return source.incremental if isinstance(source, FileSource) else incremental_of(source) is not None
