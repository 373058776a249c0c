"""What a query does, read from DuckDB's own syntax tree: what it is, what it scans, what it passes through."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from datapipe.data.passthrough import hands_on, passthrough
from datapipe.errors import PlanError, did_you_mean
from datapipe.plan.sqltext import rewrite

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
        The tags of output columns that are an input column untouched.
    computed : frozenset of str, or None
        Input columns the query computes on or compares, in lower case; None means any of them.
    tree : mapping
        The syntax tree.
    """

    scans: Mapping[str, int]
    outputs: Mapping[str, str]
    computed: frozenset[str] | None
    tree: Tree = field(repr=False)


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
    tree = tree_of(con, sql)
    if tree.get("error"):
        raise PlanError(f"the SQL is not a SELECT: {tree.get('error_message')}")
    scans = dict.fromkeys(inputs, 0)
    _check(tree["statements"], inputs, frozenset(), scans)
    outputs, computed = passthrough(tree["statements"][0]["node"], inputs)
    return Analysis(scans, outputs, computed, tree)


def streams(plan: Tree) -> bool:
    """Whether a physical plan works row by row, so that one thread is enough and the order is the source's."""
    return plan["name"].strip() in _STREAMING and all(streams(child) for child in plan.get("children", []))


def _check(node: Any, inputs: Mapping[str, pa.Schema], ctes: frozenset[str], scans: dict[str, int]) -> None:
    if isinstance(node, list):
        for item in node:
            _check(item, inputs, ctes, scans)
    elif isinstance(node, dict):
        if isinstance(node.get("cte_map"), dict):
            for entry in node["cte_map"].get("map", []):  # each sees those before it, a recursive one itself too
                own = {entry["key"].lower()}
                _check(entry, inputs, ctes | own if _is_recursive(entry) else ctes, scans)
                ctes |= own
            node = {key: value for key, value in node.items() if key != "cte_map"}
        _check_node(node)
        if node.get("type") == "BASE_TABLE":
            _check_table(node, inputs, ctes, scans)
        for value in node.values():
            _check(value, inputs, ctes, scans)


def _is_recursive(entry: Tree) -> bool:
    return any(node.get("type") == "RECURSIVE_CTE_NODE" for node in nodes(entry))


def _check_node(node: Tree) -> None:
    kind = node.get("type")
    if not isinstance(kind, str):  # a value's, which is a type
        return
    if kind.endswith("_NODE") and kind not in _QUERY_NODES:
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


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split("\n\n")[0].split())


def gathers(sql: str) -> str | None:
    """What makes a row of a query's result depend on more than one row: an aggregate, a window, DISTINCT, LIMIT …

    Of a text that does not parse nothing is known, so that it counts as such.

    Examples
    --------
    >>> gathers("SELECT upper(name) FROM input_data"), gathers("SELECT sum(price) AS total FROM input_data")
    (None, 'sum()')
    """
    with duckdb.connect(":memory:") as con:
        tree, aggregates = tree_of(con, sql), _aggregates(con)
    if tree.get("error"):
        return "a query that does not parse"
    found = (_gathering(node, aggregates) for node in nodes(tree))
    return next((what for what in found if what), None)


def first_changed(sql: str, columns: Sequence[str]) -> str | None:
    """The first column that a query over ``input_data`` may not hand on, row by row, as the input has it.

    None if it keeps all; and of what is no query, whose run says what is wrong with it.

    Examples
    --------
    >>> first_changed("SELECT *, upper(name) AS big FROM input_data WHERE id > 3", ["id", "name"])
    >>> first_changed("SELECT id + 1 AS id FROM input_data", ["id"])
    'id'
    """
    with duckdb.connect(":memory:") as con:
        tree = tree_of(con, sql)
    if tree.get("error"):
        return None
    node = tree["statements"][0]["node"]
    return next((column for column in columns if not hands_on(node, "input_data", column)), None)


def holds_rows(sql: str) -> bool:
    """Whether a query may have to hold rows before it hands the first one on; False if it works row by row.

    Examples
    --------
    >>> holds_rows("SELECT id + 1 FROM input_data WHERE id > :low"), holds_rows("SELECT * FROM input_data ORDER BY id")
    (False, True)
    """
    with duckdb.connect(":memory:") as con:
        tree = tree_of(con, sql)
        found, aggregates = list(nodes(tree)), _aggregates(con)
    kinds = [str(node.get("type", "")) for node in found]
    several = kinds.count("BASE_TABLE") > 1 or "JOIN" in kinds or any(n.get("class") == "SUBQUERY" for n in found)
    ordered = any(node.get("type") == "ORDER_MODIFIER" and node.get("orders") for node in found)
    # What the parser refuses is refused when it runs.
    return bool(tree.get("error")) or several or ordered or any(_gathering(node, aggregates) for node in found)


