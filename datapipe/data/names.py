"""Names and texts in SQL: always quoted; names are matched exactly first."""

from __future__ import annotations

from collections.abc import Sequence


def quote(name: str) -> str:
    """A name as SQL takes it, whatever characters it has.

    Examples
    --------
    >>> print(quote('an "odd" name'))
    "an ""odd"" name"
    """
    return '"' + name.replace('"', '""') + '"'


def quoted(names: Sequence[str]) -> str:
    """Names as a list in SQL."""
    return ", ".join(quote(name) for name in names)


def text_literal(text: str) -> str:
    """A text as SQL takes it.

    Examples
    --------
    >>> print(text_literal("it's"))
    'it''s'
    """
    return "'" + text.replace("'", "''") + "'"


def json_path(name: str) -> str:
    """The path of a key of an object, as DuckDB takes it.

    Examples
    --------
    >>> print(json_path('an "odd" key'))
    $."an \\"odd\\" key"
    """
    return '$."' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def find_name(name: str, names: Sequence[str]) -> str | None:
    """The name itself, or the only one that differs in nothing but case.

    Examples
    --------
    >>> find_name("id", ["ID", "name"]), find_name("id", ["Id", "ID"])
    ('ID', None)
    """
    if name in names:
        return name
    near = [known for known in names if known.casefold() == name.casefold()]
    return near[0] if len(near) == 1 else None
