"""What a name means: a schema and a table, a path, or a query."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[^\W\d]\w*\Z")
# The last line: endings that are no format of ours, but no table's name either.
_FILE_ENDINGS = (
    *(".parquet", ".csv", ".json", ".jsonl"),
    *(
        ".csv.gz",
        ".json.gz",
        ".jsonl.gz",
        ".tsv",
        ".ndjson",
        ".pq",
        ".txt",
        ".xlsx",
        ".feather",
        ".arrow",
        ".orc",
        ".avro",
    ),
)
_QUERY = re.compile(r"\s*(?:(?:--[^\n]*\n|/\*.*?\*/)\s*)*(?:\(\s*)*(select|with|values|table|from)\b", re.I | re.S)
_STATEMENT = re.compile(
    r"\s*(insert|update|delete|merge|create|drop|alter|truncate|copy|call|grant|explain|show|set)\s+\S+\s+\S",
    re.I,
)


def split_table(name: str, schema: str | None = None) -> tuple[str | None, str]:
    """The schema and the table a name stands for.

    Examples
    --------
    >>> split_table("mart.daily"), split_table("odd name.x"), split_table("a.b", schema="s")
    (('mart', 'daily'), (None, 'odd name.x'), ('s', 'a.b'))
    """
    if schema is None:
        first, dot, second = name.partition(".")
        if dot and _PLAIN.match(first) and _PLAIN.match(second):
            return first, second
    return schema, name


def is_path(name: str) -> bool:
    """Whether a name without a database is a file: it has a ``/`` or a known ending."""
    return "/" in name or name.lower().endswith(_FILE_ENDINGS)


def is_query(text: str) -> bool:
    """Whether a text is a query rather than a table's name."""
    return _QUERY.match(text) is not None and re.search(r"\s", text.strip()) is not None


def is_statement(text: str) -> bool:
    """Whether a text is a statement other than a query, which can be neither read nor be a table's name."""
    return _STATEMENT.match(text) is not None


def qualified(table: str, schema: str | None) -> str:
    """Schema and table for people: ``mart.daily``."""
    return f"{schema}.{table}" if schema else table
