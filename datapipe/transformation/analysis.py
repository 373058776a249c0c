"""What a query does, read from DuckDB's own syntax tree: what it is, what it scans, what it passes through."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from datapipe.data.types import tag
from datapipe.errors import PlanError, did_you_mean

_QUERY_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_TABLE_FUNCTIONS = {"unnest", "range", "generate_series"}
_REFUSED_FUNCTIONS = {
    "query",
    "query_table",
    "getvariable",
    "getenv",
    "current_setting",
    "write_log",
    "nextval",
    "setval",
}
_STREAMING = {"PROJECTION", "FILTER", "PYTHON_ARROW_SCAN", "EMPTY_RESULT", "UNNEST", "STREAMING_LIMIT"}
Tree = dict[str, Any]


@dataclass(frozen=True)
class Analysis:
    """What is known of a query before it runs.

    Parameters
    ----------
    scans : mapping
        How often each input is read.
    outputs : mapping
        Output columns that are an input column untouched, with that column's name.
    computed : frozenset of str, or None
        Input columns the query computes on or compares, in lower case; None means any of them.
    """

    scans: Mapping[str, int]
    outputs: Mapping[str, str]
    computed: frozenset[str] | None


def analyse(con: duckdb.DuckDBPyConnection, sql: str, inputs: Mapping[str, pa.Schema]) -> Analysis:
    """Read a query's tree and refuse everything but one SELECT over the inputs.

    Raises
    ------
    PlanError
        If the text does not parse, is not one SELECT, or reads something that is not an input.
    """
    try:
        statements = con.extract_statements(sql)
    except duckdb.Error as error:
        raise PlanError(f"the SQL does not parse: {_first_lines(error)}") from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise PlanError("a transformation is exactly one SELECT", hint="Write it as SELECT … FROM input_data")
    row = con.execute("SELECT json_serialize_sql($q::VARCHAR)", {"q": sql}).fetchall()[0]
    tree = json.loads(row[0])
    if tree.get("error"):
        raise PlanError(f"the SQL is not a SELECT: {tree.get('error_message')}")
    scans = dict.fromkeys(inputs, 0)
    _check(tree["statements"], inputs, frozenset(), scans)
    outputs, computed = _passthrough(tree["statements"][0]["node"], inputs)
    return Analysis(scans, outputs, computed)


def streams(plan: Tree) -> bool:
    """Whether a physical plan works row by row, so that one thread is enough and the order is the source's."""
    return plan["name"].strip() in _STREAMING and all(streams(child) for child in plan.get("children", []))


def _check(node: Any, inputs: Mapping[str, pa.Schema], ctes: frozenset[str], scans: dict[str, int]) -> None:
    if isinstance(node, list):
        for item in node:
            _check(item, inputs, ctes, scans)
    elif isinstance(node, dict):
        if isinstance(node.get("cte_map"), dict):
            ctes |= {entry["key"].lower() for entry in node["cte_map"].get("map", [])}
        _check_node(node)
        if node.get("type") == "BASE_TABLE":
            _check_table(node, inputs, ctes, scans)
        for value in node.values():
            _check(value, inputs, ctes, scans)


def _check_node(node: Tree) -> None:
    kind = node.get("type")
    if isinstance(kind, str) and kind.endswith("_NODE") and kind not in _QUERY_NODES:
        raise PlanError("the query would write", hint="A transformation is exactly one SELECT")
    if kind in {"SHOW_REF", "PIVOT"}:
        raise PlanError("DESCRIBE, SUMMARIZE, SHOW and PIVOT are not allowed", hint="Write the SELECT out")
    if kind == "TABLE_FUNCTION":
        _check_function(node["function"]["function_name"].lower(), _TABLE_FUNCTIONS)
    if node.get("class") == "FUNCTION" and node["function_name"].lower() in _REFUSED_FUNCTIONS:
        _check_function(node["function_name"].lower(), set())


def _check_function(name: str, allowed: set[str]) -> None:
    if name not in allowed:
        hint = "SQL sees the inputs of its step only; read files and tables with datapipe.read(…)"
        raise PlanError(f"the function {name}() is not allowed here", hint=hint)


def _check_table(node: Tree, inputs: Mapping[str, pa.Schema], ctes: frozenset[str], scans: dict[str, int]) -> None:
    name = node["table_name"]
    if node.get("schema_name") or node.get("catalog_name") or len(node.get("qualified_name", {}).get("path", [1])) > 1:
        raise PlanError(f"the table {name!r} is named with a schema", hint=f"Known here: {', '.join(inputs)}")
    if name.lower() in ctes:
        return
    match = next((known for known in inputs if known.lower() == name.lower()), None)
    if match is None:
        raise PlanError(f"there is no table {name!r} in this step", hint=did_you_mean(name, inputs))
    scans[match] += 1


def _passthrough(node: Tree, inputs: Mapping[str, pa.Schema]) -> tuple[dict[str, str], frozenset[str] | None]:
    """Which outputs are untouched input columns, and which inputs are computed on."""
    sources = _plain_sources(node.get("from_table"))
    modifiers = node.get("modifiers", [])
    if (
        node["type"] != "SELECT_NODE"
        or sources is None
        or node.get("cte_map", {}).get("map")
        or node.get("group_expressions")
        or node.get("aggregate_handling") != "STANDARD_HANDLING"
        or any(m["type"] == "DISTINCT_MODIFIER" for m in modifiers)
        or any(order["expression"]["class"] != "COLUMN_REF" for m in modifiers for order in m.get("orders", []))
    ):
        return {}, None
    columns = [f.name for name, schema in inputs.items() if name.lower() in sources for f in schema]
    outputs: dict[str, str] = {}
    rest: list[Any] = [{k: v for k, v in node.items() if k != "select_list"}]
    for item in node["select_list"]:
        if item["class"] == "COLUMN_REF":
            outputs[item.get("alias") or item["column_names"][-1]] = item["column_names"][-1]
        elif item["class"] == "STAR" and not item.get("columns") and not item.get("expr"):
            hidden = {
                _key(entry).lower()
                for key in ("exclude_list", "replace_list", "rename_list")
                for entry in item.get(key) or []
            }
            outputs |= {name: name for name in columns if name.lower() not in hidden}
            rest.append(item)
        else:
            rest.append(item)
    if any(item.get("class") == "STAR" and item.get("columns") for item in node["select_list"]):
        return outputs, None
    used = {name.lower() for name in _references(rest)}
    used |= {source.lower() for output, source in outputs.items() if output.lower() in used}
    # A table named as a value means the whole row.
    return outputs, None if used & sources else frozenset(used)


def _plain_sources(table: Tree | None) -> set[str] | None:
    """The tables of a FROM clause made of named tables and joins; None for anything else."""
    if table is None:
        return set()
    if table["type"] == "BASE_TABLE":
        return {table["table_name"].lower()}
    if table["type"] == "JOIN" and table.get("ref_type") != "NATURAL":
        left, right = _plain_sources(table["left"]), _plain_sources(table["right"])
        return None if left is None or right is None else left | right
    return None


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
    return str(found.get("column", found) if isinstance(found, dict) else found)


def tags_of(inputs: Mapping[str, pa.Schema], column: str) -> str | None:
    """The tag of an input column, if every input that has the column agrees."""
    found = {tag(f) for schema in inputs.values() for f in schema if f.name.lower() == column.lower()}
    return found.pop() if len(found) == 1 else None


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split("\n\n")[0].split())