def _aggregates(con: duckdb.DuckDBPyConnection) -> set[str]:
    known = con.execute("SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'aggregate'")
    return {name for (name,) in known.fetchall()}


def _gathering(node: Tree, aggregates: set[str]) -> str | None:
    kind = str(node.get("type", ""))
    if node.get("class") == "WINDOW":
        return "a window"
    if node.get("class") == "FUNCTION" and str(node["function_name"]).lower() in aggregates:
        return f"{node['function_name']}()"
    if kind in {"LIMIT_MODIFIER", "DISTINCT_MODIFIER", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE"}:
        return kind.removesuffix("_MODIFIER").removesuffix("_NODE").replace("_", " ")
    return "GROUP BY" if node.get("group_expressions") else "SAMPLE" if node.get("sample") else None


def tree_of(con: duckdb.DuckDBPyConnection, sql: str) -> Tree:
    """The syntax tree of a text, as DuckDB's own parser has it; its parameters may be written ``:name``, too."""
    text = rewrite(sql, lambda name: f"${name}")
    made = con.execute("SELECT json_serialize_sql($q::VARCHAR)", {"q": text}).fetchall()
    found: Tree = json.loads(made[0][0])
    return found


def nodes(value: Any) -> Iterator[Tree]:
    """Every node of a tree."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(item)


# What a plan of a query that works row by row consists of; one that stops early does not.
_BY_ROW = _STREAMING - {"STREAMING_LIMIT"} | {"ARROW_SCAN"}
# What has a time with a zone depends on the session's zone, which is the same for all rows.
_LISTED = """
SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'
AND NOT list_has_any(parameter_types, ['TIMESTAMP WITH TIME ZONE', 'TIMESTAMPTZ_NS'])"""
# What is known as consistent, and depends on the day all the same.
_OF_TODAY = frozenset({"age", "current_localtime", "current_localtimestamp", "localtime", "localtimestamp"}) | {
    f"current_{what}" for what in ("date", "time", "timestamp")
}


def across_rows(sql: str, schema: pa.Schema, parameters: Mapping[str, Any]) -> str | None:
    """Why a query over ``input_data`` cannot be computed on some of the rows at a time; None if it can.

    Parameters
    ----------
    sql : str
        Its parameters are written ``$name``.

    Examples
    --------
    >>> across_rows("SELECT a + 1 AS a FROM input_data WHERE a > 2", pa.schema([("a", pa.int64())]), {})
    >>> across_rows("SELECT a, random() AS r FROM input_data", pa.schema([("a", pa.int64())]), {})
    'random()'
    """
    found = gathers(sql)
    if found is not None:
        return found
    with duckdb.connect(config={"threads": 1, "enable_external_access": "false"}) as con:
        con.register("input_data", pa.RecordBatchReader.from_batches(schema, []))  # of unknown length
        try:
            rows = con.execute(f"EXPLAIN (FORMAT json) {sql}", dict(parameters)).fetchall()
        except duckdb.Error:
            return "a query that only its rows' real types bind"
        operators = [str(node["name"]).strip() for node in nodes(json.loads(rows[0][1])) if "name" in node]
        further = sorted(set(operators) - _BY_ROW)
        if further or sum(name.endswith("ARROW_SCAN") for name in operators) > 1:
            return further[0].replace("_", " ") if further else "two looks at the rows"
        return _changing(con, tree_of(con, sql), schema)


def _changing(con: duckdb.DuckDBPyConnection, tree: Tree, schema: pa.Schema) -> str | None:
    """The first function that gives something else each time, or at another time."""
    listed = con.execute(_LISTED)
    changing = {str(name).lower() for (name,) in listed.fetchall()} | _OF_TODAY
    columns = {name.lower() for name in schema.names}
    for node in nodes(tree):
        called = str(node.get("function_name", "")).lower() if node.get("class") == "FUNCTION" else ""
        if node.get("class") == "COLUMN_REF" and len(node["column_names"]) == 1:
            name = str(node["column_names"][0]).lower()
            called = name if name not in columns else ""
        if called in changing:
            return f"{called}()"
    return None
