"""Where in its SQL a step is wrong: the line, and a caret below the word that the error names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from datapipe.errors import PlanError
from datapipe.traces import Excerpt, surrounding

# Quoted, or after "with name": what follows these words else is the message's own language.
_NAMED = re.compile(
    r'(?:at or near|\b(?:column|named?|function|type|alias)) "([\w$.]+)"|\bwith name ([\w$.]+)', re.IGNORECASE
)


@contextmanager
def pointing(sql: str) -> Iterator[None]:
    """Mistakes in a query with the place of the word they name, if it is there once."""
    try:
        yield
    except PlanError as error:
        error.excerpt = error.excerpt or pointed(error.message, sql)
        raise


def pointed(message: str, sql: str) -> Excerpt | None:
    """The line of a query that an error's message is about.

    Examples
    --------
    >>> print(pointed('Referenced column "idd" not found', "SELECT 1,\\n  idd\\nFROM input_data").text())
        1 SELECT 1,
    --> 2   idd
            ^^^
        3 FROM input_data
    """
    found = _NAMED.search(message)
    name = (found[1] or found[2]) if found else None
    places = list(re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", sql)) if name else []
    if len(places) != 1:
        return None
    before = sql[: places[0].start()]
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1)
    lines = surrounding(sql.splitlines(), line)
    return Excerpt("the SQL", line, "", lines, column, len(places[0].group()))
