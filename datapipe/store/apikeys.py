"""Keys of the REST interface: who has which may do what. The store has digests only."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import sqlalchemy as sa

from datapipe.errors import PlanError, did_you_mean
from datapipe.store.schema import API_KEYS
from datapipe.store.store import RunStore

Scope: TypeAlias = Literal["read", "run", "admin"]
SCOPES: tuple[str, ...] = get_args(Scope)  # each may do what those before it may, too
_KEY = re.compile(r"dp_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_OWNER = re.compile(r"[\w.@+-]{1,64}")
_NOBODY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class ApiKey:
    """A key, without its secret.

    Parameters
    ----------
    id : str
    owner : str
        Whose runs it sees; one of scope ``admin`` sees all.
    scope : {"read", "run", "admin"}
    created : str
    expires, revoked : str, optional
        Times, ISO 8601 in UTC.
    """

    id: str
    owner: str
    scope: str
    created: str
    expires: str | None = None
    revoked: str | None = None

    @property
    def has_expired(self) -> bool:
        """Whether its time is over, by this machine's clock.

        Examples
        --------
        >>> ApiKey("1", "ann", "run", "", "2024-01-01T00:00:00.000Z").has_expired
        True
        """
        return self.expires is not None and dt.datetime.fromisoformat(self.expires) <= dt.datetime.now(dt.UTC)


def create_key(store: RunStore, owner: str, scope: str, days: float | None = None) -> tuple[ApiKey, str]:
    """Make a key.

    Parameters
    ----------
    days : float, optional
        How long it is valid.

    Returns
    -------
    ApiKey
    str
        The key itself. It cannot be had again.

    Raises
    ------
    PlanError
        If owner or scope is none.

    Examples
    --------
    >>> store = RunStore(sa.create_engine("sqlite://"))
    >>> made, text = create_key(store, "ann", "run")
    >>> find_key(store, text) == made, find_key(store, text[:-1] + "!")
    (True, None)
    """
    if not _OWNER.fullmatch(owner):
        raise PlanError(f"{owner!r} is no owner of a key", hint="Use up to 64 letters, digits, and any of _.@+-")
    if scope not in SCOPES:
        raise PlanError(f"no key has the scope {scope!r}", hint=did_you_mean(scope, SCOPES, what="scopes"))
    if days is not None and not 0 < days < 36_500:
        raise PlanError("a key is valid for more than 0 days, and less than a hundred years")
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    with store.writing() as conn:
        values = {"owner": owner, "scope": scope, "created": store.ago(0), "expires": _in(days)}
        conn.execute(API_KEYS.insert().values(id=key_id, digest=_digest(secret), **values))
    return _key(store, key_id), f"dp_{key_id}_{secret}"


def find_key(store: RunStore, text: str) -> ApiKey | None:
    """The key that a caller has shown, if it is one, and valid."""
    match = _KEY.fullmatch(text)
    if match is None:
        return None
    key_id, secret = match.groups()
    with store.reading() as conn:
        row = conn.execute(sa.select(API_KEYS).where(API_KEYS.c.id == key_id, *_valid(store))).mappings().first()
    # Compared in any case, and in constant time: how long it takes does not tell which ids there are.
    is_right = hmac.compare_digest(row["digest"] if row else _NOBODY, _digest(secret))
    return _of(row) if row and is_right else None


def is_valid(store: RunStore, key_id: str) -> bool:
    """Whether a key that was shown may still be used."""
    with store.reading() as conn:
        query = sa.select(API_KEYS.c.id).where(API_KEYS.c.id == key_id, *_valid(store))
        return conn.execute(query).first() is not None


def revoke_key(store: RunStore, key_id: str) -> ApiKey:
    """Make a key worthless, from now on.

    Raises
    ------
    PlanError
        If there is none of this id.
    """
    found = _key(store, key_id)
    with store.writing() as conn:
        mine = (API_KEYS.c.id == key_id, API_KEYS.c.revoked.is_(None))
        conn.execute(API_KEYS.update().where(*mine).values(revoked=store.ago(0)))
    return _key(store, found.id)


def has_keys(store: RunStore) -> bool:
    """Whether there is a key that may be used."""
    with store.reading() as conn:
        return conn.execute(sa.select(API_KEYS.c.id).where(*_valid(store)).limit(1)).first() is not None


def list_keys(store: RunStore) -> list[ApiKey]:
    """All keys, also those that are no longer valid, the oldest first."""
    with store.reading() as conn:
        return [_of(row) for row in conn.execute(sa.select(API_KEYS).order_by(API_KEYS.c.created)).mappings()]


def _key(store: RunStore, key_id: str) -> ApiKey:
    with store.reading() as conn:
        row = conn.execute(sa.select(API_KEYS).where(API_KEYS.c.id == key_id)).mappings().first()
    if row is None:
        raise PlanError(f"no API key has the id {key_id!r}", hint="datapipe keys list shows those there are")
    return _of(row)


def _valid(store: RunStore) -> tuple[sa.ColumnElement[bool], ...]:
    return API_KEYS.c.revoked.is_(None), sa.or_(API_KEYS.c.expires.is_(None), API_KEYS.c.expires > store.ago(0))


def _in(days: float | None) -> str | None:
    if days is None:
        return None
    then = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _of(row: sa.RowMapping) -> ApiKey:
    return ApiKey(**{name: row[name] for name in ApiKey.__dataclass_fields__})


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
