"""What the plan's models are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from datapipe.plan.functions import FunctionRef

Text = Annotated[str, Field(min_length=1)]
Function = Annotated[
    FunctionRef,
    BeforeValidator(FunctionRef.of),
    PlainSerializer(lambda ref: ref.document, return_type=str),
    WithJsonSchema({"type": "string", "description": "package.module:function"}),
]


class Value(BaseModel):
    """Base of the plan's models: frozen, closed to unknown fields."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        populate_by_name=True,
        hide_input_in_errors=True,  # it may hold a password
    )
