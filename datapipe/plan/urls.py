"""A database URL that keeps its password to itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any
from urllib.parse import unquote

from datapipe.errors import PlanError

_SCHEME = re.compile(r"^([A-Za-z][\w+.-]*)://(.*)$", re.DOTALL)
_REFERENCE = re.compile(r"\$\{(\w+)\}")
_SECRET_OPTION = re.compile(
    r"(?i)[\w-]*(?:passw|pwd|secret|token|api_?key|private_?key|access_?key|credential|odbc_connect)[\w-]*="
)
_FILE_DRIVERS = ("sqlite", "duckdb")


@dataclass(frozen=True)
class DatabaseUrl:
    """Where a database is. Prints, compares and serialises without its password.

    Parameters
    ----------
    safe : str
        The URL without a password; ``${NAME}`` references stay as written.
    full : str
        The URL as given. Never printed, never serialised, not part of equality.
    engine : sqlalchemy.Engine, optional
        An engine the caller lent us for this process.
    pool : mapping
        How the pool of a named connection differs from others: ``pool_size`` and so on. No part of equality.

    Examples
    --------
    >>> DatabaseUrl.parse("postgresql://ann:s3cret@db.example/crm")
    DatabaseUrl(safe='postgresql://ann@db.example/crm')
    """

    safe: str
    full: str = field(default="", repr=False, compare=False)
    engine: Any = field(default=None, repr=False, compare=False)
    pool: Mapping[str, float] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> DatabaseUrl:
        """Split a URL from its secrets.

        Raises
        ------
        PlanError
            If the text is not a URL of the form ``driver://…``.
        """
        if _REFERENCE.fullmatch(text):
            return cls(text, text)
        match = _SCHEME.match(text)
        if match is None:
            # The text may hold a password, so it is not repeated.
            raise PlanError(
                "the database URL is not of the form driver://user@host/database",
                hint="For example postgresql://user@localhost:5432/db or sqlite:///data.db",
            )
        driver, rest = match.groups()
        userinfo, at, after = _userinfo(driver, rest)
        location, mark, options = after.partition("?")
        user, _, password = userinfo.partition(":")
        kept = userinfo if _REFERENCE.fullmatch(password) else user
        shown = "&".join(option for option in options.split("&") if not _SECRET_OPTION.match(unquote(option)))
        safe = f"{kept}{at}{location}{mark if shown else ''}{shown}"
        return cls(f"{driver}://{safe}", text)

    @property
    def driver(self) -> str:
        """The database family: ``postgresql``, ``sqlite``, ``duckdb``, ``mysql``, …; empty for a reference."""
        match = _SCHEME.match(self.safe)
        family = match.group(1).split("+")[0].lower() if match else ""
        return {"postgres": "postgresql", "mariadb": "mysql"}.get(family, family)

    @property
    def label(self) -> str:
        """Host and database, for people: ``db.example/crm``, ``data.db``, ``${SOURCE_DB_URL}``."""
        match = _SCHEME.match(self.safe)
        if match is None:
            return self.safe
        location = match.group(2)
        if self.driver in _FILE_DRIVERS:
            path = location.split("?")[0].removeprefix("/")
            return f"{self.driver} {PurePath(path).name or ':memory:'}"
        authority, _, options = location.partition("?")
        place = unquote(authority.rpartition("@")[2])
        if place.startswith("/") or not place:
            host = re.search(r"(?:^|&)host=([^&]*)", options)
            place = f"{'local socket' if host else 'localhost'}{place}"
        return place

    @property
    def references(self) -> tuple[str, ...]:
        """The environment variables it refers to."""
        return tuple(_REFERENCE.findall(self.safe))

    def __str__(self) -> str:
        return self.safe


def _userinfo(driver: str, rest: str) -> tuple[str, str, str]:
    """User and password, the @, and what follows. A password may hold any of ``/ ? @``; a file's path may too."""
    if driver.split("+", maxsplit=1)[0] in _FILE_DRIVERS:
        head, at, after = rest.partition("@")
        return (head, at, after) if at and "/" not in head else ("", "", rest)
    head, at, after = rest.rpartition("@") if "@" in rest.partition("?")[0] else rest.partition("@")
    return (head, at, after) if at and (":" in head or "?" not in head) else ("", "", rest)
