"""Which columns a query only passes through, read from its syntax tree. When unsure, a column counts as computed on.

A type that travels as text keeps its name through a query only if the query does not look at it: text would compare,
sort and add up wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from datapipe.data.types import tag

Tree = dict[str, Any]
Tables = Mapping[str, pa.Schema]


@dataclass(frozen=True)
class Passed:
    """An output column that is an input column untouched."""

    output: str
    column: str
    tag: str | None


def passthrough(node: Tree, inputs: Mapping[str, pa.Schema]) -> tuple[dict[str, str], frozenset[str] | None]:
    """The tags of untouched output columns, and the input columns that are computed on; None means any of them."""
    names = _tables(node.get("from_table"))
    if names is None or not _plain(node):
        return {}, None
    schemas = {name.lower(): schema for name, schema in inputs.items()}
    tables = {called: schemas[name] for called, name in names.items()}
    passed: list[Passed] = []
    rest: list[Any] = [{key: value for key, value in node.items() if key != "select_list"}]
    for item in node["select_list"]:
        if item.get("rename_list"):
            return {}, None
        found = _passed(item, tables)
        passed += found or []
        rest.append(item if found is None else item.get("replace_list"))
    if _opaque(rest):
        return _tags(passed), None
    used = {name.lower() for name in _references(rest)}
    used |= {each.column.lower() for each in passed if each.output.lower() in used}
    # A table named as a value means the whole row.
    return _tags(passed), None if used & tables.keys() else frozenset(used)


def hands_on(node: Tree, table: str, column: str) -> bool:
    """Whether a column of a query's result is certainly the one of that name in a table, value by value."""
    if node["type"] != "SELECT_NODE" or node.get("cte_map", {}).get("map"):
        return False
    tables = _tables(node.get("from_table")) or {}
    mine = [called for called, name in tables.items() if name == table]
    if len(mine) != 1:
        return False
    found = [_origin(item, mine[0], column.lower(), alone=len(tables) == 1) for item in node["select_list"]]
    return [origin for origin in found if origin != "other"] == ["same"]


def _origin(item: Tree, table: str, column: str, *, alone: bool) -> Literal["same", "other", "unknown"]:
    """Whether an item of the select list gives the column as the table has it, or gives no column of its name."""
    if item["class"] == "STAR":
        if any(item.get(part) for part in ("columns", "expr", "rename_list")):
            return "unknown"
        if column in {_key(entry) for entry in item.get("replace_list") or []}:
            return "unknown"
        whose = (item.get("relation_name") or "").lower()
        if whose != table and not (alone and not whose):
            return "unknown"
        return "other" if column in {_key(entry) for entry in item.get("exclude_list") or []} else "same"
    names = [name.lower() for name in item.get("column_names") or []]
    if (item.get("alias") or (names[-1] if names else "")).lower() != column:
        return "other"
    is_plain = item["class"] == "COLUMN_REF" and (names == [table, column] or (alone and names == [column]))
    return "same" if is_plain else "unknown"


def _plain(node: Tree) -> bool:
    """Whether a query is one SELECT that groups nothing, compares no whole rows, and sorts by named columns."""
    modifiers = node.get("modifiers", [])
    return (
        node["type"] == "SELECT_NODE"
        and not node.get("cte_map", {}).get("map")
        and not node.get("group_expressions")
        and node.get("aggregate_handling") == "STANDARD_HANDLING"
        and all(modifier["type"] != "DISTINCT_MODIFIER" for modifier in modifiers)
        and all(o["expression"]["class"] == "COLUMN_REF" for modifier in modifiers for o in modifier.get("orders", []))
    )


def _tables(table: Tree | None) -> dict[str, str] | None:
    """The tables of a FROM clause, by what they are called; None unless it is made of named tables and joins."""
    if table is None or table["type"] == "EMPTY":
        return {}
    if table["type"] == "BASE_TABLE" and not table.get("column_name_alias"):
        return {(table.get("alias") or table["table_name"]).lower(): table["table_name"].lower()}
    if table["type"] == "JOIN" and table.get("ref_type") != "NATURAL":
        left, right = _tables(table["left"]), _tables(table["right"])
        return None if left is None or right is None else left | right
    return None


def _passed(item: Tree, tables: Tables) -> list[Passed] | None:
    """What an item of the select list passes through; None if it computes something."""
    if item["class"] == "STAR" and not item.get("columns") and not item.get("expr"):
        hidden = {_key(entry) for key in ("exclude_list", "replace_list") for entry in item.get(key) or []}
        called = (item.get("relation_name") or "").lower()
        chosen = [tables[called]] if called in tables else list(tables.values())
        return [Passed(f.name, f.name, tag(f)) for schema in chosen for f in schema if f.name.lower() not in hidden]
    names = item.get("column_names") or []
    if item["class"] != "COLUMN_REF" or names[-1].lower() in tables:
        return None
    if len(names) == 1:
        chosen = list(tables.values())
    elif len(names) == 2 and names[0].lower() in tables:
        chosen = [tables[names[0].lower()]]
    else:
        return None  # a field within a column
    output = item.get("alias") or names[-1]
    return [Passed(output, f.name, tag(f)) for schema in chosen for f in schema if f.name.lower() == names[-1].lower()]


def _tags(passed: list[Passed]) -> dict[str, str]:
    """The tag of each output, where all columns it may be agree."""
    tags: dict[str, set[str | None]] = {}
    for each in passed:
        tags.setdefault(each.output, set()).add(each.tag)
    return {output: str(next(iter(found))) for output, found in tags.items() if len(found) == 1 and None not in found}


def _opaque(node: Any) -> bool:
    """Whether columns are read that no name tells: by a star, by position, or under a table's own list of names."""
    if isinstance(node, list):
        return any(map(_opaque, node))
    if not isinstance(node, dict):
        return False
    if node.get("class") in {"STAR", "POSITIONAL_REFERENCE"} or node.get("column_name_alias"):
        return True
    return any(map(_opaque, node.values()))


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _references(item)
    elif isinstance(node, dict):
        if node.get("class") == "COLUMN_REF":
            yield node["column_names"][-1]
        yield from node.get("using_columns") or []
        for value in node.values():
            yield from _references(value)


def _key(entry: Any) -> str:
    found = entry.get("key") if isinstance(entry, dict) else entry
    return str(found.get("column", found) if isinstance(found, dict) else found).lower()
