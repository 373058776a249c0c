"""SQL as text: where its named parameters are, and whether it is one query. Nothing here parses a dialect."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from datapipe.errors import PlanError, did_you_mean

_TOKEN = re.compile(
    r"""
    (?P<string>   [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
  | (?P<quoted>   "(?:[^"]|"")*" | `(?:[^`]|``)*` )
  | (?P<comment>  --[^\n]* | /\*.*?\*/ )
  | (?P<cast>     ::  | := )
  | (?P<name>     (?<![\w\])'"]):(?P<parameter>[A-Za-z_]\w*) )
  | (?P<word>     [A-Za-z_]\w* )
  | (?P<end>      ; )
  | (?P<other>    . )
    """,
    re.VERBOSE | re.DOTALL,
)
_READS = {"select", "with", "values", "table", "from"}
_WRITES = {"insert", "update", "delete", "merge", "into"}
_QUERY_HINT = "Write one SELECT (or WITH … SELECT, VALUES, TABLE)"


def tokens(sql: str) -> Iterator[tuple[str, str]]:
    """The text in pieces, each with its kind: strings, quoted names and comments are one piece each."""
    for match in _TOKEN.finditer(sql):
        kind = "string" if match.group("string") else match.lastgroup or "other"
        yield ("name" if match.group("name") else kind), match.group()


def named_parameters(sql: str) -> tuple[str, ...]:
    """The ``:name`` parameters of a text, in order of first use; not those in strings, comments, casts or structs.

    Examples
    --------
    >>> named_parameters("SELECT ':no', a::int, {'key':a} FROM t WHERE b > :low AND c < :high AND d > :low")
    ('low', 'high')
    """
    return tuple(dict.fromkeys(text[1:] for kind, text in tokens(sql) if kind == "name"))


def rewrite(sql: str, name: Callable[[str], str], other: Callable[[str], str] = lambda text: text) -> str:
    """The text with every ``:name`` replaced by ``name("name")`` and everything else by ``other(piece)``."""
    return "".join(name(text[1:]) if kind == "name" else other(text) for kind, text in tokens(sql))


def outer_words(sql: str) -> set[str]:
    """The words of a text that are not in brackets, in lower case.

    Examples
    --------
    >>> sorted(outer_words("SELECT a FROM (SELECT 1 AS a ORDER BY a) LIMIT 1"))
    ['a', 'from', 'limit', 'select']
    """
    depth, words = 0, set()
    for kind, text in tokens(sql):
        depth += {"(": 1, ")": -1}.get(text, 0)
        if kind == "word" and depth == 0:
            words.add(text.lower())
    return words


def check_parameters(sql: str, given: Mapping[str, Any], *, step: str | None = None) -> None:
    """Refuse a parameter that is missing or that the text does not use.

    Raises
    ------
    PlanError
        Naming the parameter and the nearest known one.
    """
    wanted = named_parameters(sql)
    for name in wanted:
        if name not in given:
            hint = (
                did_you_mean(name, given, what="given")
                or f"Give it: params={{{name!r}: …}}, .bind({name}=…) or --param {name}=…"
            )
            raise PlanError(f"parameter :{name} has no value", step=step, hint=hint)
    for name in given:
        if name not in wanted:
            hint = did_you_mean(name, wanted, what="used") or "The text uses none; remove it"
            if "\\'" in sql:
                hint = "A quote within a text is written '', not with a backslash"
            raise PlanError(f"parameter {name!r} is not used", step=step, hint=hint)


def check_one_query(sql: str, *, step: str | None = None) -> str:
    """The text without a final semicolon, if it is one query; anything else is refused before it is sent.

    Raises
    ------
    PlanError
        If the text is empty, holds several statements, or is not a query.
    """
    pieces = [(kind, text) for kind, text in tokens(sql) if kind != "comment" and not text.isspace()]
    while pieces and pieces[-1][0] == "end":
        pieces.pop()
    if not pieces:
        raise PlanError("the query is empty", step=step, hint=_QUERY_HINT)
    if any(kind == "end" for kind, _ in pieces):
        raise PlanError("the text holds more than one statement", step=step, hint=_QUERY_HINT)
    words = [text.lower() for kind, text in pieces if kind == "word"]
    first = next((text.lower() for _, text in pieces if text != "("), "")
    if first not in _READS:
        raise PlanError(f"the text is not a query: it begins with {first.upper()!r}", step=step, hint=_QUERY_HINT)
    writes = _written(pieces) if _WRITES & set(words) else None
    if writes:
        raise PlanError(f"the query would write ({writes.upper()})", step=step, hint=_QUERY_HINT)
    kept = re.sub(r"(?:\s|;)+\Z", "", sql)
    # A trailing line comment would swallow whatever is put behind the query.
    last_kind = [kind for kind, _ in tokens(kept)][-1]
    return f"{kept}\n" if last_kind == "comment" else kept


def _written(pieces: list[tuple[str, str]]) -> str | None:
    """The writing keyword used as one: after ``(`` as in a data-modifying CTE, or SELECT … INTO."""
    previous = ""
    for kind, text in pieces:
        word = text.lower()
        if kind == "word" and word == "into" and previous not in {".", "as"}:
            return word
        if kind == "word" and word in _WRITES - {"into"} and previous == "(":
            return word
        previous = word
    return None
