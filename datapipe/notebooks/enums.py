"""Enums that a cell defines, read as types of parameters."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from datapipe.notebooks.kinds import Kind
from datapipe.notebooks.literals import value_of
from datapipe.notebooks.scope import Scope

_ENUMS = {"enum.Enum", "enum.IntEnum", "enum.StrEnum"}


def enums_of(statements: Iterable[ast.stmt], scope: Scope) -> dict[str, Kind]:
    """The Enums among the classes of a cell.

    Raises
    ------
    Computed, ValueError, TypeError, ArithmeticError, LookupError
        If the value of a member cannot be told without executing the cell.

    Examples
    --------
    >>> enums_of(ast.parse("class Mode(StrEnum):\\n    FULL = auto()").body, Scope())["Mode"].choices
    (('FULL', 'full'),)
    """
    found = {}
    for statement in statements:
        if isinstance(statement, ast.ClassDef):
            bases = {scope.name_of(base) for base in statement.bases}
            if bases & _ENUMS and bases <= {*_ENUMS, "str", "int"}:
                found[statement.name] = Kind("Enum", choices=_choices(statement, bases, scope), label=statement.name)
    return found


def _choices(statement: ast.ClassDef, bases: set[str], scope: Scope) -> tuple[tuple[str, Any], ...]:
    choices: list[tuple[str, Any]] = []
    for line in statement.body:
        match line:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if not name.startswith("_"):
                choices.append((name, _value(name, value, choices, bases, scope)))
    return tuple(choices)


def _value(name: str, node: ast.expr, before: list[tuple[str, Any]], bases: set[str], scope: Scope) -> Any:
    if not isinstance(node, ast.Call) or scope.name_of(node.func) != "enum.auto" or not bases <= _ENUMS:
        return value_of(node, scope)
    if "enum.StrEnum" in bases:
        return name.lower()
    return max((value for _, value in before if isinstance(value, int)), default=0) + 1
