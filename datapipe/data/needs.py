"""What a query needs of its input: the columns that DuckDB would scan, and the rows that its WHERE keeps.

The columns are those of DuckDB's own optimised plan. The result does not depend on any other, so those may as well be
NULL. The conditions are read from the syntax tree. When unsure, everything is needed.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from datapipe.data.analysis import Analysis, Tree, nodes
from datapipe.data.asking import Ask, Condition, Operator, Value
from datapipe.data.names import find_name
from datapipe.data.types import TIMESTAMP, tag

_SCAN = "PYTHON_ARROW_SCAN"
_OPERATORS: Mapping[str, tuple[Operator, Operator]] = {  # and with its sides exchanged
    "COMPARE_EQUAL": ("=", "="),
    "COMPARE_NOTEQUAL": ("<>", "<>"),
    "COMPARE_LESSTHAN": ("<", ">"),
    "COMPARE_GREATERTHAN": (">", "<"),
    "COMPARE_LESSTHANOREQUALTO": ("<=", ">="),
    "COMPARE_GREATERTHANOREQUALTO": (">=", "<="),
}
_INTEGER = re.compile(r"-?\d{1,18}\Z")
_DECIMAL = re.compile(r"-?\d{1,18}\.\d{1,18}\Z")
_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d{1,6})?)?\Z")
_DIGITS = 38


def needs(
    plan: Sequence[Tree],
    analysis: Analysis,
    table: str,
    schema: pa.Schema,
    parameters: Mapping[str, Any],
    *,
    prefix: str = "",
) -> Ask:
    """What a query asks of its input ``table``.

    Parameters
    ----------
    plan : sequence of mapping
        DuckDB's optimised plan, of its tables as empty streams.
    schema : pyarrow.Schema
        Of the table.
    prefix : str
        What its columns are called by in the plan, before their names.
    """
    where = _where(analysis.tree, table, schema, parameters) if analysis.scans[table] == 1 else ()
    return Ask(_columns(plan, schema, prefix), tuple(where))


def narrowest(schema: pa.Schema) -> list[int]:
    """The places of the columns, the cheapest to read first: DuckDB takes the first one just to count the rows."""

    def width(place: int) -> int:
        try:
            return int(schema.field(place).type.bit_width)
        except ValueError:  # as wide as its values
            return 1 << 10

    return sorted(range(len(schema)), key=width)


def _columns(plan: Sequence[Tree], schema: pa.Schema, prefix: str) -> tuple[str, ...] | None:
    """The columns in the scans of a plan; None where a plan does not tell."""
    if any(not name.isprintable() or name != name.strip() for name in schema.names):
        return None  # a plan shows names as lines of text
    read: set[str] = set()
    for node in (found for root in plan for found in _operators(root)):
        if node["name"].strip() != _SCAN:
            continue
        shown = node["extra_info"].get("Projections")
        if not shown or node["extra_info"].get("Filters"):
            return None
        for item in [shown] if isinstance(shown, str) else shown:
            # A field of a column is called by its name and a dot.
            read |= {name for name in schema.names if f"{item}.".startswith(f"{prefix}{name}.")}
    # Where no row is looked at, as with LIMIT 0, one column is read all the same.
    first = schema.names[narrowest(schema)[0]]
    return tuple(name for name in schema.names if name in (read or {first}))


def _operators(node: Tree) -> Iterator[Tree]:
    yield node
    for child in node.get("children", []):
        yield from _operators(child)


def _where(tree: Tree, table: str, schema: pa.Schema, parameters: Mapping[str, Any]) -> Iterator[Condition]:
    """The conditions of the WHERE that stands right over the table."""
    every = list(nodes(tree))
    if sum(node.get("type") == "BASE_TABLE" and node["table_name"].lower() == table for node in every) != 1:
        return  # one of them may be another table's name
    for node in every:
        source = node.get("from_table") if node.get("type") == "SELECT_NODE" else None
        if not source or source.get("type") != "BASE_TABLE" or source["table_name"].lower() != table:
            continue
        called = (source.get("alias") or table).lower()
        # A sample is taken before the WHERE; names that may mean something else are left alone.
        if source.get("sample") or node.get("sample") or source.get("column_name_alias") or called in _folded(schema):
            return
        aliases = {(item.get("alias") or "").lower() for item in node["select_list"]}
        reading = _Reading(called, schema, parameters)
        for part in _conjuncts(node.get("where_clause")):
            yield from (found for found in reading.conditions(part) if found.column.lower() not in aliases)


def _folded(schema: pa.Schema) -> set[str]:
    return {name.lower() for name in schema.names}


def _conjuncts(node: Tree | None) -> Iterator[Tree]:
    if node and node.get("type") == "CONJUNCTION_AND":
        for child in node["children"]:
            yield from _conjuncts(child)
    elif node:
        yield node


class _Reading:
    """Reads conditions on the columns of one table."""

    def __init__(self, called: str, schema: pa.Schema, parameters: Mapping[str, Any]) -> None:
        self._called, self._schema, self._parameters = called, schema, parameters

    def conditions(self, node: Tree) -> list[Condition]:
        """What a part of a WHERE demands of a column; nothing, unless a source is sure to understand it alike."""
        kind = str(node.get("type"))
        if kind in _OPERATORS:
            straight, exchanged = _OPERATORS[kind]
            return self._compared(node["left"], straight, [node["right"]]) or self._compared(
                node["right"], exchanged, [node["left"]]
            )
        if kind == "COMPARE_BETWEEN":
            low = self._compared(node["input"], ">=", [node["lower"]])
            return low + self._compared(node["input"], "<=", [node["upper"]])
        children = node.get("children") or []
        if kind == "COMPARE_IN":
            return self._compared(children[0], "IN", children[1:])
        if kind in {"OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"}:
            return self._compared(children[0], "IS NULL" if kind == "OPERATOR_IS_NULL" else "IS NOT NULL", [])
        return []

    def _compared(self, left: Tree, operator: Operator, right: Sequence[Tree]) -> list[Condition]:
        field = self._field(left)
        if field is None or tag(field) or not _is_exact(field.type):
            return []
        values = [_value(self._given(node), field.type) for node in right]
        known = tuple(value for value in values if value is not None)
        return [Condition(field.name, operator, known)] if len(known) == len(values) else []

    def _field(self, node: Tree) -> pa.Field | None:
        names = node.get("column_names") or []
        if node.get("type") != "COLUMN_REF" or len(names) > 2 or (names[1:] and names[0].lower() != self._called):
            return None
        name = find_name(names[-1], self._schema.names)
        return None if name is None else self._schema.field(name)

    def _given(self, node: Tree) -> Any:
        """A literal as its kind and text, a parameter as its value; None for anything else."""
        if node.get("type") == "VALUE_PARAMETER":
            return self._parameters.get(node["identifier"])
        if node.get("type") == "OPERATOR_CAST" and not node.get("try_cast"):
            wanted = str(node["type_expr"].get("type_name")).upper()
            path = (node["type_expr"].get("qualified_name") or {}).get("path", [wanted])
            inner = node["child"].get("literal") or {}
            plain = len(path) == 1 and not node["type_expr"].get("children") and inner.get("kind") == "STRING"
            return (wanted, inner["text"]) if plain else None
        literal = node.get("literal") or {}
        return (literal["kind"], literal["text"]) if "text" in literal else None


def _is_exact(type_: pa.DataType) -> bool:
    is_exact = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_date32, pa.types.is_decimal128)
    return type_ == TIMESTAMP or any(found(type_) for found in is_exact)


def _value(given: Any, type_: pa.DataType) -> Value | None:
    """A literal or a parameter as a value of a column's own kind; None if it is of another."""
    value = _literal(given[0], given[1], type_) if isinstance(given, tuple) else given
    if pa.types.is_boolean(type_) or pa.types.is_integer(type_):
        return value if type(value) is (bool if pa.types.is_boolean(type_) else int) and abs(value) < 2**63 else None
    if pa.types.is_date32(type_):
        return value if type(value) is dt.date else None
    if pa.types.is_decimal128(type_):
        number = Decimal(value) if type(value) is int else value
        return number if type(number) is Decimal and _comparable(number, type_) else None
    if type(value) is dt.date:
        return dt.datetime.combine(value, dt.time())
    return value if type(value) is dt.datetime and value.tzinfo is None else None


