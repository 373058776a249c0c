"""Expressions whose value can be told without executing anything."""

from __future__ import annotations

import ast
import datetime as dt
import math
import operator
import zoneinfo
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from datapipe.notebooks.kinds import ANY, EnumMember, Kind
from datapipe.notebooks.scope import Scope

_CALLS: dict[str, Callable[..., Any]] = {
    "datetime.date": dt.date,
    "datetime.date.fromisoformat": dt.date.fromisoformat,
    "datetime.datetime": dt.datetime,
    "datetime.datetime.fromisoformat": dt.datetime.fromisoformat,
    "datetime.timedelta": dt.timedelta,
    "datetime.timezone": dt.timezone,
    "zoneinfo.ZoneInfo": zoneinfo.ZoneInfo,
    "decimal.Decimal": Decimal,
    "pathlib.Path": Path,
    "float": float,
    "set": set,
}
_NAMED = {
    "datetime.timezone.utc": dt.UTC,
    "datetime.UTC": dt.UTC,
    "math.inf": math.inf,
    "math.nan": math.nan,
    "math.pi": math.pi,
}
# Nothing here grows faster than the text of the cell: no powers, no shifts, and products of numbers only.
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}
_TIMES = (dt.date, dt.timedelta)
# What a call gives whose value only the notebook knows.
_RETURNED = {
    "datetime.date.today": "date",
    **{f"datetime.datetime.{name}": "datetime" for name in ("now", "today", "utcnow", "fromtimestamp", "strptime")},
    **{f"pathlib.Path.{name}": "Path" for name in ("cwd", "home")},
    **{name: name for name in ("int", "str", "float", "bool")},
    "os.getcwd": "str",
}


class Computed(Exception):  # noqa: N818  # it is no error
    """The expression has to be executed to know its value."""


def value_of(node: ast.expr, scope: Scope) -> Any:
    """The value of an expression.

    Raises
    ------
    Computed
        If only executing it would tell.
    ValueError, TypeError, ArithmeticError, LookupError
        If executing it would raise one of these.

    Examples
    --------
    >>> value_of(ast.parse("[date(2024, 1, 1), -60 * 5]", mode="eval").body, Scope())
    [datetime.date(2024, 1, 1), -300]
    """

    def within(inner: ast.expr) -> Any:
        return value_of(inner, scope)

    match node:
        case ast.Constant():
            return node.value
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign):
            value = within(node.operand)
            if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, dt.timedelta)):
                raise Computed
            return -value if isinstance(sign, ast.USub) else value
        case ast.BinOp():
            return _operated(node.op, within(node.left), within(node.right))
        case ast.Call():
            return _called(node, scope)
        case ast.Attribute() | ast.Subscript():
            return _named(node, scope)
    return _collected(node, scope)


def kind_of_value(value: Any, scope: Scope) -> Kind:
    """The type of a parameter that has this default and no annotation.

    Examples
    --------
    >>> [str(kind_of_value(value, Scope())) for value in (["AA", "UA"], {"a": 1}, None)]
    ['list[str]', 'dict[str, Any]', 'Any']
    """
    if isinstance(value, EnumMember):
        return scope.enums[value.enum]
    if isinstance(value, dict):
        return Kind("dict", (ANY,)) if all(isinstance(key, str) for key in value) else ANY
    if isinstance(value, (list, tuple, set)):
        inner = {kind_of_value(item, scope) for item in value}
        name = "tuple..." if isinstance(value, tuple) else type(value).__name__
        return Kind(name, (inner.pop() if len(inner) == 1 else ANY,))
    if isinstance(value, Path):
        return Kind("Path")
    scalars = (bool, int, float, str, dt.datetime, dt.date, dt.timedelta, Decimal)
    return Kind(type(value).__name__) if isinstance(value, scalars) else ANY


def kind_of_computed(node: ast.expr, scope: Scope) -> Kind:
    """The type of an expression that is not evaluated, as far as it can be told.

    Examples
    --------
    >>> str(kind_of_computed(ast.parse("date.today() - timedelta(days=1)", mode="eval").body, Scope()))
    'date'
    """
    if isinstance(node, ast.JoinedStr):
        return Kind("str")
    if isinstance(node, ast.Call) and scope.name_of(node.func) in _RETURNED:
        return Kind(_RETURNED[scope.name_of(node.func)])
    if isinstance(node, ast.BinOp):
        left = kind_of_computed(node.left, scope)
        moved = left.name in {"date", "datetime"} and _gives(node.right, scope, dt.timedelta)
        joined = left.name == "Path" and isinstance(node.op, ast.Div)
        return left if moved or joined else ANY
    return ANY


def _gives(node: ast.expr, scope: Scope, kind: type) -> bool:
    if isinstance(node, ast.Call):
        return scope.name_of(node.func) == f"{kind.__module__}.{kind.__name__}"
    return False


def _collected(node: ast.expr, scope: Scope) -> Any:
    def within(items: list[ast.expr]) -> list[Any]:
        return [value_of(item, scope) for item in items]

    match node:
        case ast.List():
            return within(node.elts)
        case ast.Tuple():
            return tuple(within(node.elts))
        case ast.Set():
            return set(within(node.elts))
        case ast.Dict():
            keys = within([key for key in node.keys if key])
            if len(keys) == len(node.values):  # fewer if one of them is ``**other``
                return dict(zip(keys, within(node.values), strict=True))
    raise Computed


def _operated(sign: ast.operator, left: Any, right: Any) -> Any:
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (left, right))
    times = isinstance(left, _TIMES) and isinstance(right, _TIMES) and isinstance(sign, (ast.Add, ast.Sub))
    texts = isinstance(left, str) and isinstance(right, str) and isinstance(sign, ast.Add)
    paths = isinstance(left, Path) and isinstance(right, (str, Path)) and isinstance(sign, ast.Div)
    if type(sign) not in _OPERATORS or not (numbers or times or texts or paths):
        raise Computed
    return _OPERATORS[type(sign)](left, right)


def _called(node: ast.Call, scope: Scope) -> Any:
    if isinstance(node.func, ast.Name) and node.func.id in scope.enums:
        return _member(scope.enums[node.func.id], None, [value_of(item, scope) for item in node.args])
    call = _CALLS.get(scope.name_of(node.func))
    if call is None or any(word.arg is None for word in node.keywords):
        raise Computed
    given = [value_of(item, scope) for item in node.args]
    return call(*given, **{str(word.arg): value_of(word.value, scope) for word in node.keywords})


def _named(node: ast.Attribute | ast.Subscript, scope: Scope) -> Any:
    """A member of an Enum, or a constant of a module."""
    if isinstance(node.value, ast.Name) and node.value.id in scope.enums:
        name = node.attr if isinstance(node, ast.Attribute) else value_of(node.slice, scope)
        return _member(scope.enums[node.value.id], name, [])
    name = scope.name_of(node)
    if name not in _NAMED:
        raise Computed
    return _NAMED[name]


def _member(kind: Kind, name: Any, values: list[Any]) -> EnumMember:
    """The member with a name, or with the only one of the values."""
    found = [value for known, value in kind.choices if known == name] or values
    for known, value in kind.choices:
        if len(found) == 1 and type(value) is type(found[0]) and value == found[0]:
            return EnumMember(kind.label, known, value)
    raise ValueError(f"{kind.label} has no such member")
