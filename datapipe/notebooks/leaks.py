"""Texts that should not be in the clear where everybody can read them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from datapipe.errors import PlanError
from datapipe.notebooks.kinds import names_a_secret, secret_of
from datapipe.plan.urls import DatabaseUrl

# A user and a password before a host, unless the password is a reference to the environment.
_USERINFO = re.compile(r"://[^\s/?#@:]*:(?!\$\{\w+\}@)[^\s/?#@]+@")
_DATABASE = re.compile(
    r"(?i)(postgres|mysql|mariadb|mssql|oracle|sqlite|duckdb|snowflake|redshift|clickhouse)[\w+.-]*://"
)
DEEPEST = 50  # Python's own parser takes no more than some 90 brackets in each other


def has_password(value: Any) -> bool:
    """Whether a URL with a password is in a value.

    Examples
    --------
    >>> has_password(["postgresql://ann:s3cret@db/crm"]), has_password("postgresql://ann@db/crm")
    (True, False)
    """
    return any(_with_password(text) for keys, text in texts_of(value) for text in (*keys, text))


def plain_secret(name: str, value: Any) -> bool:
    """Whether a value holds a text in the clear under a name for secrets: its own, or a key's in it.

    Examples
    --------
    >>> plain_secret("options", {"password": "hunter2"}), plain_secret("password", "secret:DB_PASSWORD")
    (True, False)
    """
    return any(
        text.strip() and secret_of(text) is None and any(map(names_a_secret, (name, *keys)))
        for keys, text in texts_of(value)
    )


def texts_of(value: Any, keys: tuple[str, ...] = (), depth: int = 0) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text in a value, with the keys of the dicts it is in; and every key, with no text.

    Raises
    ------
    PlanError
        If the value is nested too deeply for the cell of a notebook.
    """
    if depth > DEEPEST:
        raise PlanError(f"a value is nested more than {DEEPEST} deep", hint="Give a file's path in its place")
    if isinstance(value, (str, PurePath)):
        yield keys, str.__str__(value) if isinstance(value, str) else str(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield (*keys, str(key)), ""
            yield from texts_of(item, (*keys, str(key)), depth + 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from texts_of(item, keys, depth + 1)


def _with_password(text: str) -> bool:
    if _USERINFO.search(text):
        return True
    return bool(_DATABASE.match(text)) and DatabaseUrl.parse(text).safe != text
