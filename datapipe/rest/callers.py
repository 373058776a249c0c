"""Who calls: by an API key, or anybody where the interface is open."""

from __future__ import annotations

import base64
import getpass
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from datapipe.rest.problems import Refused
from datapipe.store import RunRow, RunStore
from datapipe.store.apikeys import SCOPES, find_key

_HOW = "Send it as Authorization: Bearer KEY, or as the password of HTTP Basic; datapipe keys create makes one"


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Parameters
    ----------
    owner : str
        Whose runs it begins, and sees.
    scope : {"read", "run", "admin"}
    key : str
        The id of the API key; empty where none is needed.
    """

    owner: str
    scope: str
    key: str = ""

    @property
    def sees_all(self) -> bool:
        """Whether everybody's runs are there for it."""
        return self.scope == SCOPES[-1]

    def reaches(self, scope: str) -> bool:
        """Whether its scope is at least this one."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)

    def check(self, scope: str) -> None:
        """Refuse what needs a wider scope.

        Raises
        ------
        Refused
        """
        if not self.reaches(scope):
            raise Refused(403, f"this needs a key of scope {scope}, and this one has {self.scope}")

    def may_see(self, row: RunRow) -> bool:
        """Whether a run is there for it."""
        return self.sees_all or row.owner == self.owner


NOBODY = Caller("", SCOPES[0])  # of whom it is not known who they are


def anybody() -> Caller:
    """Whoever calls an open interface: the user of this process."""
    owner = "anybody"
    with suppress(KeyError, OSError):  # an account without a name
        owner = getpass.getuser()
    return Caller(owner, SCOPES[-1])


def identified(headers: Mapping[str, str], store: RunStore) -> Caller:
    """The caller whose key a request shows.

    Raises
    ------
    Refused
        If it shows none that is valid.
    """
    text = _shown(headers.get("authorization", ""))
    if text is None:
        raise Refused(401, "this needs an API key", _HOW)
    found = find_key(store, text)
    if found is None:
        raise Refused(401, "the API key is not valid: it is none, was revoked, or has expired", _HOW)
    return Caller(found.owner, found.scope, found.id)


def _shown(header: str) -> str | None:
    """The key in an Authorization header.

    Examples
    --------
    >>> _shown("Bearer dp_1"), _shown("Basic OmRwXzE="), _shown("Digest x")
    ('dp_1', 'dp_1', None)
    """
    kind, _, value = header.partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        with suppress(ValueError):  # no base64, no UTF-8, no ASCII
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
        return ""
    return None
