"""How sources and targets say which database is meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from datapipe.plan.names import split_table
from datapipe.plan.urls import DatabaseUrl

Url = Annotated[
    DatabaseUrl,
    BeforeValidator(lambda value: DatabaseUrl.parse(value) if isinstance(value, str) else value),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "description": "driver://user@host/database, or ${VARIABLE}"}),
]


def place(url: DatabaseUrl | None, name: str | None, default: str) -> str:
    """Where a connection leads, for people."""
    return url.label if url else (name or f"${{{default}}}")


def with_schema(data: Any, field: str) -> Any:
    """A document's fields, with a schema that is written before its table's name in one of its own."""
    if not isinstance(data, Mapping) or not isinstance(data.get(field), str):
        return data
    schema, table = split_table(data[field], data.get("schema", data.get("schema_")))
    rest = {key: value for key, value in data.items() if key not in {"schema", "schema_"}}
    return {**rest, field: table, "schema": schema}
