"""The parameters of a notebook as JSON Schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datapipe.notebooks.declarations import Parameter
from datapipe.notebooks.forms import encode
from datapipe.notebooks.kinds import Kind

_SECRET = {"type": "string", "pattern": "^secret:[A-Za-z_][A-Za-z0-9_]*$"}
_SCALARS: dict[str, dict[str, Any]] = {
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "str": {"type": "string"},
    "Path": {"type": "string", "format": "path"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "timedelta": {"type": ["string", "number"], "format": "duration"},
    "Decimal": {
        "type": ["string", "integer"],
        "format": "decimal",
        "pattern": r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|Infinity|s?NaN\d*)$",
    },
    "None": {"type": "null"},
    "Any": {},
}


def json_schema(parameters: Sequence[Parameter]) -> dict[str, Any]:
    """JSON Schema (2020-12) of an object with a value for each parameter, as documents have them.

    ``format`` is a note for readers: a ``date-time`` may be without an offset, or have the name of its zone in
    brackets after it. Numbers that are not finite are beyond JSON's numbers, and beyond the schema.

    Examples
    --------
    >>> json_schema([Parameter("day", Kind("date"), required=True, help="which day")])["properties"]
    {'day': {'type': 'string', 'format': 'date', 'description': 'which day'}}
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {parameter.name: _property(parameter) for parameter in parameters},
        "required": [parameter.name for parameter in parameters if parameter.required],
        "additionalProperties": False,
    }


def _property(parameter: Parameter) -> dict[str, Any]:
    found = _schema(parameter.kind, secret=parameter.is_secret)
    if parameter.help:
        found["description"] = parameter.help
    if not parameter.required and not parameter.computed:
        found["default"] = encode(parameter.default)
    return found


def _schema(kind: Kind, *, secret: bool) -> dict[str, Any]:
    if secret and kind.name in {"str", "Any"}:
        return dict(_SECRET)
    inner = [_schema(of, secret=secret) for of in kind.of]
    match kind.name:
        case "union":
            return {"anyOf": inner}
        case "Literal" | "Enum":
            return {"enum": [encode(value) for _, value in kind.choices]}
        case "list" | "tuple...":
            return {"type": "array", "items": inner[0]}
        case "set":
            return {"type": "array", "items": inner[0], "uniqueItems": True}
        case "tuple":
            size = len(inner)
            # An empty prefix is none to JSON Schema.
            places = {"prefixItems": inner} if inner else {}
            return {"type": "array", **places, "items": False, "minItems": size, "maxItems": size}
        case "dict":
            return {"type": "object", "additionalProperties": inner[0]}
    return dict(_SCALARS[kind.name])