def _literal(kind: str, text: str, type_: pa.DataType) -> Value | None:
    """The value of a literal, whose text DuckDB reads alike; a plain string is read as the column's type."""
    if kind == "STRING":
        kind = "DATE" if pa.types.is_date32(type_) else "TIMESTAMP" if type_ == TIMESTAMP else ""
    try:
        if kind == "INTEGER" and _INTEGER.match(text):
            return int(text)
        if kind == "NUMERIC" and _DECIMAL.match(text):
            return Decimal(text)
        if kind == "BOOLEAN":
            return {"true": True, "false": False}.get(text)
        if kind == "DATE" and _DAY.match(text):
            return dt.date.fromisoformat(text)
        if kind in {"TIMESTAMP", "DATETIME"} and _MOMENT.match(text):
            return dt.datetime.fromisoformat(text)
    except ValueError:  # no such day, which DuckDB says itself
        return None
    return None


def _comparable(number: Decimal, type_: pa.DataType) -> bool:
    """Whether DuckDB compares the two as decimals: both within its 38 digits, and not as doubles."""
    if not number.is_finite():
        return False
    scale = max(type_.scale, -int(number.as_tuple().exponent), 0)
    whole = max(type_.precision - type_.scale, number.adjusted() + 1, 19)  # a whole number counts as one of 64 bits
    return bool(scale + whole <= _DIGITS)
