"""A declarative step compiled to one SELECT."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from datapipe.data.names import find_name, quote
from datapipe.errors import PlanError, did_you_mean
from datapipe.plan import TransformConfig
from datapipe.transformation.conditions import column, condition, expression

_TYPE = re.compile(r"[A-Za-z]\w*(?: [A-Za-z]\w*)*(?: ?\(\d+(?: ?, ?\d+)?\))?(?:\[\d*\])*\Z", re.ASCII)
_SORT = re.compile(r"(.+?)\s+(asc|desc)\Z", re.I | re.S)
_WORD = re.compile(r"[A-Za-z_]\w*\Z")
Items = dict[str, str]


def compile_config(config: TransformConfig, columns: Sequence[str]) -> str:
    """The SELECT over ``input_data`` that a declarative step stands for.

    Parameters
    ----------
    config : TransformConfig
    columns : sequence of str
        The names of the input's columns.

    Raises
    ------
    PlanError
        If the step names a column that is not there, or an expression is more than an expression.

    Examples
    --------
    >>> config = TransformConfig(select=["id", "name"], rename={"name": "full_name"}, filter={"ok": True})
    >>> print(compile_config(config, ["id", "name", "ok"]))
    SELECT
      "id",
      "name" AS "full_name"
    FROM input_data
    WHERE "ok" = TRUE
    """
    _check_distinct(columns, "the input")
    rows = _with_added(config, columns)
    source = "input_data"
    where = f"\nWHERE {condition(config.filter, columns)}" if config.filter else ""
    grouping, kept = "", rows
    if config.group_by or config.aggregations:
        if config.add_columns:
            source = f"(\n{_select(rows)}\nFROM input_data{where}\n) AS input_rows"
            where = ""
        kept = _grouped(config, list(rows))
        keys = [quote(column(name, list(rows), field="group_by")) for name in config.group_by]
        grouping = f"\nGROUP BY {', '.join(keys)}" if keys else ""
    output = _projected(config, kept)
    head = _select(output.items, distinct=config.distinct)
    return f"{head}\nFROM {source}{where}{grouping}{_tail(config, output)}"


def _with_added(config: TransformConfig, columns: Sequence[str]) -> Items:
    """Each input column under its name, then the added ones; an added one replaces a column of its name."""
    items = {name: quote(name) for name in columns}
    for name, text in config.add_columns.items():
        items[find_name(name, columns) or name] = expression(text, field=f"add_columns.{name}")
    return items


def _grouped(config: TransformConfig, columns: Sequence[str]) -> Items:
    items = {}
    for name in config.group_by:
        key = column(name, columns, field="group_by")
        items[key] = quote(key)
    for name, text in config.aggregations.items():
        field = f"aggregations.{name}"
        if name in items:
            raise PlanError(f"{field}: the column is already a key of the groups", hint="Give the result another name")
        items[name] = _aggregated(name, text, columns, field) if _WORD.match(text) else expression(text, field=field)
    return items


def _aggregated(name: str, function: str, columns: Sequence[str], field: str) -> str:
    """A function alone: it is applied to the column of that name."""
    found = find_name(name, columns)
    if found is None:
        raise PlanError(
            f"{field}: {function!r} alone works on the column {name!r}, which is not there",
            hint=f"Write an expression, for example COUNT(*). {did_you_mean(name, columns, what='columns')}",
        )
    return f"{function.upper()}({quote(found)})"


@dataclass(frozen=True)
class _Output:
    """The columns of the result, and what they were called before."""

    items: Mapping[str, str]
    formerly: Mapping[str, str]

    def name(self, given: str, field: str) -> str:
        """The column a new name stands for, or else an old one."""
        if given in self.items:
            return given
        old = find_name(given, list(self.formerly))
        if old == given or (old and not find_name(given, list(self.items))):
            return self.formerly[old]
        return column(given, list(self.items), field=field)


def _projected(config: TransformConfig, items: Items) -> _Output:
    """What select, drop, rename and cast make of the columns."""
    names = list(items)
    kept = [column(name, names, field="select") for name in config.select] or names
    if config.select and not (config.group_by or config.aggregations):
        added = [find_name(name, names) or name for name in config.add_columns]
        kept += [name for name in added if name not in kept]
    dropped = {column(name, names, field="drop") for name in config.drop}
    kept = [name for name in kept if name not in dropped]
    if not kept:
        raise PlanError("drop: no column is left")
    _check_distinct(kept, "select")
    renames = {column(old, kept, field="rename"): new for old, new in config.rename.items()}
    formerly = {name: renames.get(name, name) for name in kept}
    _check_distinct(list(formerly.values()), "the result")
    output = _Output({new: items[old] for old, new in formerly.items()}, formerly)
    casts = {output.name(given, "cast"): _type(given, wanted) for given, wanted in config.cast.items()}
    cast = {name: f"CAST({output.items[name]} AS {wanted})" for name, wanted in casts.items()}
    return _Output({**output.items, **cast}, formerly)


def _type(name: str, given: str) -> str:
    if not _TYPE.match(given):
        hint = "For example BIGINT, DECIMAL(15, 2), VARCHAR"
        raise PlanError(f"cast.{name}: {given!r} is not a type", hint=hint)
    return given


def _select(items: Mapping[str, str], *, distinct: bool = False) -> str:
    listed = [text if text == quote(name) else f"{text} AS {quote(name)}" for name, text in items.items()]
    return f"SELECT{' DISTINCT' if distinct else ''}\n  " + ",\n  ".join(listed)


def _tail(config: TransformConfig, output: _Output) -> str:
    orders = ", ".join(_order(given, output) for given in config.sort)
    return (f"\nORDER BY {orders}" if orders else "") + (f"\nLIMIT {config.limit}" if config.limit is not None else "")


def _order(given: str, output: _Output) -> str:
    """``name``, ``-name``, ``name desc``; a column that is really called so comes first."""
    name, descending = given, False
    if given not in output.items and given not in output.formerly:
        match = _SORT.match(given)
        if match:
            name, descending = match.group(1), match.group(2).lower() == "desc"
        elif given.startswith("-"):
            name, descending = given[1:], True
    return quote(output.name(name, "sort")) + (" DESC" if descending else "")


def _check_distinct(names: Sequence[str], what: str) -> None:
    """Refuse names that differ in nothing but case: DuckDB takes them for one."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.get(name.casefold())
        if other is not None:
            pair = f"two columns called {name!r}" if other == name else f"both {other!r} and {name!r}"
            raise PlanError(f"{what} has {pair}", hint="Give one of them another name")
        seen[name.casefold()] = name
