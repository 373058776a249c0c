"""Where rows go, and what becomes of those that are there."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Discriminator, Field, Tag, model_validator

from datapipe.errors import PlanError
from datapipe.plan.base import Text, Value
from datapipe.plan.checks import check_rename, one_connection
from datapipe.plan.connections import Url, place, with_schema
from datapipe.plan.names import qualified
from datapipe.plan.values import FrozenDict, Names

# What a write does where a table and the data differ.
SchemaMode: TypeAlias = Literal["evolve", "strict", "discard"]
# What becomes of rows that an incremental source no longer has.
Deletes: TypeAlias = Literal["mark", "remove"]


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
        return with_schema(data, "table_name")

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
