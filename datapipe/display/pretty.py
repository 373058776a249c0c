"""The text of a step as people read it: SQL in lines, mappings as YAML."""

from __future__ import annotations

from textwrap import dedent

import yaml

from datapipe.plan import CodeStep, ConfigStep, Contract, Plan, QuerySource, SqlStep, Step, TableTarget, ValidateStep
from datapipe.plan.sqltext import tokens

_SHORT = 80  # what fits in a line stays in one
_CLAUSES = {
    *("from", "where", "group", "having", "order", "limit", "window", "qualify"),
    *("union", "except", "intersect"),
}
_JOINS = {
    *("join", "inner", "left", "right", "full", "outer", "cross", "natural"),
    *("asof", "positional", "semi", "anti"),
}


def step_text(step: Step) -> str:
    """What a transformation does, in full; empty where its line says it all."""
    if isinstance(step, SqlStep):
        feeds = (f"-- {name}: {feed.ingestion.label}" for name, feed in step.config.tables.items())
        return "\n".join([*feeds, pretty_sql(step.config.sql_query)])
    if isinstance(step, CodeStep):
        return ""
    exclude = {"version"} if isinstance(step, ConfigStep) else None
    return _yaml(step.config.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=exclude))


def source_text(plan: Plan) -> str:
    """The query of a plan's source; empty if it has none."""
    return pretty_sql(plan.ingestion.query) if isinstance(plan.ingestion, QuerySource) else ""


def target_text(plan: Plan) -> str:
    """What a plan says of its target's schema; empty if nothing."""
    if not isinstance(plan.persistence, TableTarget):
        return ""
    said = {"latest", "deletes", "schema_mode", "rename"}
    return _yaml(plan.persistence.model_dump(mode="json", exclude_defaults=True, include=said))


def step_note(step: Step) -> str:
    """What a fold with a step's text is called."""
    if isinstance(step, ValidateStep):
        return "the contract" if isinstance(step.config.schema_, Contract) else "the checks"
    return "the mapping" if isinstance(step, ConfigStep) else "the query"


def pretty_sql(sql: str) -> str:
    """A query that was written in lines as it is, a long line with a break before each of its clauses.

    Examples
    --------
    >>> print(pretty_sql("SELECT id, upper(name) AS name FROM input_data LEFT JOIN airlines USING (id) WHERE id > 1"))
    SELECT id, upper(name) AS name
    FROM input_data
    LEFT JOIN airlines USING (id)
    WHERE id > 1
    """
    text = dedent(sql).strip()
    if "\n" in text or len(text) <= _SHORT:
        return text
    return _broken(text)


def _broken(text: str) -> str:
    """The query with a line for each clause that stands in no parentheses."""
    pieces, depth, before, lines = list(tokens(text)), 0, "", [""]
    for place, (kind, piece) in enumerate(pieces):
        following = next((other for _, other in pieces[place + 1 : place + 9] if not other.isspace()), "")
        depth += {"(": 1, ")": -1}.get(piece, 0)
        if kind == "word" and depth == 0 and _begins(piece.lower(), before, following):
            lines.append("")
        lines[-1] += piece
        before = before if piece.isspace() else piece.lower()
    return "\n".join(line.rstrip() for line in lines if line)


def _begins(word: str, before: str, following: str) -> bool:
    if word in _JOINS:
        return before not in _JOINS and following != "("  # left(name, 3) is a function
    return word in _CLAUSES and (word, before) != ("from", "distinct")


def _yaml(found: object) -> str:
    return yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=100).strip() if found else ""


def capped(text: str, most: int) -> str:
    """The text, or its beginning and how much more there is.

    Examples
    --------
    >>> capped("abcdef", 4)
    'abcd\\n… and 2 more characters'
    """
    return text if len(text) <= most else f"{text[:most]}\n… and {len(text) - most:,} more characters"
