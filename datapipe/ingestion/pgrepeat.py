"""Whether a query of PostgreSQL gives the same rows on every connection that sees one snapshot.

Asked of the server's own plan, in which views are written out; what is not known to be the same is not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg

from datapipe.plan.sqltext import tokens

# Each gives all rows of its input, or those that a condition on the row itself chooses. LIMIT, aggregates and windows
# may choose otherwise on each connection, and a foreign server knows nothing of the snapshot.
# fmt: off
_NODES = frozenset({
    "Append", "Bitmap Heap Scan", "Bitmap Index Scan", "BitmapAnd", "BitmapOr", "CTE Scan", "Function Scan", "Gather",
    "Gather Merge", "Hash", "Hash Join", "Incremental Sort", "Index Only Scan", "Index Scan", "Materialize",
    "Memoize", "Merge Append", "Merge Join", "Nested Loop", "ProjectSet", "Result", "Seq Scan", "Sort",
    "Subquery Scan", "Tid Range Scan", "Tid Scan", "Values Scan",
})
# fmt: on
# What depends on nothing but the row and the session's settings, which are the same on every connection.
# fmt: off
_SETTINGS_ONLY = frozenset({
    "array_to_string", "concat", "concat_ws", "date", "date_part", "date_trunc", "extract", "format",
    "generate_series", "json_build_array", "json_build_object", "jsonb_build_array", "jsonb_build_object",
    "row_to_json", "timestamptz", "to_char", "to_date", "to_json", "to_jsonb", "to_number", "to_timestamp",
})
# fmt: on
# What holds names in a node, and no expressions.
# fmt: off
_NAMES = frozenset({
    "Node Type", "Parent Relationship", "Relation Name", "Schema", "Alias", "Index Name", "Join Type",
    "Scan Direction", "Strategy", "Command", "CTE Name", "Subplan Name", "Partial Mode", "Plans",
})
# fmt: on
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_CALL = re.compile(r'(?<![:\w$"])("(?:[^"]|"")+"|[A-Za-z_][\w$]*)\(')  # behind :: comes a type
_QUOTED = re.compile(r'"(?:[^"]|"")+"(?!\()')
_MOMENT = re.compile(r"\b(?:CURRENT_\w+|LOCALTIME\w*|SESSION_USER)\b")
_NOW = frozenset({"'now'", "'today'", "'tomorrow'", "'yesterday'"})  # as a time, the moment at which it is read
_VOLATILE = "SELECT DISTINCT proname FROM pg_proc WHERE proname = ANY(%s) AND provolatile <> 'i' ORDER BY 1"


def differs(raw: psycopg.Connection[Any], sql: str) -> str | None:
    """What may make the rows of a query others on another connection; None if nothing may.

    Parameters
    ----------
    raw : psycopg.Connection
        In a transaction. The query is planned on it, and not executed.
    """
    if any(kind == "string" and text.lower() in _NOW for kind, text in tokens(sql)):
        return "a time that is now"
    row = raw.execute(f"EXPLAIN (FORMAT JSON, VERBOSE, COSTS OFF) {sql}".encode()).fetchone()
    plan = row[0] if row else []
    nodes = list(_nodes(json.loads(plan) if isinstance(plan, str) else plan))
    unknown = sorted({str(node["Node Type"]) for node in nodes} - _NODES)
    if unknown:
        return unknown[0]
    texts = [_LITERAL.sub("''", text) for node in nodes for text in _texts(node)]
    moment = next((found for text in texts if (found := _MOMENT.search(_QUOTED.sub("", text)))), None)
    if moment is not None:
        return moment.group()
    called = {_name(name) for text in texts for name in _CALL.findall(text)} - _SETTINGS_ONLY
    named = [str(name) for (name,) in raw.execute(_VOLATILE, (sorted(called),)).fetchall()]
    return f"{named[0]}()" if named else None


def _nodes(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        if "Node Type" in value:
            yield value
        for item in value.values():
            yield from _nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _nodes(item)


def _texts(node: Mapping[str, Any]) -> Iterator[str]:
    """The expressions of a node."""
    for name, value in node.items():
        if name in _NAMES:
            continue
        if name == "Function Name":
            yield f"{value}("
        yield from [value] if isinstance(value, str) else _listed(value)


def _listed(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _listed(item)


def _name(called: str) -> str:
    return called[1:-1].replace('""', '"') if called.startswith('"') else called.lower()
