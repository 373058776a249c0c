"""Filters and expressions of a declarative step as pieces of SQL that cannot break out of their place."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from datapipe.data.names import find_name, quote, text_literal
from datapipe.errors import PlanError, did_you_mean
from datapipe.plan.sqltext import tokens

_COMPARISONS = ("=", "!=", "<", "<=", ">", ">=", "like")
_OPERATORS = (*_COMPARISONS, "in", "not in", "between")
_TYPES: tuple[tuple[type, str], ...] = (
    (dt.datetime, "TIMESTAMP"),
    (dt.date, "DATE"),
    (dt.time, "TIME"),
    (uuid.UUID, "UUID"),
)
_PAIRS = {")": "(", "]": "[", "}": "{"}


def column(name: str, known: Sequence[str], *, field: str) -> str:
    """The column a name stands for: itself, or the only one that differs in nothing but case.

    Raises
    ------
    PlanError
        If there is none, with the nearest name.

    Examples
    --------
    >>> column("Name", ["id", "name"], field="select")
    'name'
    """
    found = find_name(name, known)
    if found is not None:
        return found
    near = [other for other in known if other.casefold() == name.casefold()]
    if near:
        raise PlanError(f"{field}: {name!r} could be any of {', '.join(near)}", hint="Write it exactly")
    raise PlanError(f"{field}: there is no column {name!r}", hint=did_you_mean(name, known, what="columns"))


def expression(text: str, *, field: str) -> str:
    """An SQL expression in parentheses.

    Raises
    ------
    PlanError
        If the text could break out: unbalanced parentheses, a semicolon, a comment, an open quote.

    Examples
    --------
    >>> expression("price * 2", field="add_columns.double")
    '(price * 2)'
    """
    pieces = list(tokens(text))
    if all(piece.isspace() for _, piece in pieces):
        raise PlanError(f"{field}: the expression is empty")
    for kind, piece in pieces:
        if kind == "string" and not piece.startswith("'"):  # read differently by different parsers
            raise PlanError(f"{field}: only plain '…' texts are allowed in an expression")
        if kind == "comment":
            raise PlanError(f"{field}: a comment is not allowed in an expression")
        if kind == "end":
            raise PlanError(f"{field}: a semicolon is not allowed in an expression")
    code = "".join(piece if kind not in {"string", "quoted"} else " " for kind, piece in pieces)
    if re.search(r"--|/\*|['\"`\0]", code):
        raise PlanError(f"{field}: a quote or a comment is not closed")
    _check_balance(code, field)
    return f"({text.strip()})"


def _check_balance(code: str, field: str) -> None:
    stack: list[str] = []
    for char in code:
        if char in _PAIRS.values():
            stack.append(char)
        elif char in _PAIRS and (not stack or stack.pop() != _PAIRS[char]):
            raise PlanError(f"{field}: a {char} closes nothing")
    if stack:
        raise PlanError(f"{field}: a {stack[-1]} is not closed")


def condition(given: str | Mapping[str, Any], columns: Sequence[str]) -> str:
    """A filter as an SQL condition: an expression as it is, a mapping as comparisons joined by AND.

    Examples
    --------
    >>> condition({"status": ["new", None], "age": {">=": 18}}, ["status", "age"])
    '("status" IN (\\'new\\') OR "status" IS NULL) AND "age" >= 18'
    """
    if isinstance(given, str):
        return expression(given, field="filter")
    found = []
    for name, wanted in given.items():
        left, field = quote(column(name, columns, field="filter")), f"filter.{name}"
        if isinstance(wanted, Mapping):
            found += [_compared(left, operator, value, field) for operator, value in wanted.items()]
        else:
            found.append(_compared(left, "in" if isinstance(wanted, (list, tuple)) else "=", wanted, field))
    return " AND ".join(found)


def _compared(left: str, operator: str, value: Any, field: str) -> str:
    word = " ".join(str(operator).lower().split())
    if word not in _OPERATORS:
        hint = did_you_mean(word, _OPERATORS, what="operators")
        raise PlanError(f"{field}: unknown operator {operator!r}", hint=hint)
    listed = isinstance(value, (list, tuple))
    if listed is (word in _COMPARISONS):
        hint = "Use in, not in or between for a list" if listed else f"Write it as {{{word!r}: [first, second]}}"
        raise PlanError(f"{field}: {word} takes {'one value' if listed else 'a list'}", hint=hint)
    if word in {"in", "not in"}:
        return _member(left, word.upper(), value, field)
    if word == "between":
        if len(value) != 2 or None in value:
            raise PlanError(f"{field}: between takes two values", hint="Write it as [lowest, highest]")
        return f"{left} BETWEEN {literal(value[0], field=field)} AND {literal(value[1], field=field)}"
    if value is None:
        if word not in {"=", "!="}:
            raise PlanError(f"{field}: {word} cannot compare with NULL", hint="Use = or !=")
        return f"{left} IS {'NOT ' if word == '!=' else ''}NULL"
    return f"{left} {word.upper()} {literal(value, field=field)}"


def _member(left: str, word: str, values: Sequence[Any], field: str) -> str:
    """IN and NOT IN that do what they say when the list is empty or holds NULL."""
    listed = ", ".join(literal(value, field=field) for value in values if value is not None)
    null = f"{left} IS NULL" if word == "IN" else f"{left} IS NOT NULL"
    if not listed:
        return null if len(values) else ("FALSE" if word == "IN" else "TRUE")
    found = f"{left} {word} ({listed})"
    return f"({found} {'OR' if word == 'IN' else 'AND'} {null})" if None in values else found


def literal(value: Any, *, field: str) -> str:
    """A value as SQL text.

    Raises
    ------
    PlanError
        If values of its type cannot be written in SQL.

    Examples
    --------
    >>> literal("it's", field="filter"), literal(True, field="filter")
    ("'it''s'", 'TRUE')
    """
    if isinstance(value, str) and "\0" not in value:
        return text_literal(value)
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, decimal.Decimal) and value.is_finite():
        return f"{value:f}"
    for kind, name in _TYPES:
        if isinstance(value, kind):
            zoned = isinstance(value, dt.datetime) and value.tzinfo is not None
            return f"CAST('{value}' AS {'TIMESTAMPTZ' if zoned else name})"
    raise PlanError(
        f"{field}: a value of type {type(value).__name__} cannot be compared with",
        hint="Use text, a number, a boolean, a date or a time",
    )


def _number(value: float) -> str:
    """A float: as a decimal if it is short, so that it equals both a DOUBLE and a DECIMAL; else as the very DOUBLE."""
    text = repr(float(value))
    if not math.isfinite(value):
        return f"CAST('{text}' AS DOUBLE)"
    short = len(decimal.Decimal(text).as_tuple().digits) <= 15
    return text if short or "e" in text else f"{text}e0"
